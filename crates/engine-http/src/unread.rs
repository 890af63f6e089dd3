//! What nobody has read of a body: a request was refused, or an archive was broken before its end.
//!
//! A client that is still writing when the connection is closed sees a broken pipe instead of the answer. So the rest is
//! read and thrown away while the answer is on its way, [`MAX_BYTES`] at most, for as long as it comes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::runtime::Handle;

use crate::request::{RequestBody, boxed};

/// What an archive may have when it is read.
const MAX_BYTES: usize = 1 << 40;
/// A client that sends nothing for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A body that is read to its end when it is dropped before.
struct Whole {
    body: Option<RequestBody>,
}

/// The same body; what of it is not read by then is discarded when it is dropped.
pub fn discarded_when_dropped(body: RequestBody) -> RequestBody {
    boxed(Whole { body: Some(body) })
}

async fn discard(mut body: RequestBody) {
    let mut read = 0;
    while read < MAX_BYTES
        && let Ok(Some(Ok(frame))) = tokio::time::timeout(PATIENCE, body.frame()).await
    {
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            this.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if let Some(body) = self.body.take()
            && !body.is_end_stream()
            && let Ok(runtime) = Handle::try_current()
        {
            // Ends with the connection at the latest.
            runtime.spawn(discard(body));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::{StreamExt, stream};
    use http_body_util::StreamBody;

    use super::*;

    const PIECES: usize = 100;

    /// Pieces of a MiB, and how many were taken.
    fn pieces() -> (RequestBody, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&taken);
        let piece = Bytes::from(vec![0; 1 << 20]);
        let pieces = stream::iter(0..PIECES).map(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok::<_, io::Error>(Frame::data(piece.clone()))
        });
        (boxed(StreamBody::new(pieces)), taken)
    }

    #[tokio::test]
    async fn a_body_that_was_dropped_is_read_to_its_end() {
        let (body, taken) = pieces();
        let mut body = discarded_when_dropped(body);
        body.frame().await.unwrap().unwrap();
        drop(body);
        while Arc::strong_count(&taken) > 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(taken.load(Ordering::Relaxed), PIECES);
    }

    #[tokio::test]
    async fn a_body_that_is_read_is_what_it_was() {
        let (body, _) = pieces();
        let body = discarded_when_dropped(body);
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), PIECES << 20);
    }
}
