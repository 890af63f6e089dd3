//! Reads an archive member by member: ustar, PAX (POSIX.1-2001) and GNU long names, joined into [`Entry`].

use std::io::{self, BufRead, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::apply::write_all;
use crate::entry::{Entry, EntryKind};
use crate::error::ArchiveError;
use crate::header::{BLOCK, Header};
use crate::limits::{Limits, MAX_HEADER_CHAIN};
use crate::sparse::{Records, SparseMap, Step};

const XATTR: &[u8] = b"SCHILY.xattr.";
const SPARSE: &[u8] = b"GNU.sparse.";
/// What holes of sparse files read as, a piece at a time.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The members of an archive in order. Between two calls of [`TarReader::next_entry`] the content of the last one can be
/// taken with [`TarReader::content`]; what is left of it is skipped.
pub struct TarReader<R> {
    source: R,
    limits: Limits,
    /// Bytes of the current member's content not read yet, and of the padding behind it.
    content: u64,
    padding: u64,
    /// Where the current member's content belongs, if it has holes.
    sparse: Option<SparseMap>,
    /// Bytes of all sparse files with their holes.
    spread: u64,
    entries: u64,
    ended: bool,
}

/// A part of a file.
enum Piece<'a> {
    Bytes(&'a [u8]),
    /// So many zeros, which the archive does not have.
    Hole(u64),
}

/// What extended headers said about the member that follows.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: Records,
}

impl<R: BufRead> TarReader<R> {
    pub fn new(source: R, limits: Limits) -> Self {
        Self { source, limits, content: 0, padding: 0, sparse: None, spread: 0, entries: 0, ended: false }
    }

    /// The next member; `None` at the archive's end. An archive without its end blocks ends with its last member, as
    /// every tar accepts; one that breaks off within a member is an error.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut extended = Extended::default();
        for _ in 0..MAX_HEADER_CHAIN {
            self.skip_rest()?;
            let Some((header, block)) = self.next_header()? else { return Ok(None) };
            self.content = header.size;
            self.padding = padding(header.size);
            match header.flag {
                b'x' => {
                    let records = self.meta()?;
                    self.read_records(&records, &mut extended)?;
                }
                b'L' => extended.path = Some(self.meta_name()?),
                b'K' => extended.link = Some(self.meta_name()?),
                // A global header says nothing that a layer needs (git writes one with the commit).
                b'g' => drop(self.meta()?),
                b'S' => {
                    let limits = self.limits.clone();
                    let map = SparseMap::of_header(&block, &limits, || self.next_block())?;
                    return self.join_sparse(header, extended, map).map(Some);
                }
                _ if !extended.sparse.is_empty() => {
                    let map = self.map_of(&header, &mut extended)?;
                    return self.join_sparse(header, extended, map).map(Some);
                }
                _ => return self.join(header, extended).map(Some),
            }
        }
        Err(ArchiveError::Limit { what: "chain of extended headers", limit: MAX_HEADER_CHAIN as u64 })
    }

    /// The rest of the current member's content, in the pieces of the underlying buffer; holes as zeros.
    pub fn content<E>(&mut self, mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<Result<(), E>, ArchiveError> {
        self.pieces(|piece| match piece {
            Piece::Bytes(bytes) => take(bytes).map(|()| bytes.len() as u64),
            Piece::Hole(left) => {
                let zeros = &ZEROS[..ZEROS.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
                take(zeros).map(|()| zeros.len() as u64)
            }
        })
    }

    /// The same into a file that is empty yet, whose holes stay holes.
    pub(crate) fn content_to(&mut self, file: BorrowedFd<'_>) -> Result<Result<(), Errno>, ArchiveError> {
        let size = self.sparse.as_ref().map(|sparse| sparse.size);
        let written = self.pieces(|piece| match piece {
            Piece::Bytes(bytes) => write_all(file, bytes).map(|()| bytes.len() as u64),
            Piece::Hole(length) => {
                let by = i64::try_from(length).map_err(|_| Errno::FBIG)?;
                rustix::fs::seek(file, SeekFrom::Current(by)).map(|_| length)
            }
        })?;
        // A hole at the end is none until the file has its size.
        Ok(written.and_then(|()| size.map_or(Ok(()), |size| rustix::fs::ftruncate(file, size))))
    }

    /// What `take` says that it has taken of a piece is done; an error of it stops behind the piece.
    fn pieces<E>(&mut self, mut take: impl FnMut(Piece<'_>) -> Result<u64, E>) -> Result<Result<(), E>, ArchiveError> {
        while let Some(step) = self.step() {
            let (answer, length) = match step {
                Step::Zeros(left) => {
                    let answer = take(Piece::Hole(left));
                    let length = *answer.as_ref().unwrap_or(&left.min(ZEROS.len() as u64));
                    (answer, length)
                }
                Step::Stored(left) => {
                    let buffer = fill(&mut self.source)?;
                    if buffer.is_empty() {
                        return Err(ArchiveError::Truncated);
                    }
                    let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let answer = take(Piece::Bytes(&buffer[..length]));
                    self.source.consume(length);
                    self.content -= length as u64;
                    (answer, length as u64)
                }
            };
            if let Some(sparse) = &mut self.sparse {
                sparse.advance(length);
            }
            if let Err(error) = answer {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    fn step(&self) -> Option<Step> {
        match &self.sparse {
            Some(sparse) => sparse.step(),
            None => (self.content > 0).then_some(Step::Stored(self.content)),
        }
    }

    /// The same, as a reader.
    pub fn member(&mut self) -> Member<'_, R> {
        Member { reader: self, piece: Vec::new(), at: 0 }
    }

    /// Reads to the end of the source, so that a digest over it is complete.
    pub fn drain(&mut self) -> Result<(), ArchiveError> {
        loop {
            let length = fill(&mut self.source)?.len();
            if length == 0 {
                return Ok(());
            }
            self.source.consume(length);
        }
    }

    pub fn into_inner(self) -> R {
        self.source
    }

    fn next_header(&mut self) -> Result<Option<(Header, [u8; BLOCK])>, ArchiveError> {
        if self.ended {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        let header = if self.read_block(&mut block)? { Header::parse(&block)? } else { None };
        if header.is_none() {
            self.ended = true;
        }
        Ok(header.map(|header| (header, block)))
    }

    /// A block that has to be there.
    fn next_block(&mut self) -> Result<[u8; BLOCK], ArchiveError> {
        let mut block = [0; BLOCK];
        if self.read_block(&mut block)? { Ok(block) } else { Err(ArchiveError::Truncated) }
    }

    /// False at a clean end of the source.
    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, ArchiveError> {
        if fill(&mut self.source)?.is_empty() {
            return Ok(false);
        }
        self.source.read_exact(block).map_err(broken)?;
        Ok(true)
    }

    fn skip_rest(&mut self) -> Result<(), ArchiveError> {
        let mut left = self.content + self.padding;
        while left > 0 {
            let length = fill(&mut self.source)?.len();
            if length == 0 {
                // Only padding may be missing: some writers leave out the last block's.
                return if left <= self.padding { self.forget() } else { Err(ArchiveError::Truncated) };
            }
            let length = length.min(usize::try_from(left).unwrap_or(usize::MAX));
            self.source.consume(length);
            left -= length as u64;
        }
        self.forget()
    }

    fn forget(&mut self) -> Result<(), ArchiveError> {
        self.content = 0;
        self.padding = 0;
        self.sparse = None;
        Ok(())
    }

    /// The content of an extended header.
    fn meta(&mut self) -> Result<Vec<u8>, ArchiveError> {
        let limit = self.limits.header_bytes as u64;
        if self.content > limit {
            return Err(ArchiveError::Limit { what: "extended header", limit });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(self.content).unwrap_or(0));
        let Ok(()) = self.content(|piece| {
            bytes.extend_from_slice(piece);
            Ok::<(), std::convert::Infallible>(())
        })?;
        Ok(bytes)
    }

    fn meta_name(&mut self) -> Result<Vec<u8>, ArchiveError> {
        let mut bytes = self.meta()?;
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        bytes.truncate(end);
        Ok(bytes)
    }

    /// `LENGTH KEY=VALUE\n`, the length counting all of itself.
    fn read_records(&self, mut records: &[u8], extended: &mut Extended) -> Result<(), ArchiveError> {
        const BAD: ArchiveError = ArchiveError::Malformed("invalid PAX record");
        while !records.is_empty() {
            let blank = records.iter().take(8).position(|b| *b == b' ').ok_or(BAD)?;
            let length = usize::try_from(decimal(&records[..blank]).ok_or(BAD)?).map_err(|_| BAD)?;
            if length <= blank + 1 || length > records.len() || records[length - 1] != b'\n' {
                return Err(BAD);
            }
            let record = &records[blank + 1..length - 1];
            let equals = record.iter().position(|b| *b == b'=').ok_or(BAD)?;
            self.read_record(&record[..equals], &record[equals + 1..], extended)?;
            records = &records[length..];
        }
        Ok(())
    }

    fn read_record(&self, key: &[u8], value: &[u8], extended: &mut Extended) -> Result<(), ArchiveError> {
        const BAD: ArchiveError = ArchiveError::Malformed("invalid PAX value");
        match key {
            b"path" => extended.path = Some(value.to_vec()).filter(|v| !v.is_empty()),
            b"linkpath" => extended.link = Some(value.to_vec()).filter(|v| !v.is_empty()),
            b"size" => extended.size = Some(decimal(value).ok_or(BAD)?),
            b"uid" => extended.uid = Some(decimal(value).ok_or(BAD)?),
            b"gid" => extended.gid = Some(decimal(value).ok_or(BAD)?),
            b"mtime" => extended.mtime = Some(time(value).ok_or(BAD)?),
            _ if key.starts_with(SPARSE) => extended.sparse.read(&key[SPARSE.len()..], value)?,
            _ if key.starts_with(XATTR) => {
                let name = &key[XATTR.len()..];
                let limit = self.limits.xattr_bytes;
                let used: usize = extended.xattrs.iter().map(|(n, v)| n.len() + v.len()).sum();
                if name.is_empty() || name.len() > 255 || name.contains(&0) {
                    return Err(ArchiveError::Malformed("invalid extended attribute"));
                }
                if used + name.len() + value.len() > limit {
                    return Err(ArchiveError::Limit { what: "extended attributes", limit: limit as u64 });
                }
                extended.xattrs.push((name.to_vec(), value.to_vec()));
            }
            _ => {}
        }
        Ok(())
    }

    /// The map of a file whose PAX records tell of holes; in version 1 it is the first of the content.
    fn map_of(&mut self, header: &Header, extended: &mut Extended) -> Result<SparseMap, ArchiveError> {
        let records = std::mem::take(&mut extended.sparse);
        if let Some(name) = &records.name {
            extended.path = Some(name.clone());
        }
        if records.major == 0 {
            return records.map();
        }
        let mut stored = extended.size.unwrap_or(header.size);
        let (mut text, mut lines) = (Vec::new(), 0);
        loop {
            if text.len() >= self.limits.header_bytes {
                return Err(ArchiveError::Limit {
                    what: "map of a sparse file",
                    limit: self.limits.header_bytes as u64,
                });
            }
            stored = stored.checked_sub(BLOCK as u64).ok_or(ArchiveError::Malformed("invalid map of a sparse file"))?;
            let block = self.next_block()?;
            lines += block.iter().filter(|b| **b == b'\n').count() as u64;
            text.extend_from_slice(&block);
            if let Some(wanted) = Records::lines(&text)?
                && lines >= wanted
            {
                extended.size = Some(stored);
                return records.map_of_lines(&text, wanted);
            }
        }
    }

    fn join_sparse(&mut self, header: Header, extended: Extended, map: SparseMap) -> Result<Entry, ArchiveError> {
        let mut entry = self.join(Header { flag: b'0', ..header }, extended)?;
        if entry.kind != EntryKind::File || map.stored() != self.content {
            return Err(ArchiveError::Malformed("invalid map of a sparse file"));
        }
        // Holes cost an archive nothing, and who unpacks it as much as bytes do.
        self.spread = self.spread.saturating_add(map.size);
        if self.spread > self.limits.sparse_bytes {
            return Err(ArchiveError::Limit { what: "size of sparse files", limit: self.limits.sparse_bytes });
        }
        entry.size = map.size;
        self.sparse = Some(map);
        Ok(entry)
    }

    fn join(&mut self, header: Header, extended: Extended) -> Result<Entry, ArchiveError> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(ArchiveError::Limit { what: "number of entries", limit: self.limits.entries });
        }
        let path = extended.path.unwrap_or(header.name);
        let link = extended.link.unwrap_or(header.link);
        for bytes in [&path, &link] {
            if bytes.len() > self.limits.path_bytes {
                return Err(ArchiveError::Limit { what: "length of a path", limit: self.limits.path_bytes as u64 });
            }
            if bytes.contains(&0) {
                return Err(ArchiveError::Path(shown(bytes)));
            }
        }
        let kind = kind_of(header.flag, &path, link, header.device)?;
        let size = extended.size.unwrap_or(header.size);
        let has_content = kind == EntryKind::File;
        // A size in the header of something without content is not followed by content (as in Go's archive/tar), but for
        // directories and links of the oldest writers, where it is 0.
        self.content = if has_content { size } else { 0 };
        self.padding = if has_content { padding(size) } else { 0 };
        Ok(Entry {
            path,
            kind,
            mode: header.mode,
            uid: id(extended.uid.unwrap_or(header.uid))?,
            gid: id(extended.gid.unwrap_or(header.gid))?,
            size: self.content,
            mtime: extended.mtime.unwrap_or((header.mtime, 0)),
            xattrs: extended.xattrs,
        })
    }
}

fn kind_of(flag: u8, path: &[u8], link: Vec<u8>, device: (u32, u32)) -> Result<EntryKind, ArchiveError> {
    let (major, minor) = device;
    Ok(match flag {
        // The oldest tars mark a directory by its slash only.
        b'0' | 0 | b'7' if path.ends_with(b"/") => EntryKind::Directory,
        b'0' | 0 | b'7' => EntryKind::File,
        b'1' => EntryKind::HardLink(link),
        b'2' => EntryKind::Symlink(link),
        b'3' => EntryKind::Character { major, minor },
        b'4' => EntryKind::Block { major, minor },
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        other => return Err(ArchiveError::Unsupported { kind: char::from(other), path: shown(path) }),
    })
}

pub(crate) fn shown(path: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(path.to_vec()))
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn id(value: u64) -> Result<u32, ArchiveError> {
    // -1 means "leave as it is" to chown(2), so it is no owner.
    u32::try_from(value).ok().filter(|v| *v != u32::MAX).ok_or(ArchiveError::Malformed("user or group id out of range"))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Sizes beyond i64 cannot be files (off_t), and sums of them would overflow.
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|v| *v <= i64::MAX as u64 - BLOCK as u64)
}

/// `1700000000.123456789`, the fraction of any length, the whole perhaps negative.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nine: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanos: u32 = nine.parse().ok()?;
    // POSIX: the fraction goes towards zero, the kernel counts it upwards.
    if whole.starts_with('-') && nanos > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos));
    }
    Some((seconds, nanos))
}

fn fill<R: BufRead>(source: &mut R) -> Result<&[u8], ArchiveError> {
    // The borrow checker does not see that the loop ends with the borrow: fill twice, the second is free.
    loop {
        match source.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(error)),
        }
    }
    source.fill_buf().map_err(broken)
}

fn broken(error: io::Error) -> ArchiveError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ArchiveError::Truncated,
        _ => ArchiveError::Read(error),
    }
}

/// What the current member of an archive has.
pub struct Member<'a, R> {
    reader: &'a mut TarReader<R>,
    piece: Vec<u8>,
    at: usize,
}

impl<R: BufRead> Read for Member<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            self.piece.clear();
            self.at = 0;
            // One piece at a time: the error stops the reader, which has taken the piece.
            let taken = self.reader.content(|piece| {
                self.piece.extend_from_slice(piece);
                Err(())
            });
            // Either it was stopped, or there is nothing more.
            let _ = taken.map_err(|error| io::Error::other(errors::chain(&error)))?;
        }
        let length = buffer.len().min(self.piece.len() - self.at);
        buffer[..length].copy_from_slice(&self.piece[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}
