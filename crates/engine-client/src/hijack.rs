//! A connection that stopped being HTTP: attach and exec.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{self, AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::Stream;

/// Both directions of a hijacked connection.
#[derive(Debug)]
pub struct Duplex {
    /// What came in the same segment as the answer's head.
    leftover: Bytes,
    stream: Stream,
    multiplexed: bool,
}

/// What the container writes.
#[derive(Debug)]
pub struct ReadHalf {
    leftover: Bytes,
    half: io::ReadHalf<Stream>,
}

/// What the container reads. Shutting it down is the end of its standard input.
#[derive(Debug)]
pub struct WriteHalf(io::WriteHalf<Stream>);

impl Duplex {
    pub(crate) fn new(stream: Stream, leftover: Bytes, content_type: &str) -> Self {
        Self { leftover, stream, multiplexed: content_type == engine_api::MULTIPLEXED_STREAM }
    }

    /// Whether the daemon said that its output has frame headers (API 1.42); older ones do not say.
    pub fn says_multiplexed(&self) -> bool {
        self.multiplexed
    }

    /// The two directions, each usable from a task of its own.
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        let (read, write) = io::split(self.stream);
        (ReadHalf { leftover: self.leftover, half: read }, WriteHalf(write))
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.leftover.is_empty() {
            let take = this.leftover.len().min(buf.remaining());
            buf.put_slice(&this.leftover[..take]);
            this.leftover.advance(take);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.half).poll_read(cx, buf)
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
