//! One file of a log being read: as it is, or inflated on the way.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use crate::Timestamp;
use crate::compress::Inflating;
use crate::format::{BLOCK, Format};
use crate::names::{compressed, rotated};

/// Files of one log that are looked for.
const MAX_FILES: u32 = 1000;
/// How often the files are opened anew because a rotation came in between, and the pause before.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_micros(200);

#[derive(Debug)]
pub(crate) struct Source {
    content: Content,
    /// Of the file as it was written, even if it has been compressed since. A number that is free is taken again: it tells
    /// a file that somebody holds open from what is newer, no more.
    pub inode: u64,
    /// Of the file that is read: another one once it is compressed.
    on_disk: u64,
    /// Behind what was read.
    pub offset: u64,
    /// Nothing beyond is read: what is written during a reading that does not follow is not part of it.
    pub limit: u64,
    /// Messages to pass over first.
    pub skipped: u64,
    /// Inside a line that is too long.
    pub skipping: bool,
}

#[derive(Debug)]
enum Content {
    Plain(File),
    Compressed(Box<Inflating>),
}

impl Source {
    fn new(content: Content, inode: u64, on_disk: u64, limit: u64) -> Self {
        Self { content, inode, on_disk, offset: 0, limit, skipped: 0, skipping: false }
    }

    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        Ok(Self::new(Content::Plain(file), metadata.ino(), metadata.ino(), metadata.len()))
    }

    fn is_plain(&self) -> bool {
        matches!(self.content, Content::Plain(_))
    }

    /// A rotated file, compressed or not. It gets its compressed name before it loses the other.
    fn open_rotated(path: &Path, number: u32) -> io::Result<Self> {
        match Self::open(&rotated(path, number)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let file = File::open(compressed(path, number))?;
                let on_disk = file.metadata()?.ino();
                let inflating = Box::new(Inflating::new(file));
                let inode = inflating.extra.inode;
                Ok(Self::new(Content::Compressed(inflating), inode, on_disk, u64::MAX))
            }
            other => other,
        }
    }

    /// Appends the next block to `block`; nothing at the end.
    pub fn read(&mut self, block: &mut Vec<u8>) -> io::Result<()> {
        let filled = block.len();
        let wanted = (BLOCK as u64).min(self.limit.saturating_sub(self.offset)) as usize;
        block.resize(filled + wanted, 0);
        let count = loop {
            let read = match &mut self.content {
                Content::Plain(file) => file.read_at(&mut block[filled..], self.offset),
                Content::Compressed(inflating) => inflating.read(&mut block[filled..]),
            };
            match read {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        block.truncate(filled + *count.as_ref().unwrap_or(&0));
        self.offset += count? as u64;
        Ok(())
    }

    /// Reads the last bytes again with the next block.
    pub fn unread(&mut self, count: usize) {
        if self.is_plain() {
            self.offset -= count as u64;
        }
    }

    /// Moves forward so that `wanted` whole messages are left, or all if there are fewer; how many there are.
    fn seek_to_tail(&mut self, path: &Path, number: u32, format: Format, wanted: u64) -> io::Result<u64> {
        match &self.content {
            Content::Plain(file) => {
                let (offset, count) = format.tail_offset(file, self.limit, wanted)?;
                self.offset = offset;
                Ok(count)
            }
            Content::Compressed(_) => {
                // Counted in a first reading, passed over in the second.
                let mut counting = Self::open_rotated(path, number)?;
                let (mut block, mut count) = (Vec::new(), 0);
                loop {
                    let filled = block.len();
                    counting.read(&mut block)?;
                    if block.len() == filled {
                        break;
                    }
                    let mut at = 0;
                    while let crate::format::Frame::Whole { end, .. } = format.frame(&block[at..]) {
                        at += end;
                        count += 1;
                    }
                    block.drain(..at);
                }
                self.skipped = count - wanted.min(count);
                Ok(wanted.min(count))
            }
        }
    }

    /// Whether everything in it was written before that time.
    fn is_older(&self, since: Timestamp) -> bool {
        match &self.content {
            Content::Plain(file) => file.metadata().is_ok_and(|metadata| metadata.mtime() + 1 < since.seconds),
            Content::Compressed(inflating) => inflating.last_time().is_some_and(|last| last < since),
        }
    }

    fn seek_before(&mut self, format: Format, since: Timestamp) -> io::Result<()> {
        if let Content::Plain(file) = &self.content {
            self.offset = format.offset_before(file, self.limit, since)?;
        }
        Ok(())
    }
}

/// All files of the log, oldest first.
pub(crate) fn open_all(path: &Path) -> io::Result<VecDeque<Source>> {
    let files = open_behind(path, None)?;
    if files.is_empty() { Err(ErrorKind::NotFound.into()) } else { Ok(files) }
}

/// The files that are newer than one that is held open, oldest first.
pub(crate) fn open_newer(path: &Path, current: Option<u64>) -> io::Result<VecDeque<Source>> {
    open_behind(path, current)
}

/// A rotation goes from the oldest name to the newest, a look the other way: where they meet, a file may be seen twice, or
/// not at all. So the names are looked at until two looks agree, none is missing, and the newest is still the newest.
fn open_behind(path: &Path, known: Option<u64>) -> io::Result<VecDeque<Source>> {
    let (mut files, _) = open_once(path, known)?;
    for _ in 0..ATTEMPTS {
        let before: Vec<u64> = files.iter().map(|file| file.on_disk).collect();
        let (looked, is_complete) = open_once(path, known)?;
        files = looked;
        let newest = files.back().map(|newest| newest.inode).or(known);
        let is_newest = || Source::open(path).ok().map(|now| now.inode) == newest;
        if is_complete && files.iter().map(|file| file.on_disk).eq(before) && is_newest() {
            return Ok(files);
        }
        std::thread::sleep(PAUSE);
    }
    // A kill in the middle of a rotation left a number out, or the log turns faster than it can be opened.
    Ok(files)
}

/// Newest first, up to the file that is known. False with the files if a number was missing before the last.
fn open_once(path: &Path, known: Option<u64>) -> io::Result<(VecDeque<Source>, bool)> {
    let mut files: VecDeque<Source> = VecDeque::new();
    let (mut is_missing, mut is_complete, mut is_known) = (false, true, known.is_none());
    for number in 0..MAX_FILES {
        let opened = if number == 0 { Source::open(path) } else { Source::open_rotated(path, number) };
        match opened {
            Ok(source) => {
                is_complete &= !is_missing;
                if Some(source.inode) == known {
                    is_known = true;
                    break;
                }
                files.push_front(source);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if std::mem::replace(&mut is_missing, true) {
                    break;
                }
            }
            Err(error) => return Err(error),
        }
    }
    // The file that is known may be gone for good, too: then every look says so.
    Ok((files, is_complete && is_known))
}

/// Drops and forwards files so that `wanted` whole messages are left, looking at the files from their ends.
pub(crate) fn seek_to_tail(files: &mut VecDeque<Source>, path: &Path, format: Format, wanted: u64) -> io::Result<()> {
    let mut left = wanted;
    for index in (0..files.len()).rev() {
        let number = (files.len() - 1 - index) as u32;
        left -= files[index].seek_to_tail(path, number, format, left)?;
        if left == 0 {
            files.drain(..index);
            break;
        }
    }
    Ok(())
}

/// Drops and forwards files so that not everything that is older than `since` has to be read.
pub(crate) fn seek_to_time(files: &mut VecDeque<Source>, format: Format, since: Timestamp) -> io::Result<()> {
    while files.len() > 1 && files[0].is_older(since) {
        files.pop_front();
    }
    match files.front_mut() {
        // Behind a tail nothing is to be found before it.
        Some(first) if first.offset == 0 => first.seek_before(format, since),
        _ => Ok(()),
    }
}
