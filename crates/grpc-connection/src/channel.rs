//! The side that calls.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tonic::transport::{Channel, Endpoint, Error};

/// A silent other side is asked whether it is there so often, and is gone when it does not answer so long.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_LIMIT: Duration = Duration::from_secs(20);
/// Bytes on their way at a time: of one transfer, of all together.
const STREAM_BYTES: u32 = 1 << 20;
const CONNECTION_BYTES: u32 = 4 << 20;

/// Speaks HTTP/2 on `stream`. `over` is cancelled when the connection ends, and ends it when somebody cancels it.
pub async fn channel<S>(stream: S, over: CancellationToken) -> Result<Channel, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let watched = Watched { stream, over: Box::pin(over.clone().cancelled_owned()), _guard: over.drop_guard() };
    let once = Arc::new(Mutex::new(Some(watched)));
    let connector = tower::service_fn(move |_: tonic::transport::Uri| {
        let taken = once.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move { taken.map(TokioIo::new).ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
    });
    // The authority is never resolved; gRPC wants one.
    let endpoint = Endpoint::from_static("http://localhost")
        .initial_stream_window_size(STREAM_BYTES)
        .initial_connection_window_size(CONNECTION_BYTES)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_LIMIT)
        .keep_alive_while_idle(true);
    endpoint.connect_with_connector(connector).await
}

/// A stream that tells of its end, and can be ended.
struct Watched<S> {
    stream: S,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
    _guard: DropGuard,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(cx, buffer) {
            return Poll::Ready(read);
        }
        ready!(this.over.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
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
