//! A stretch of a blob over one connection at a time, gone on with where one breaks off.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use hyper::body::Incoming;
use ids::Digest;

use crate::error::RegistryError;
use crate::repository::{Access, Ask, Repository};
use crate::retry::RESTART_PAUSE;
use crate::transport::{failed, next_piece};

/// Bytes after which a connection counts as a good one: the next that breaks off is the first again.
pub(crate) const GOOD_CONNECTION: u64 = 1 << 20;

/// Which blob.
#[derive(Clone)]
pub(crate) struct Blob {
    pub repository: Repository,
    pub digest: Digest,
    pub size: u64,
}

impl Blob {
    fn path(&self) -> String {
        format!("{}/blobs/{}", self.repository.path(), self.digest)
    }
}

pub(crate) struct Stretch {
    blob: Blob,
    received: u64,
    end: u64,
    body: Option<Incoming>,
    /// What the present connection brings ends behind `end`.
    body_end: u64,
    /// The rest of a piece whose beginning was known already.
    pending: Option<Bytes>,
    /// Where the present connection began.
    opened_at: u64,
    /// Further connections that may take the place of one that breaks off.
    tries: u32,
    knows_ranges: bool,
}

impl Stretch {
    /// From `start` to before `end`, asked for at once.
    pub async fn open(blob: Blob, start: u64, end: u64) -> Result<Self, RegistryError> {
        let tries = blob.repository.download_attempts() - 1;
        let mut stretch = Self {
            blob,
            received: start,
            end,
            body: None,
            body_end: end,
            pending: None,
            opened_at: start,
            tries,
            knows_ranges: false,
        };
        if start < end {
            stretch.connect().await?;
        }
        Ok(stretch)
    }

    /// Whether the server said that it gives parts.
    pub fn knows_ranges(&self) -> bool {
        self.knows_ranges
    }

    /// Ends the stretch earlier.
    pub fn cut(&mut self, end: u64) {
        self.end = end.clamp(self.received, self.end);
    }

    /// The next piece; `None` at the end. A connection that breaks off is replaced by one that goes on where it ended; only
    /// those that bring next to nothing are counted against the tries.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            if self.received == self.end {
                return self.finish().await.map(|()| None);
            }
            let error = match self.piece().await {
                Ok(piece) => return self.accept(piece).map(Some),
                Err(error) => error,
            };
            if self.received - self.opened_at >= GOOD_CONNECTION {
                self.tries = self.blob.repository.download_attempts() - 1;
            }
            self.tries = match self.tries.checked_sub(1) {
                Some(tries) if error.is_transient() => tries,
                _ => return Err(error),
            };
            tracing::debug!(digest = %self.blob.digest, received = self.received, %error, "blob broke off, going on");
            match self.connect().await {
                Err(error) if self.tries > 0 && (error.is_transient() || error.is_refusal()) => {
                    self.body = None;
                    self.blob.repository.pause(RESTART_PAUSE).await;
                }
                opened => opened?,
            }
        }
    }

    async fn piece(&mut self) -> Result<Bytes, RegistryError> {
        let Blob { digest, size, .. } = self.blob;
        let short = RegistryError::Short { digest, received: self.received, expected: size };
        if let Some(piece) = self.pending.take() {
            return Ok(piece);
        }
        let Some(body) = &mut self.body else { return Err(short) };
        match next_piece(body).await {
            Ok(piece) => piece.ok_or(short),
            Err(error) => {
                let url = self.blob.repository.url(&self.blob.path()).await?;
                Err(failed(&Method::GET, &url.parse().unwrap_or_default(), error))
            }
        }
    }

    fn accept(&mut self, mut piece: Bytes) -> Result<Bytes, RegistryError> {
        let left = self.end - self.received;
        if piece.len() as u64 > left {
            if self.body_end == self.end {
                return Err(RegistryError::TooLarge { what: "blob", limit: self.blob.size });
            }
            piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        }
        self.received += piece.len() as u64;
        Ok(piece)
    }

    /// Nothing may be behind the end, unless the stretch was cut.
    async fn finish(&mut self) -> Result<(), RegistryError> {
        if self.body_end == self.end
            && let Some(body) = &mut self.body
            && matches!(next_piece(body).await, Ok(Some(_)))
        {
            return Err(RegistryError::TooLarge { what: "blob", limit: self.blob.size });
        }
        self.body = None;
        Ok(())
    }

    /// Asks for what is missing. A server that knows no ranges sends everything again; what is known is skipped, unless the
    /// stretch begins within the blob: then somebody else has what is before it.
    async fn connect(&mut self) -> Result<(), RegistryError> {
        let path = self.blob.path();
        let mut ask = Ask::new(Method::GET, &path, Access::Pull);
        let is_part = self.end < self.blob.size;
        if self.received > 0 || is_part {
            let last = if is_part { (self.end - 1).to_string() } else { String::new() };
            let range = HeaderValue::from_str(&format!("bytes={}-{last}", self.received));
            ask.headers.insert(header::RANGE, range.unwrap_or(HeaderValue::from_static("bytes=0-")));
        }
        let answer = self.blob.repository.ask(&ask).await?;
        self.opened_at = self.received;
        let text = |name: header::HeaderName| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let mut skip = self.received;
        if answer.status() == StatusCode::PARTIAL_CONTENT {
            let expected = format!("bytes {}-", self.received);
            if text(header::CONTENT_RANGE).is_some_and(|range| !range.starts_with(&expected)) {
                return Err(RegistryError::Protocol("another range than the one asked for".to_owned()));
            }
            skip = 0;
            self.body_end = self.end;
        } else {
            self.body_end = self.blob.size;
        }
        self.knows_ranges = skip == 0 && text(header::ACCEPT_RANGES) == Some("bytes");
        self.body = Some(answer.into_body());
        self.pending = None;
        while skip > 0 {
            let mut piece = self.piece().await?;
            if piece.len() as u64 > skip {
                self.pending = Some(piece.split_off(usize::try_from(skip).unwrap_or(piece.len())));
                break;
            }
            skip -= piece.len() as u64;
        }
        Ok(())
    }
}
