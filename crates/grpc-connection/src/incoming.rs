//! The side that serves: one connection as a server's only client.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{self, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::server::Connected;

/// Yields the stream, then nothing until it is over: a server that nobody else can come to ends with its client.
pub fn incoming<S>(
    stream: S,
    ending: &CancellationToken,
) -> impl Stream<Item = io::Result<SoleConnection<S>>> + use<S> {
    let over = ending.child_token();
    let one = SoleConnection { stream, _over: over.clone().drop_guard() };
    let end = stream::once(async move { over.cancelled().await }).filter_map(|()| async { None });
    stream::iter([Ok(one)]).chain(end)
}

/// The connection, as a server takes it.
pub struct SoleConnection<S> {
    stream: S,
    _over: DropGuard,
}

impl<S> Connected for SoleConnection<S> {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl<S: AsyncRead + Unpin> AsyncRead for SoleConnection<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SoleConnection<S> {
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
