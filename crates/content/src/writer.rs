//! One write: bytes appended and hashed as they come, then committed under their digest.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::SystemTime;

use ids::{Digest, Hasher};
use metadata::Labels;

use crate::error::disk;
use crate::follow::{End, Watched};
use crate::ingest::{Ingest, Status, read_status};
use crate::store::{Also, Suspended};
use crate::{Error, Store};

/// Bytes after which those before them go to the disk: the sync of a commit finds the last few only, whatever the blob's
/// size.
const WRITEBACK: u64 = 8 << 20;

/// What is to be written.
#[derive(Debug, Clone, Default)]
pub struct WriteRequest {
    /// Names the write; the same name goes on where it was left.
    pub reference: String,
    /// 0 if not known.
    pub total: u64,
    /// A blob that this namespace has already is an error `AlreadyExists`; one that another has needs no bytes.
    pub expected: Option<Digest>,
    /// A lease of the caller keeps the write: it is not kept for its own sake once the lease is gone.
    pub leased: bool,
}

/// How a write ends.
#[derive(Default)]
pub struct Commit {
    /// Must be the number of bytes written, if given.
    pub size: Option<u64>,
    /// Must be the digest of the bytes, if given.
    pub expected: Option<Digest>,
    pub labels: Labels,
    /// Runs in the same transaction as the blob's record (leases).
    pub also: Option<Also>,
}

/// An open write; no other can be opened under its reference. Dropped without commit, it can be resumed.
pub struct Writer {
    pub(crate) store: Store,
    pub(crate) namespace: String,
    pub(crate) ingest: Ingest,
    pub(crate) status: Status,
    pub(crate) bytes: Bytes,
    /// Who reads along hears of every byte and of the end.
    pub(crate) watched: Arc<Watched>,
}

/// Where the bytes are.
pub(crate) enum Bytes {
    Own {
        file: File,
        hasher: Hasher,
    },
    /// A blob of another namespace stands for them until something else is written.
    Shared {
        digest: Digest,
    },
}

impl Writer {
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Digest of what has been written so far.
    pub fn digest(&self) -> Digest {
        match &self.bytes {
            Bytes::Own { hasher, .. } => hasher.clone().finish(),
            Bytes::Shared { digest } => *digest,
        }
    }

    /// Appends.
    pub fn write(&mut self, data: &[u8]) -> Result<(), Error> {
        if data.is_empty() {
            return Ok(());
        }
        if let Bytes::Shared { digest } = self.bytes {
            let size = self.status.offset;
            self.unshare(&digest, size)?;
        }
        if let Bytes::Own { file, hasher } = &mut self.bytes {
            if let Err(error) = file.write_all(data) {
                // What part of it reached the file is not hashed: forget that part, so that file and hash agree.
                file.set_len(self.status.offset).map_err(disk("truncate", &self.ingest.data()))?;
                seek(file, self.status.offset).map_err(disk("seek in", &self.ingest.data()))?;
                return Err(disk("write", &self.ingest.data())(error));
            }
            hasher.update(data);
        }
        let before = self.status.offset;
        self.status.offset += data.len() as u64;
        self.status.updated_at = SystemTime::now();
        self.watched.reached(self.status.offset);
        self.write_back(before);
        Ok(())
    }

    /// Starts what a commit would wait for.
    fn write_back(&self, before: u64) {
        let (from, to) = (before / WRITEBACK * WRITEBACK, self.status.offset / WRITEBACK * WRITEBACK);
        if let Bytes::Own { file, .. } = &self.bytes
            && to > from
        {
            let range = i64::try_from(from).and_then(|from| Ok((from, i64::try_from(to)? - from)));
            // A file system that cannot (EINVAL, ENOSYS) has it all to do at the commit.
            if let Ok((from, length)) = range
                && let Err(errno) = sys::file::start_writeback(file.as_fd(), from, length)
            {
                tracing::debug!(%errno, "no write-back before the commit");
            }
        }
    }

    /// Drops what was written behind the first `size` bytes.
    pub fn truncate(&mut self, size: u64) -> Result<(), Error> {
        if size > self.status.offset {
            return Err(Error::Truncate { size, offset: self.status.offset });
        }
        if size == self.status.offset {
            return Ok(());
        }
        self.watched.end(End::GivenUp);
        self.watched = self.store.watch_anew(&self.ingest.name, size);
        match &mut self.bytes {
            Bytes::Shared { digest } => {
                let digest = *digest;
                self.unshare(&digest, size)
            }
            Bytes::Own { file, hasher } => {
                let path = self.ingest.data();
                file.set_len(size).map_err(disk("truncate", &path))?;
                *hasher = hash_file(&path, size)?;
                seek(file, size).map_err(disk("seek in", &path))?;
                self.status.offset = size;
                Ok(())
            }
        }
    }

    /// Verifies and publishes the blob: synced, renamed into place, recorded. When the namespace has it already the
    /// answer is `AlreadyExists` and the write is gone, as after a success. Bytes that are not what was expected are
    /// removed: a later write under the reference begins anew. After any other error it can be resumed.
    pub fn commit(mut self, commit: Commit) -> Result<Digest, Error> {
        let offset = self.status.offset;
        if let Some(expected) = commit.size
            && expected != offset
        {
            if offset > expected {
                self.ingest.remove()?;
            }
            return Err(Error::Size { found: offset, expected });
        }
        let digest = self.digest();
        if let Some(expected) = commit.expected
            && expected != digest
        {
            self.ingest.remove()?;
            return Err(Error::Digest { found: digest, expected });
        }
        let labels = metadata::labels::checked(commit.labels)?;
        if let Bytes::Own { file, .. } = &mut self.bytes {
            file.sync_data().map_err(disk("sync", &self.ingest.data()))?;
        }
        let _guard = self.store.lock_digest(&digest);
        if let Bytes::Own { file, .. } = &self.bytes {
            let (data, target) = (self.ingest.data(), self.store.blob_path(&digest));
            let mode = fs::Permissions::from_mode(0o444);
            file.set_permissions(mode).map_err(disk("change the mode of", &data))?;
            fs::rename(&data, &target).map_err(|error| match error.kind() {
                // Discarded while it was written: nobody wants it any more.
                std::io::ErrorKind::NotFound => Error::NoSuchWrite { reference: self.status.reference.clone() },
                _ => disk("rename", &data)(error),
            })?;
            self.store.sync_blobs()?;
            self.ingest.remove()?;
        } else if !self.store.blob_path(&digest).exists() {
            // The other namespace deleted it in the meantime.
            return Err(Error::NotFound { digest });
        }
        let recorded = self.store.insert_record(&self.namespace, digest, offset, labels, commit.also);
        if matches!(recorded, Ok(()) | Err(Error::AlreadyExists { .. })) {
            self.watched.end(End::Blob(digest));
        }
        recorded.map(|()| digest)
    }

    /// Gives the write up and removes what it wrote.
    pub fn abort(self) -> Result<(), Error> {
        self.ingest.remove().map(drop)
    }

    /// Copies the first bytes of the shared blob into a write of our own.
    fn unshare(&mut self, digest: &Digest, size: u64) -> Result<(), Error> {
        let source = self.store.blob_path(digest);
        self.ingest.create(self.status.total)?;
        self.ingest.set_leased(self.status.leased)?;
        let path = self.ingest.data();
        let mut file = open_data(&path, true)?;
        let original = File::open(&source).map_err(disk("open", &source))?;
        std::io::copy(&mut std::io::Read::take(original, size), &mut file).map_err(disk("copy", &source))?;
        let hasher = hash_file(&path, size)?;
        self.bytes = Bytes::Own { file, hasher };
        self.status.offset = size;
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.watched.end(End::GivenUp);
        if let Bytes::Own { hasher, .. } = &self.bytes
            && self.ingest.folder.exists()
        {
            if let Err(error) = self.ingest.touch() {
                tracing::warn!(error = errors::chain(&error), "cannot note the time of a write");
            }
            self.store.suspend(&self.ingest.name, Suspended { offset: self.status.offset, hasher: hasher.clone() });
        }
        self.store.unlock_reference(&self.ingest.name);
    }
}

/// Opens the data of a new or interrupted write and finds out how far it is.
pub(crate) fn open_own(store: &Store, ingest: &Ingest, request: &WriteRequest) -> Result<(Status, Bytes), Error> {
    let path = ingest.data();
    let suspended = store.resume(&ingest.name);
    let found = read_status(&ingest.folder)?.filter(|(name, status)| {
        let same_total = request.total == 0 || status.total == 0 || request.total == status.total;
        *name == ingest.name && same_total
    });
    if let Some((_, mut status)) = found {
        let mut file = open_data(&path, false)?;
        let hasher = match suspended {
            Some(suspended) if suspended.offset == status.offset => suspended.hasher,
            _ => hash_file(&path, status.offset)?,
        };
        seek(&mut file, status.offset).map_err(disk("seek in", &path))?;
        if status.total == 0 {
            status.total = request.total;
        }
        if status.leased && !request.leased {
            ingest.set_leased(false)?;
            status.leased = false;
        }
        return Ok((status, Bytes::Own { file, hasher }));
    }
    ingest.remove()?;
    ingest.create(request.total)?;
    ingest.set_leased(request.leased)?;
    let file = open_data(&path, true)?;
    let now = SystemTime::now();
    let status = Status {
        reference: request.reference.clone(),
        offset: 0,
        total: request.total,
        started_at: now,
        updated_at: now,
        leased: request.leased,
    };
    Ok((status, Bytes::Own { file, hasher: Hasher::new() }))
}

fn open_data(path: &std::path::Path, truncate: bool) -> Result<File, Error> {
    let mut options = File::options();
    options.write(true).create(true).truncate(truncate);
    options.open(path).map_err(disk("open", path))
}

fn seek(file: &mut File, offset: u64) -> std::io::Result<()> {
    std::io::Seek::seek(file, std::io::SeekFrom::Start(offset)).map(drop)
}

fn hash_file(path: &std::path::Path, size: u64) -> Result<Hasher, Error> {
    let file = File::open(path).map_err(disk("open", path))?;
    let mut left = std::io::Read::take(file, size);
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match std::io::Read::read(&mut left, &mut buffer) {
            Ok(0) => return Ok(hasher),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(disk("read", path)(error)),
        }
    }
}
