//! One client's connection: what it may send, how long it may take, and how it ends.
//!
//! Limits: a request's head is [`MAX_HEAD`] bytes and [`MAX_HEADERS`] fields at most and must be complete
//! [`Patience::head`] after its first byte. Between requests a client may be silent for ever, and an answer may go on for
//! ever. A panic in a request is answered and ends that request alone.

use std::convert::Infallible;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use crate::reply::{Body, Reply};
use crate::status::Failure;

/// Go's number: headers with the credentials of many registries are long.
const MAX_HEAD: usize = 1 << 20;
const MAX_HEADERS: usize = 256;

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// How often a client whose answer goes on is looked at.
    pub hangup_check: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { head: Duration::from_secs(30), hangup_check: Duration::from_secs(1) }
    }
}

/// Who is at the other end.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// The client's certificate and those above it, DER; empty without TLS.
    pub certificates: Vec<Vec<u8>>,
    /// The common name in the first of them.
    pub common_name: Option<String>,
}

/// Whether the other end is still there.
pub trait Liveness: Send + Sync {
    /// It will send no more.
    fn is_hung_up(&self) -> bool;
}

/// What a request knows of the connection that it came through.
#[derive(Clone)]
pub struct Connection {
    pub peer: Arc<Peer>,
    pub liveness: Arc<dyn Liveness>,
    /// Cancelled when the daemon goes down.
    pub ending: CancellationToken,
    pub patience: Patience,
}

impl Connection {
    /// Returns when the client has hung up.
    pub async fn hung_up(&self) {
        while !self.liveness.is_hung_up() {
            tokio::time::sleep(self.patience.hangup_check).await;
        }
    }
}

/// Serves requests until the client hangs up, the connection is taken over, or the daemon goes down.
pub async fn serve<S, H, F>(stream: S, connection: Connection, handler: H)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(http::Request<Incoming>, Connection) -> F + Send + Sync,
    F: Future<Output = Reply> + Send,
{
    let phase = Arc::new(Phase::default());
    let stream = Patient { stream, phase: Arc::clone(&phase), limit: connection.patience.head, deadline: None };
    let ending = connection.ending.clone();
    let service = service_fn(|request: http::Request<Incoming>| {
        let busy = Busy::begin(&phase);
        let answered = AssertUnwindSafe(handler(request, connection.clone())).catch_unwind();
        // Boxed, so that an idle connection does not hold the room of the largest request.
        Box::pin(async move {
            let reply = answered.await.unwrap_or_else(|_| {
                tracing::error!("a request panicked");
                Failure::internal("the engine failed on this request: see its log").into_reply()
            });
            if reply.status() == StatusCode::SWITCHING_PROTOCOLS {
                busy.hand_over();
            }
            Ok::<_, Infallible>(reply.map(|body| Counted { body, _busy: busy }.boxed_unsync()))
        })
    });
    let served = http1::Builder::new()
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut served = std::pin::pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = ending.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
}

/// Where a connection stands: silent, in the middle of a head, at work, or no longer HTTP's.
#[derive(Default)]
struct Phase(AtomicU8);

const SILENT: u8 = 0;
const HEAD: u8 = 1;
const AT_WORK: u8 = 2;
const HANDED_OVER: u8 = 3;

/// At work from the head to the last byte of the answer.
struct Busy(Arc<Phase>);

impl Busy {
    fn begin(phase: &Arc<Phase>) -> Self {
        phase.0.store(AT_WORK, Ordering::Relaxed);
        Self(Arc::clone(phase))
    }

    /// What comes from now on is no head, and its silence has no limit.
    fn hand_over(&self) {
        self.0.0.store(HANDED_OVER, Ordering::Relaxed);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // Fails where the connection was handed over: nothing of HTTP comes after that.
        let _ = self.0.0.compare_exchange(AT_WORK, SILENT, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// A body that ends the work when it has been sent.
struct Counted {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream whose reader gives up on a head that does not come to its end.
struct Patient<S> {
    stream: S,
    phase: Arc<Phase>,
    limit: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(read) => {
                let began = this.phase.0.compare_exchange(SILENT, HEAD, Ordering::Relaxed, Ordering::Relaxed).is_ok();
                if began && buffer.filled().len() > before {
                    this.deadline = Some(Box::pin(tokio::time::sleep(this.limit)));
                }
                Poll::Ready(read)
            }
            Poll::Pending => match &mut this.deadline {
                Some(deadline) if this.phase.0.load(Ordering::Relaxed) == HEAD => {
                    deadline.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
                }
                _ => {
                    this.deadline = None;
                    Poll::Pending
                }
            },
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
