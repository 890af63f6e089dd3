//! A client's socket, which can be looked at while it is served.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use engine_http::Liveness;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, Shutdown};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Cheap to clone; all clones are one socket.
#[derive(Clone)]
pub struct Socket(Arc<Stream>);

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Self(Arc::new(Stream::Unix(stream)))
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self(Arc::new(Stream::Tcp(stream)))
    }
}

impl Socket {
    /// Waits for the first byte, or for the client to go: until then a client costs next to nothing.
    pub async fn first_byte(&self) -> io::Result<()> {
        loop {
            // A new socket counts as readable until somebody has tried.
            let tried = match &*self.0 {
                Stream::Unix(stream) => {
                    stream.readable().await?;
                    stream.try_io(Interest::READABLE, || self.peek())
                }
                Stream::Tcp(stream) => {
                    stream.readable().await?;
                    stream.try_io(Interest::READABLE, || self.peek())
                }
            };
            match tried {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                tried => return tried,
            }
        }
    }

    /// An error while there is nothing to read.
    fn peek(&self) -> io::Result<()> {
        rustix::net::recv(self.descriptor(), &mut [0; 1], RecvFlags::PEEK)?;
        Ok(())
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        match &*self.0 {
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Tcp(stream) => stream.as_fd(),
        }
    }
}

impl Liveness for Socket {
    /// poll(2): POLLRDHUP is set when the other side has closed, or shut down its writing.
    fn is_hung_up(&self) -> bool {
        let mut asked = [PollFd::from_borrowed_fd(self.descriptor(), PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        match poll(&mut asked, Some(&now)) {
            Ok(_) => asked[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR),
            Err(_) => false,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let read = match &*self.0 {
                Stream::Unix(stream) => {
                    ready!(stream.poll_read_ready(cx))?;
                    stream.try_read(buffer.initialize_unfilled())
                }
                Stream::Tcp(stream) => {
                    ready!(stream.poll_read_ready(cx))?;
                    stream.try_read(buffer.initialize_unfilled())
                }
            };
            match read {
                Ok(length) => {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let written = match &*self.0 {
                Stream::Unix(stream) => {
                    ready!(stream.poll_write_ready(cx))?;
                    stream.try_write_vectored(pieces)
                }
                Stream::Tcp(stream) => {
                    ready!(stream.poll_write_ready(cx))?;
                    stream.try_write_vectored(pieces)
                }
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match rustix::net::shutdown(self.descriptor(), Shutdown::Write) {
            // The other side went first.
            Err(rustix::io::Errno::NOTCONN) => Poll::Ready(Ok(())),
            shut => Poll::Ready(shut.map_err(io::Error::from)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_go_both_ways_and_a_hang_up_is_seen() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let mut socket = Socket::from(server);
        let seen = socket.clone();
        let silence = tokio::time::timeout(std::time::Duration::from_millis(20), socket.first_byte()).await;
        assert!(silence.is_err(), "a byte that nobody sent");
        client.write_all(b"hello").await.unwrap();
        socket.first_byte().await.unwrap();
        let mut bytes = [0; 5];
        socket.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"hello");
        let reading = tokio::spawn(async move {
            let mut bytes = vec![0; 1 << 20];
            client.read_exact(&mut bytes).await.unwrap();
            (client, bytes)
        });
        socket.write_all(&vec![7; 1 << 20]).await.unwrap();
        let (mut client, bytes) = reading.await.unwrap();
        assert!(bytes.iter().all(|byte| *byte == 7));
        assert!(!seen.is_hung_up());
        client.shutdown().await.unwrap();
        assert!(seen.is_hung_up());
    }
}
