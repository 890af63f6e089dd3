//! Output of a process in the frames that the client asked for, where those are not the process's own.
//!
//! Whoever starts an exec says whether the stream is a terminal's, and may say otherwise than who created it. Docker
//! believes the start: then a terminal's output comes in frames, or the frames of stdout are taken off and stderr is left out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// As much is put into one frame.
const PIECE: usize = 16 * 1024;
const HEADER: usize = 8;
const STDOUT: u8 = 1;

/// What is done to the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    AsItIs,
    /// Raw bytes are put into frames of stdout.
    Framed,
    /// The bytes of stdout's frames.
    Bare,
}

impl Shape {
    /// `process`: whether it has a terminal. `client`: whether the client takes it for one.
    pub fn of(process: bool, client: bool) -> Self {
        match (process, client) {
            (true, false) => Self::Framed,
            (false, true) => Self::Bare,
            _ => Self::AsItIs,
        }
    }
}

/// A process's streams; what goes in is left alone.
pub struct Reframed<S> {
    stream: S,
    shape: Shape,
    /// Read, and not given on yet.
    ready: Vec<u8>,
    given: usize,
    /// Of the frame that is being taken off.
    header: Vec<u8>,
    left: usize,
}

impl<S> Reframed<S> {
    pub fn new(stream: S, shape: Shape) -> Self {
        Self { stream, shape, ready: Vec::new(), given: 0, header: Vec::with_capacity(HEADER), left: 0 }
    }

    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let rest = &self.ready[self.given..];
        let length = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..length]);
        self.given += length;
    }
}

impl<S: AsyncRead + Unpin> Reframed<S> {
    /// At most `limit` bytes; none at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<io::Result<Vec<u8>>> {
        let mut piece = vec![0; limit.min(PIECE)];
        let mut buffer = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let length = buffer.filled().len();
        piece.truncate(length);
        Poll::Ready(Ok(piece))
    }

    /// The next bytes to give; none at the end.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        if self.shape == Shape::Framed {
            let piece = ready!(self.poll_piece(cx, PIECE))?;
            if piece.is_empty() {
                return Poll::Ready(Ok(piece));
            }
            let mut frame = vec![STDOUT, 0, 0, 0];
            frame.extend((piece.len() as u32).to_be_bytes());
            frame.extend(piece);
            return Poll::Ready(Ok(frame));
        }
        loop {
            let limit = if self.left > 0 { self.left } else { HEADER - self.header.len() };
            let piece = ready!(self.poll_piece(cx, limit))?;
            if piece.is_empty() {
                return Poll::Ready(Ok(piece));
            }
            if self.left == 0 {
                self.header.extend(piece);
                if let [_, _, _, _, a, b, c, d] = self.header[..] {
                    self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                    // An empty frame is over with its header.
                    if self.left == 0 {
                        self.header.clear();
                    }
                }
                continue;
            }
            let is_wanted = self.header.first() == Some(&STDOUT);
            self.left -= piece.len();
            if self.left == 0 {
                self.header.clear();
            }
            if is_wanted {
                return Poll::Ready(Ok(piece));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Reframed<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.shape == Shape::AsItIs {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        if this.given == this.ready.len() {
            this.ready = ready!(this.poll_ready(cx))?;
            this.given = 0;
        }
        this.give(buffer);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Reframed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What is read when the process prints these pieces, each by itself.
    async fn read(shape: Shape, pieces: &[&[u8]]) -> Vec<u8> {
        let (near, mut far) = tokio::io::duplex(7);
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
        let printing = tokio::spawn(async move {
            for piece in pieces {
                far.write_all(&piece).await.unwrap();
            }
        });
        let mut read = Vec::new();
        Reframed::new(near, shape).read_to_end(&mut read).await.unwrap();
        printing.await.unwrap();
        read
    }

    #[tokio::test]
    async fn a_terminal_s_output_is_put_into_frames() {
        assert_eq!(read(Shape::Framed, &[b"hi\r\n"]).await, b"\x01\0\0\0\0\0\0\x04hi\r\n");
        assert_eq!(read(Shape::Framed, &[]).await, b"");
    }

    #[tokio::test]
    async fn frames_are_taken_off_and_stderr_is_left_out() {
        let frames: &[&[u8]] =
            &[b"\x01\0\0\0\0\0\0\x05hello", b"\x02\0\0\0\0\0\0\x03bad\x01\0\0\0", b"\0\0\0\x01!\x01\0\0\0\0\0\0\0"];
        assert_eq!(read(Shape::Bare, frames).await, b"hello!");
        assert_eq!(read(Shape::AsItIs, frames).await, frames.concat());
    }

    #[test]
    fn the_client_s_word_counts() {
        assert_eq!(Shape::of(true, false), Shape::Framed);
        assert_eq!(Shape::of(false, true), Shape::Bare);
        assert_eq!((Shape::of(true, true), Shape::of(false, false)), (Shape::AsItIs, Shape::AsItIs));
    }
}
