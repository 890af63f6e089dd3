//! Blobs: streamed, resumed where they broke off, verified.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use hyper::body::Incoming;
use ids::{Digest, Hasher};

use crate::error::RegistryError;
use crate::repository::{Access, Ask, Repository};
use crate::transport::{failed, next_piece};

/// Who checks that a blob has its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// The reader, when the blob is read to its end. Only for a blob that is read from its beginning.
    Here,
    /// Whoever the bytes are handed to, as a content store does before it commits.
    Receiver,
}

/// Bytes after which a connection counts as a good one: the next that breaks off is the first again.
const GOOD_CONNECTION: u64 = 1 << 20;

/// Before a registry that has sent a part is looked for again: it may be restarting.
const RESTART_PAUSE: Duration = Duration::from_secs(2);

/// A blob on its way.
pub struct BlobReader {
    repository: Repository,
    path: String,
    digest: Digest,
    size: u64,
    received: u64,
    body: Option<Incoming>,
    /// The rest of a piece whose beginning was known already.
    pending: Option<Bytes>,
    hasher: Option<Hasher>,
    /// Where the present connection began.
    opened_at: u64,
    /// Further connections that may take the place of one that breaks off.
    tries: u32,
}

impl Repository {
    /// The size of a blob that the registry has.
    pub async fn has_blob(&self, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        let path = format!("{}/blobs/{digest}", self.path());
        match self.ask(&Ask::new(Method::HEAD, &path, Access::Push)).await {
            Ok(answer) => {
                let size = answer.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
                Ok(Some(size.unwrap_or(0)))
            }
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A blob of `size` bytes from `offset` on.
    pub async fn blob(
        &self,
        digest: Digest,
        size: u64,
        offset: u64,
        verify: Verify,
    ) -> Result<BlobReader, RegistryError> {
        let mut reader = BlobReader {
            repository: self.clone(),
            path: format!("{}/blobs/{digest}", self.path()),
            digest,
            size,
            received: offset,
            body: None,
            pending: None,
            hasher: (verify == Verify::Here && offset == 0).then(Hasher::new),
            opened_at: offset,
            tries: self.download_attempts() - 1,
        };
        if offset < size {
            reader.open().await?;
        }
        Ok(reader)
    }
}

impl BlobReader {
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next piece; `None` when all is there and right. A connection that breaks off is replaced by one that goes on
    /// where it ended; only those that bring next to nothing are counted against the tries.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            if self.received == self.size {
                return self.finish().await;
            }
            let error = match self.piece().await {
                Ok(piece) => return self.accept(piece).map(Some),
                Err(error) => error,
            };
            if self.received - self.opened_at >= GOOD_CONNECTION {
                self.tries = self.repository.download_attempts() - 1;
            }
            self.tries = match self.tries.checked_sub(1) {
                Some(tries) if error.is_transient() => tries,
                _ => return Err(error),
            };
            tracing::debug!(digest = %self.digest, received = self.received, %error, "blob broke off, going on");
            match self.open().await {
                Err(error) if self.tries > 0 && (error.is_transient() || error.is_refusal()) => {
                    self.body = None;
                    tokio::time::sleep(RESTART_PAUSE).await;
                }
                opened => opened?,
            }
        }
    }

    async fn piece(&mut self) -> Result<Bytes, RegistryError> {
        let short = RegistryError::Short { digest: self.digest, received: self.received, expected: self.size };
        if let Some(piece) = self.pending.take() {
            return Ok(piece);
        }
        let Some(body) = &mut self.body else { return Err(short) };
        let url = self.path.parse().unwrap_or_default();
        next_piece(body).await.map_err(|error| failed(&Method::GET, &url, error))?.ok_or(short)
    }

    fn accept(&mut self, piece: Bytes) -> Result<Bytes, RegistryError> {
        self.received += piece.len() as u64;
        if self.received > self.size {
            return Err(RegistryError::TooLarge { what: "blob", limit: self.size });
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&piece);
        }
        Ok(piece)
    }

    async fn finish(&mut self) -> Result<Option<Bytes>, RegistryError> {
        if let Some(body) = &mut self.body
            && matches!(next_piece(body).await, Ok(Some(_)))
        {
            return Err(RegistryError::TooLarge { what: "blob", limit: self.size });
        }
        self.body = None;
        match self.hasher.take().map(Hasher::finish) {
            Some(found) if found != self.digest => Err(RegistryError::Digest(self.digest)),
            _ => Ok(None),
        }
    }

    /// Asks for what is missing. A server that knows no ranges sends everything again; what is known is skipped.
    async fn open(&mut self) -> Result<(), RegistryError> {
        let mut ask = Ask::new(Method::GET, &self.path, Access::Pull);
        if self.received > 0 {
            let range = HeaderValue::from_str(&format!("bytes={}-", self.received));
            ask.headers.insert(header::RANGE, range.unwrap_or(HeaderValue::from_static("bytes=0-")));
        }
        let answer = self.repository.ask(&ask).await?;
        self.opened_at = self.received;
        let mut skip = self.received;
        if answer.status() == StatusCode::PARTIAL_CONTENT {
            let range = answer.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
            let expected = format!("bytes {}-", self.received);
            if range.is_some_and(|range| !range.starts_with(&expected)) {
                return Err(RegistryError::Protocol("another range than the one asked for".to_owned()));
            }
            skip = 0;
        }
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
