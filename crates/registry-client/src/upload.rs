//! Sends blobs: not at all where the registry has them, by mounting where another repository of it has, else in one
//! stream that goes on where it broke off (distribution-spec, "Pushing blobs").

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use ids::Digest;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::RegistryError;
use crate::redirect::location;
use crate::repository::{Access, Ask, Repository};
use crate::retry::{MAX_TRIES, RESTART_PAUSE};
use crate::stretch::GOOD_CONNECTION;
use crate::transport::{RequestBody, failed, full, timed_out};

/// How long an upload may stand still.
const STALL_TIMEOUT: Duration = Duration::from_secs(120);
/// Before a session is gone on with.
const RETRY_PAUSE: Duration = Duration::from_millis(300);

/// Content that can be read again, from any offset.
pub type OpenBlob = dyn Fn(u64) -> Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>> + Send + Sync;

/// A blob to send.
#[derive(Clone)]
pub struct BlobSource {
    pub digest: Digest,
    pub size: u64,
    pub open: Arc<OpenBlob>,
    /// Called with the bytes sent so far; falls back to less when a try begins anew.
    pub progress: Arc<dyn Fn(u64) + Send + Sync>,
}

/// How a blob came to be in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    Existed,
    /// From this repository of the same registry.
    Mounted(String),
    Uploaded,
}

/// An upload that broke off, and how long to wait before it is gone on with.
struct Setback {
    error: RegistryError,
    pause: Duration,
}

impl Setback {
    /// With what the registry says of waiting.
    fn new((error, said): (RegistryError, Option<Duration>)) -> Self {
        let own = if error.is_refusal() { RESTART_PAUSE } else { RETRY_PAUSE };
        Self { pause: said.unwrap_or(own), error }
    }

    fn may_pass(&self) -> bool {
        self.error.is_transient() || self.error.is_refusal()
    }
}

impl From<RegistryError> for Setback {
    fn from(error: RegistryError) -> Self {
        Self::new((error, None))
    }
}

impl Repository {
    /// Sees to it that the registry has the blob. `elsewhere` are repositories of the same registry that should have it.
    pub async fn push_blob(&self, blob: &BlobSource, elsewhere: &[String]) -> Result<Pushed, RegistryError> {
        if self.has_blob(&blob.digest).await?.is_some() {
            return Ok(Pushed::Existed);
        }
        let mut session = None;
        for from in elsewhere.iter().filter(|from| *from != self.path()) {
            session = self.mount(&blob.digest, from).await?;
            if session.is_none() {
                return Ok(Pushed::Mounted(from.clone()));
            }
        }
        let mut tries = MAX_TRIES;
        loop {
            let url = match session.take() {
                Some(url) => url,
                None => self.start(&format!("{}/blobs/uploads/", self.path()), None).await?.unwrap_or_default(),
            };
            match self.upload_in_tries(blob, url, &mut tries).await {
                Ok(()) => return Ok(Pushed::Uploaded),
                // Another try begins with a session of its own: what this one has received is unknown.
                Err(setback) if setback.may_pass() && tries > 0 => {
                    tracing::debug!(digest = %blob.digest, error = %setback.error, "upload broke off, starting again");
                    self.pause(setback.pause).await;
                }
                Err(setback) => return Err(setback.error),
            }
        }
    }

    /// One session, gone on with as long as the registry tells what it has received of it.
    async fn upload_in_tries(&self, blob: &BlobSource, url: String, tries: &mut u32) -> Result<(), Setback> {
        let (mut url, mut offset) = (url, 0);
        loop {
            *tries -= 1;
            let setback = match self.upload(blob, &url, offset).await {
                Ok(()) => return Ok(()),
                Err(setback) if setback.may_pass() && *tries > 0 => setback,
                Err(setback) => return Err(setback),
            };
            self.pause(setback.pause).await;
            match self.received(&url).await {
                Some((next, received)) if received > 0 && received < blob.size => {
                    tracing::debug!(digest = %blob.digest, error = %setback.error, received, "upload broke off, going on");
                    // A session that got further is a good one.
                    if received >= offset + GOOD_CONNECTION {
                        *tries = MAX_TRIES;
                    }
                    (url, offset) = (next, received);
                }
                _ => return Err(setback),
            }
        }
    }

    /// Where a session goes on, and how many bytes of it have arrived.
    async fn received(&self, url: &str) -> Option<(String, u64)> {
        let answer = self.ask(&Ask::new(Method::GET, url, Access::Push)).await.ok()?;
        let range = answer.headers().get(header::RANGE)?.to_str().ok()?;
        let last: u64 = range.trim_start_matches("bytes=").split_once('-')?.1.parse().ok()?;
        // `0-0` is what registries say of a session that has nothing.
        let received = if last == 0 { 0 } else { last + 1 };
        Some((location(&answer, url).unwrap_or_else(|_| url.to_owned()), received))
    }

    /// `None` if it is mounted, else the session that the registry offers in its place.
    async fn mount(&self, digest: &Digest, from: &str) -> Result<Option<String>, RegistryError> {
        let encoded = utf8_percent_encode(from, NON_ALPHANUMERIC);
        let target = format!("{}/blobs/uploads/?mount={digest}&from={encoded}", self.path());
        match self.start(&target, Some(from)).await {
            // Not allowed to read there, or no such repository: then it is sent.
            Err(error) if matches!(error.status(), Some(400..=405)) => {
                self.start(&format!("{}/blobs/uploads/", self.path()), None).await
            }
            answer => answer,
        }
    }

    async fn start(&self, target: &str, also: Option<&str>) -> Result<Option<String>, RegistryError> {
        let body = || full(Bytes::new());
        let mut ask = Ask::new(Method::POST, target, Access::Push);
        ask.also = also;
        ask.body = Some(&body);
        ask.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        let answer = self.ask(&ask).await?;
        if answer.status() == StatusCode::CREATED {
            return Ok(None);
        }
        location(&answer, &self.url(target).await?).map(Some)
    }

    async fn upload(&self, blob: &BlobSource, url: &str, offset: u64) -> Result<(), Setback> {
        let sent = Arc::new(AtomicU64::new(0));
        let body = || body_of(blob, offset, sent.clone());
        let mut ask = Ask::new(Method::PATCH, url, Access::Push);
        ask.body = Some(&body);
        ask.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(blob.size - offset));
        if offset > 0 {
            let range = HeaderValue::from_str(&format!("{offset}-{}", blob.size - 1));
            ask.headers.insert(header::CONTENT_RANGE, range.unwrap_or(HeaderValue::from_static("0-0")));
        }
        ask.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let answer = tokio::select! {
            answer = self.ask_once(&ask) => answer.map_err(Setback::new)?,
            () = stalled(&sent) => {
                return Err(failed(&Method::PATCH, &url.parse().unwrap_or_default(), timed_out()).into());
            }
        };
        let next = location(&answer, url)?;
        let separator = if next.contains('?') { '&' } else { '?' };
        let target =
            format!("{next}{separator}digest={}", utf8_percent_encode(&blob.digest.to_string(), NON_ALPHANUMERIC));
        let nothing = || full(Bytes::new());
        let mut ask = Ask::new(Method::PUT, &target, Access::Push);
        ask.body = Some(&nothing);
        ask.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        self.ask_once(&ask).await.map(|_| ()).map_err(Setback::new)
    }
}

/// Ends when no byte has moved for a while; the answer counts as the last one.
async fn stalled(sent: &AtomicU64) {
    let mut before = u64::MAX;
    loop {
        let now = sent.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
        tokio::time::sleep(STALL_TIMEOUT).await;
    }
}

/// The blob as a request's body, counted as it goes.
fn body_of(blob: &BlobSource, offset: u64, count: Arc<AtomicU64>) -> RequestBody {
    let progress = blob.progress.clone();
    let mut sent = offset;
    count.store(offset, Ordering::Relaxed);
    let pieces = (blob.open)(offset).map(move |piece| {
        piece.map(|bytes| {
            sent += bytes.len() as u64;
            count.store(sent, Ordering::Relaxed);
            progress(sent);
            Frame::data(bytes)
        })
    });
    StreamBody::new(pieces).boxed_unsync()
}
