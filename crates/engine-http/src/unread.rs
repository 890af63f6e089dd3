//! What nobody has read of a body whose request was refused.
//!
//! A client that is still writing when the connection is closed sees a broken pipe instead of the answer. So the rest is
//! read, [`MAX_BYTES`] and [`PATIENCE`] at most, and thrown away, before the refusal is sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::oneshot;

use crate::request::{RequestBody, boxed};

/// A whole body of JSON, and what a refused archive has sent by then.
const MAX_BYTES: usize = 8 << 20;
const PATIENCE: Duration = Duration::from_secs(2);

/// A body that comes back when it is dropped before its end.
struct Lent {
    body: Option<RequestBody>,
    back: Option<oneshot::Sender<RequestBody>>,
}

/// Where it comes back.
pub struct Unread(oneshot::Receiver<RequestBody>);

/// The body to give away, and what is to be asked for its rest.
pub fn lend(body: RequestBody) -> (RequestBody, Unread) {
    let (back, unread) = oneshot::channel();
    (boxed(Lent { body: Some(body), back: Some(back) }), Unread(unread))
}

impl Unread {
    /// Reads on and forgets what it reads. A body that somebody still has is left alone.
    pub async fn discard(mut self) {
        let Ok(mut body) = self.0.try_recv() else { return };
        let reading = async {
            let mut read = 0;
            while read < MAX_BYTES
                && let Some(Ok(frame)) = body.frame().await
            {
                read += frame.data_ref().map_or(0, Bytes::len);
            }
        };
        // A client that is slow as well as wrong is not waited for.
        let _ = tokio::time::timeout(PATIENCE, reading).await;
    }
}

impl Body for Lent {
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

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take())
            && !body.is_end_stream()
        {
            // Nobody asks any more when the request was answered well.
            let _ = back.send(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::stream;
    use http_body_util::StreamBody;

    use super::*;

    /// Pieces of a MiB, and how many were taken.
    fn pieces(count: usize) -> (RequestBody, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&taken);
        let piece = Bytes::from(vec![0; 1 << 20]);
        let pieces = stream::iter(0..count).map(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok::<_, io::Error>(Frame::data(piece.clone()))
        });
        (boxed(StreamBody::new(pieces)), taken)
    }

    use futures_util::StreamExt;

    #[tokio::test]
    async fn a_body_that_was_dropped_is_read_to_a_limit() {
        for (count, read) in [(3, 3), (100, 8)] {
            let (body, taken) = pieces(count);
            let (body, unread) = lend(body);
            drop(body);
            unread.discard().await;
            assert_eq!(taken.load(Ordering::Relaxed), read);
        }
    }

    #[tokio::test]
    async fn a_body_in_use_and_one_that_was_read_are_left_alone() {
        let (body, taken) = pieces(2);
        let (kept, unread) = lend(body);
        unread.discard().await;
        assert_eq!(taken.load(Ordering::Relaxed), 0);
        assert_eq!(kept.collect().await.unwrap().to_bytes().len(), 2 << 20);
    }
}
