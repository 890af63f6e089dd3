//! Bodies in both directions.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, ReadBuf};

use crate::error::Error;
use crate::request::Payload;

/// Longest line of a JSON stream.
pub const MAX_LINE: usize = 16 << 20;
/// Bytes of an upload that are read at a time.
const CHUNK: usize = 64 << 10;

/// The body of a request.
pub(crate) enum Upload {
    Whole(Option<Bytes>),
    File(tokio::fs::File),
}

impl From<Payload> for Upload {
    fn from(payload: Payload) -> Self {
        match payload {
            Payload::None => Self::Whole(None),
            Payload::Json(text) => Self::Whole(Some(text)),
            Payload::Stream(file) => Self::File(file),
        }
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::File(file) => {
                let mut chunk = vec![0; CHUNK];
                let mut buffer = ReadBuf::new(&mut chunk);
                ready!(Pin::new(file).poll_read(cx, &mut buffer))?;
                let read = buffer.filled().len();
                chunk.truncate(read);
                Poll::Ready((read > 0).then(|| Ok(Frame::data(chunk.into()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::File(_) => SizeHint::default(),
        }
    }
}

/// The body of an answer that goes on.
#[derive(Debug)]
pub struct Body {
    incoming: Incoming,
    headers: HeaderMap,
}

impl Body {
    pub(crate) fn new(incoming: Incoming, headers: HeaderMap) -> Self {
        Self { incoming, headers }
    }

    /// `Content-Type` of the answer.
    pub fn content_type(&self) -> &str {
        self.header("content-type").unwrap_or_default()
    }

    /// A header of the answer that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The next bytes; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(frame) = self.incoming.frame().await {
            if let Ok(bytes) = frame?.into_data()
                && !bytes.is_empty()
            {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// As a stream of JSON values.
    pub fn lines(self) -> Lines {
        Lines { body: self, buffer: BytesMut::new(), scanned: 0, ended: false }
    }
}

/// JSON values one behind the other, each on a line of its own.
#[derive(Debug)]
pub struct Lines {
    body: Body,
    buffer: BytesMut,
    /// Bytes of the buffer without a line end.
    scanned: usize,
    ended: bool,
}

impl Lines {
    /// The next value; `None` at the end.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        loop {
            let Some(line) = self.line().await? else { return Ok(None) };
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let value = serde_json::from_slice(&line).map_err(|error| Error::Decode(error.to_string()))?;
            return Ok(Some(value));
        }
    }

    async fn line(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(at) = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.scanned + at).freeze();
                self.buffer.advance(1);
                self.scanned = 0;
                return Ok(Some(line));
            }
            self.scanned = self.buffer.len();
            if self.ended {
                let rest = self.buffer.split().freeze();
                self.scanned = 0;
                return Ok((!rest.is_empty()).then_some(rest));
            }
            if self.buffer.len() > MAX_LINE {
                return Err(Error::TooLarge(MAX_LINE));
            }
            match self.body.chunk().await? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => self.ended = true,
            }
        }
    }
}
