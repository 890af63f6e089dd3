//! Blobs: streamed in order, over several connections where one is slow, verified.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{Method, header};
use ids::{Digest, Hasher};

use crate::ahead::{Ahead, PART, Pace, Part};
use crate::error::RegistryError;
use crate::repository::{Access, Ask, Repository};
use crate::stretch::{Blob, Stretch};

/// Who checks that a blob has its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// The reader, when the blob is read to its end. Only for a blob that is read from its beginning.
    Here,
    /// Whoever the bytes are handed to, as a content store does before it commits.
    Receiver,
}

/// A blob on its way.
pub struct BlobReader {
    blob: Blob,
    received: u64,
    front: Front,
    /// What is fetched beside it, once one connection has shown that it is too slow.
    ahead: Option<Ahead>,
    pace: Pace,
    hasher: Option<Hasher>,
}

/// Where the next bytes come from.
enum Front {
    Stretch(Box<Stretch>),
    Part(Part),
}

impl Front {
    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        match self {
            Self::Stretch(stretch) => stretch.next().await,
            Self::Part(part) => part.next().await,
        }
    }
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
        let blob = Blob { repository: self.clone(), digest, size };
        let stretch = Stretch::open(blob.clone(), offset, size).await?;
        Ok(BlobReader {
            blob,
            received: offset,
            front: Front::Stretch(Box::new(stretch)),
            ahead: None,
            pace: Pace::new(),
            hasher: (verify == Verify::Here && offset == 0).then(Hasher::new),
        })
    }
}

impl BlobReader {
    pub fn size(&self) -> u64 {
        self.blob.size
    }

    /// The next piece; `None` when all is there and right. What breaks off is gone on with.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let asked = Instant::now();
            match self.front.next().await? {
                Some(piece) => {
                    self.received += piece.len() as u64;
                    if self.pace.is_slow(piece.len(), asked.elapsed()) {
                        self.spread();
                    }
                    if let Some(hasher) = &mut self.hasher {
                        hasher.update(&piece);
                    }
                    return Ok(Some(piece));
                }
                None if self.received == self.blob.size => return self.verify().map(|()| None),
                None => self.advance().await?,
            }
        }
    }

    /// Has the rest fetched over several connections, if there is enough of it and the registry gives parts.
    fn spread(&mut self) {
        let Front::Stretch(stretch) = &mut self.front else { return };
        if self.ahead.is_some() || !stretch.knows_ranges() || self.blob.size - self.received < 3 * PART {
            return;
        }
        tracing::debug!(digest = %self.blob.digest, received = self.received, "slow, fetching in parts");
        let boundary = self.received + PART;
        stretch.cut(boundary);
        let slots = Arc::clone(self.blob.repository.parts());
        self.ahead.insert(Ahead::new(self.blob.clone(), slots, boundary)).fill();
    }

    /// On to the next part, which is at hand or asked for now.
    async fn advance(&mut self) -> Result<(), RegistryError> {
        let short =
            RegistryError::Short { digest: self.blob.digest, received: self.received, expected: self.blob.size };
        let ahead = self.ahead.as_mut().ok_or(short)?;
        self.front = match ahead.take() {
            Some(part) => Front::Part(part),
            None => {
                let (start, end) = ahead.claim();
                Front::Stretch(Box::new(Stretch::open(self.blob.clone(), start, end).await?))
            }
        };
        ahead.fill();
        Ok(())
    }

    fn verify(&mut self) -> Result<(), RegistryError> {
        match self.hasher.take().map(Hasher::finish) {
            Some(found) if found != self.blob.digest => Err(RegistryError::Digest(self.blob.digest)),
            _ => Ok(()),
        }
    }
}
