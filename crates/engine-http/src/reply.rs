//! The shapes of answers: JSON, nothing, text, and streams that go on.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt};
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use serde::Serialize;
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;
pub type Reply = Response<Body>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// 200 with this value.
pub fn ok<T: Serialize>(value: &T) -> Reply {
    json(StatusCode::OK, value)
}

pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Reply {
    // Our wire types have string keys only and no failing serialisers, which is all that can go wrong.
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    with_body(status, JSON, Full::new(Bytes::from(text)).map_err(never).boxed_unsync())
}

pub fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Empty::new().map_err(never).boxed_unsync());
    *reply.status_mut() = status;
    reply
}

pub fn no_content() -> Reply {
    empty(StatusCode::NO_CONTENT)
}

pub fn text(text: &'static str) -> Reply {
    let body = Full::new(Bytes::from_static(text.as_bytes())).map_err(never).boxed_unsync();
    with_body(StatusCode::OK, HeaderValue::from_static("text/plain; charset=utf-8"), body)
}

/// One line of plain text.
pub fn line(status: StatusCode, mut text: String) -> Reply {
    text.push('\n');
    let body = Full::new(Bytes::from(text)).map_err(never).boxed_unsync();
    with_body(status, HeaderValue::from_static("text/plain; charset=utf-8"), body)
}

/// 200, then each item on a line of its own as it comes.
pub fn json_lines<S, T>(items: S) -> Reply
where
    S: Stream<Item = T> + Send + 'static,
    T: Serialize,
{
    chunks(JSON, items.map(|item| Ok(json_line(&item))))
}

/// The same with Go's line ends, as `GET /events` has them.
pub fn json_texts<S, T>(items: S) -> Reply
where
    S: Stream<Item = T> + Send + 'static,
    T: Serialize,
{
    chunks(
        JSON,
        items.map(|item| {
            let mut line = serde_json::to_vec(&item).unwrap_or_default();
            line.push(b'\n');
            Ok(Bytes::from(line))
        }),
    )
}

/// 200, then these bytes as they come.
pub fn chunks<S>(content_type: HeaderValue, items: S) -> Reply
where
    S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
{
    with_body(StatusCode::OK, content_type, StreamBody::new(items.map(|chunk| chunk.map(Frame::data))).boxed_unsync())
}

/// 200, then what is read from here until it ends.
pub fn reader<R: AsyncRead + Send + 'static>(content_type: HeaderValue, source: R, buffer: usize) -> Reply {
    chunks(content_type, ReaderStream::with_capacity(source, buffer))
}

fn json_line<T: Serialize>(item: &T) -> Bytes {
    let mut line = serde_json::to_vec(item).unwrap_or_default();
    line.extend_from_slice(b"\r\n");
    Bytes::from(line)
}

/// What Prometheus reads.
pub fn exposition(text: String) -> Reply {
    let body = Full::new(Bytes::from(text)).map_err(never).boxed_unsync();
    with_body(StatusCode::OK, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"), body)
}

/// One of the header names that `http` has no constant for.
pub fn header_name(name: &'static str) -> HeaderName {
    // They are constants of ours and valid.
    HeaderName::try_from(name).unwrap_or(http::header::SERVER)
}

fn with_body(status: StatusCode, content_type: HeaderValue, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    reply
}

fn never(error: Infallible) -> std::io::Error {
    match error {}
}
