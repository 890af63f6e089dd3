//! The members of an archive, each into the content store as it arrives; a small one is held in memory until it turns out
//! what it is.
//!
//! An archive is an attacker's: it is read on a thread of its own in pieces, a member's name is only ever a key of a map,
//! and what is kept in memory has limits.

use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;

use archive::{ArchiveError, Compression, Decompressed, EntryKind, Incoming, Limits, TarReader};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use ids::{Digest, Hasher};
use image_core::layout::digest_of_path;
use tokio::sync::mpsc;

use crate::backend::{Backend, BlobWriter, Committed};
use crate::blobs::is_mismatch;
use crate::error::ImagesError;
use crate::lease::{Lease, random_hex};
use crate::recode::{ByteStream, incoming};

/// Pieces on their way, and their size.
const QUEUE: usize = 4;
const PIECE: usize = 256 << 10;
/// The most bytes of a file that is held, and of all of them.
const MAX_HELD: u64 = 64 << 10;
const MAX_HELD_BYTES: u64 = 8 << 20;
/// Members that are remembered, and bytes of all their names.
const MAX_MEMBERS: usize = 100_000;
const MAX_NAME_BYTES: usize = 16 << 20;
/// Links that lead to a member one behind the other.
const MAX_LINKS: usize = 16;

/// A file of the archive, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub digest: Digest,
    pub size: u64,
    pub compression: Compression,
    /// Its bytes, if they are not in the store.
    pub held: Option<Bytes>,
}

#[derive(Debug, PartialEq, Eq)]
enum Member {
    File(Stored),
    /// Of a link, the whole path that it leads to.
    Link(String),
}

/// All files of an archive by their cleaned paths; of two of one path the later one.
#[derive(Debug, Default)]
pub(crate) struct Members {
    by_path: BTreeMap<String, Member>,
    name_bytes: usize,
}

impl Members {
    /// The file at a path, behind any links.
    pub fn find(&self, path: &str) -> Option<&Stored> {
        let mut path = clean(path).ok()?;
        for _ in 0..MAX_LINKS {
            match self.by_path.get(&path)? {
                Member::File(stored) => return Some(stored),
                Member::Link(target) => path.clone_from(target),
            }
        }
        None
    }

    fn insert(&mut self, path: String, member: Member) -> Result<(), ImagesError> {
        let link = if let Member::Link(target) = &member { target.len() } else { 0 };
        self.name_bytes += path.len() + link;
        if self.by_path.len() >= MAX_MEMBERS {
            return Err(ArchiveError::Limit { what: "number of entries", limit: MAX_MEMBERS as u64 }.into());
        }
        if self.name_bytes > MAX_NAME_BYTES {
            return Err(ArchiveError::Limit { what: "size of all names", limit: MAX_NAME_BYTES as u64 }.into());
        }
        self.by_path.insert(path, member);
        Ok(())
    }
}

/// What the reading thread tells.
enum Event {
    File { path: String, size: u64 },
    Piece(Bytes),
    End { digest: Digest, compression: Compression },
    Link { path: String, target: String },
}

/// Stores every file of the archive under the lease. Names that nothing refers to in the end are collected with it.
pub(crate) async fn receive(backend: &Backend, lease: &Lease, mut source: ByteStream) -> Result<Members, ImagesError> {
    let (to_reader, received) = mpsc::channel(QUEUE);
    let (sent, mut events) = mpsc::channel(QUEUE);
    let reading = tokio::task::spawn_blocking(move || read(incoming(received), &sent));
    let feed = async move {
        while let Some(piece) = source.next().await {
            let broken = piece.is_err();
            // The thread ends early only with an error of its own, or when nobody takes what it reads.
            if to_reader.send(piece).await.is_err() || broken {
                break;
            }
        }
        Ok(())
    };
    let store = async {
        let mut members = Members::default();
        let mut storing =
            Storing { backend, lease, prefix: format!("load-{}", random_hex()), count: 0, held: 0, open: None };
        let stored = storing.all(&mut events, &mut members).await;
        if stored.is_err() {
            storing.give_up().await;
            // The reader finds nobody who takes its pieces.
            events.close();
        }
        stored.map(|()| (members, storing))
    };
    let stored = tokio::try_join!(feed, store).map(|((), stored)| stored);
    let read = reading.await.map_err(|error| ImagesError::Input(std::io::Error::other(error)))?;
    let (members, mut storing) = stored?;
    if let Err(error) = read {
        // A member that broke off is open still.
        storing.give_up().await;
        return Err(error.into());
    }
    Ok(members)
}

/// Files on their way into the store, one at a time.
struct Storing<'a> {
    backend: &'a Backend,
    lease: &'a Lease,
    prefix: String,
    count: usize,
    /// Bytes of all files that are held.
    held: u64,
    open: Option<Open>,
}

struct Open {
    path: String,
    size: u64,
    key: String,
    place: Place,
    /// Bytes that the store has of it already: a blob that another namespace has needs none.
    known: u64,
    expected: Option<Digest>,
}

/// Where the bytes of a file go.
enum Place {
    Store(BlobWriter),
    Memory(BytesMut),
    /// The blob is there already.
    Nowhere,
}

impl Storing<'_> {
    async fn all(&mut self, events: &mut mpsc::Receiver<Event>, members: &mut Members) -> Result<(), ImagesError> {
        while let Some(event) = events.recv().await {
            match event {
                Event::File { path, size } => self.begin(path, size).await?,
                Event::Piece(piece) => {
                    let Some(open) = &mut self.open else { continue };
                    match &mut open.place {
                        Place::Store(writer) => {
                            let known = usize::try_from(open.known).unwrap_or(usize::MAX).min(piece.len());
                            open.known -= known as u64;
                            writer.write(&piece[known..]).await?;
                        }
                        Place::Memory(bytes) => bytes.extend_from_slice(&piece),
                        Place::Nowhere => {}
                    }
                }
                Event::End { digest, compression } => {
                    if let Some((path, size, held)) = self.end(digest).await? {
                        members.insert(path, Member::File(Stored { digest, size, compression, held }))?;
                    }
                }
                Event::Link { path, target } => members.insert(path, Member::Link(target))?,
            }
        }
        Ok(())
    }

    async fn begin(&mut self, path: String, size: u64) -> Result<(), ImagesError> {
        self.count += 1;
        let key = format!("{}-{}", self.prefix, self.count);
        // A file that is named by its digest must have it.
        let expected = digest_of_path(&path);
        let place = if expected.is_none() && size <= MAX_HELD && self.held + size <= MAX_HELD_BYTES {
            self.held += size;
            Place::Memory(BytesMut::with_capacity(usize::try_from(size).unwrap_or(0)))
        } else {
            let opened = self.backend.write_blob_in_turn(&key, expected.map(|digest| (digest, size))).await?;
            opened.map_or(Place::Nowhere, Place::Store)
        };
        let known = if let Place::Store(writer) = &place { writer.offset() } else { 0 };
        self.open = Some(Open { path, size, key, place, known, expected });
        Ok(())
    }

    async fn end(&mut self, digest: Digest) -> Result<Option<(String, u64, Option<Bytes>)>, ImagesError> {
        let Some(Open { path, size, place, expected, key, .. }) = self.open.take() else { return Ok(None) };
        let committed = match place {
            Place::Memory(bytes) => return Ok(Some((path, size, Some(bytes.freeze())))),
            _ if expected.is_some_and(|expected| expected != digest) => Err(ImagesError::LayerDigest(digest)),
            Place::Store(writer) => writer.commit(HashMap::new()).await,
            Place::Nowhere => Ok(Committed::Existed),
        };
        let wrong = expected.unwrap_or(digest);
        match committed {
            Ok(Committed::New(_)) => {}
            Ok(Committed::Existed) => self.lease.keep(&digest).await?,
            Err(error) => {
                self.abort(&key).await;
                let mismatch = is_mismatch(&error) || matches!(error, ImagesError::LayerDigest(_));
                return Err(if mismatch { ImagesError::LayerDigest(wrong) } else { error });
            }
        }
        Ok(Some((path, size, None)))
    }

    async fn give_up(&mut self) {
        if let Some(open) = self.open.take() {
            let is_stored = matches!(open.place, Place::Store(_));
            drop(open.place);
            if is_stored {
                self.abort(&open.key).await;
            }
        }
    }

    async fn abort(&self, key: &str) {
        if let Err(error) = self.backend.abort_write(key).await {
            tracing::warn!(key, %error, "half a member not removed");
        }
    }
}

/// Runs on a thread that may block.
fn read(input: Incoming<Bytes>, events: &mpsc::Sender<Event>) -> Result<(), ArchiveError> {
    let plain = Decompressed::new(input, Limits::default().archive_bytes).map_err(ArchiveError::Read)?;
    let mut reader = TarReader::new(plain, Limits::default());
    while let Some(entry) = reader.next_entry()? {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let path = clean(&text(&entry.path)).map_err(|()| bad_path(&entry.path))?;
        let told = match &entry.kind {
            EntryKind::File => {
                send(events, Event::File { path, size: entry.size }).is_ok() && file(&mut reader, events)?
            }
            EntryKind::HardLink(target) => {
                let target = clean(&text(target)).map_err(|()| bad_path(target))?;
                send(events, Event::Link { path, target }).is_ok()
            }
            EntryKind::Symlink(target) => match beside(&path, &text(target)) {
                Ok(target) => send(events, Event::Link { path, target }).is_ok(),
                Err(()) => return Err(bad_path(target)),
            },
            // Nothing refers to a folder or a device.
            _ => true,
        };
        if !told {
            // Whoever takes the pieces has an error of its own.
            return Ok(());
        }
    }
    // To the end, so that a torn compressed archive is noticed.
    reader.drain()
}

/// One file in pieces; false if nobody takes them.
fn file<R: BufRead>(reader: &mut TarReader<R>, events: &mpsc::Sender<Event>) -> Result<bool, ArchiveError> {
    let mut hasher = Hasher::new();
    let mut start: Vec<u8> = Vec::with_capacity(Compression::MARK_BYTES);
    let sent = reader.content(|bytes| {
        let missing = Compression::MARK_BYTES - start.len();
        start.extend_from_slice(&bytes[..missing.min(bytes.len())]);
        hasher.update(bytes);
        bytes.chunks(PIECE).try_for_each(|piece| send(events, Event::Piece(Bytes::copy_from_slice(piece))))
    })?;
    let end = Event::End { digest: hasher.finish(), compression: Compression::detect(&start) };
    Ok(sent.and_then(|()| send(events, end)).is_ok())
}

fn send(events: &mpsc::Sender<Event>, event: Event) -> Result<(), ()> {
    events.blocking_send(event).map_err(drop)
}

fn bad_path(path: &[u8]) -> ArchiveError {
    ArchiveError::Path(String::from_utf8_lossy(path).into_owned().into())
}

/// A path without dots, double and leading slashes; an error if it leads out of the archive or has characters that no
/// name should have.
fn clean(path: &str) -> Result<String, ()> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop().ok_or(())?),
            part if part.chars().any(char::is_control) => return Err(()),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// Where a symbolic link at `path` leads.
fn beside(path: &str, target: &str) -> Result<String, ()> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    if target.starts_with('/') { clean(target) } else { clean(&format!("{folder}/{target}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(text: &str) -> Stored {
        Stored { digest: Digest::of(text), size: text.len() as u64, compression: Compression::None, held: None }
    }

    #[test]
    fn links_lead_to_files_inside_and_loops_to_none() {
        let mut members = Members::default();
        members.insert("a/layer.tar".into(), Member::File(stored("x"))).unwrap();
        members.insert("b/layer.tar".into(), Member::Link(beside("b/layer.tar", "../a/layer.tar").unwrap())).unwrap();
        members.insert("c".into(), Member::Link("d".into())).unwrap();
        members.insert("d".into(), Member::Link("c".into())).unwrap();
        assert_eq!(members.find("./b//layer.tar"), Some(&stored("x")));
        assert_eq!(members.find("c"), None);
        assert_eq!(members.find("nothing"), None);
    }

    #[test]
    fn no_name_leads_out_of_the_archive() {
        for bad in ["../x", "a/../../x", "/..", "a\nb"] {
            assert!(clean(bad).is_err(), "{bad:?}");
        }
        assert!(beside("a/b", "../../x").is_err());
        assert_eq!(clean("/./a//b/../c").unwrap(), "a/c");
        assert_eq!(beside("a/b", "/x").unwrap(), "x");
    }

    #[test]
    fn names_without_end_are_refused() {
        let mut members = Members::default();
        let long = "n".repeat(4096);
        let refused = (0..).find_map(|n| members.insert(format!("{n}{long}"), Member::File(stored(""))).err());
        assert!(refused.unwrap().to_string().contains("size of all names"), "the limit");
    }
}
