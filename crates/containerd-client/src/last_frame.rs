//! Requests of one message end with that message.
//!
//! A body of tonic's tells that it has ended only when it is asked once more, which sends an empty frame behind the
//! message: another write here and another wake-up there for every call. [`Last`] looks ahead.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::{Status, transport};

/// The connection, with bodies that know their last frame.
#[derive(Clone)]
pub struct Channel(pub transport::Channel);

impl Service<http::Request<Body>> for Channel {
    type Response = http::Response<Body>;
    type Error = transport::Error;
    type Future = <transport::Channel as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.0.call(request.map(|body| Body::new(Last { body, next: Next::Unknown })))
    }
}

struct Last {
    body: Body,
    next: Next,
}

/// What comes behind the frame that was given last.
enum Next {
    Unknown,
    Frame(Frame<Bytes>),
    Failure(Status),
    Nothing,
}

impl http_body::Body for Last {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = match std::mem::replace(&mut self.next, Next::Unknown) {
            Next::Frame(frame) => frame,
            Next::Failure(status) => return Poll::Ready(Some(Err(status))),
            Next::Nothing => {
                self.next = Next::Nothing;
                return Poll::Ready(None);
            }
            Next::Unknown => match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            },
        };
        // Pending: it is asked again by the next call, which leaves its waker then.
        self.next = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Pending => Next::Unknown,
            Poll::Ready(None) => Next::Nothing,
            Poll::Ready(Some(Ok(frame))) => Next::Frame(frame),
            Poll::Ready(Some(Err(status))) => Next::Failure(status),
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        match self.next {
            Next::Nothing => true,
            Next::Unknown => self.body.is_end_stream(),
            Next::Frame(_) | Next::Failure(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
