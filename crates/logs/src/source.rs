//! One file of a log being read: as it is, or inflated on the way.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use crate::Timestamp;
use crate::compress::{Inflating, last_entry};
use crate::format::{BLOCK, Format, Frame};
use crate::names::{compressed, rotated};
use crate::turning;

/// Files of one log that are looked for.
const MAX_FILES: u32 = 1000;
/// Numbers in a row that nothing has before a look ends: each rotation under way leaves one out, and so does a kill in one.
const MAX_MISSING: u32 = 4;
/// How often files are looked for anew because a rotation came in between: for about a second. The pause before doubles up
/// to the longest, so that a burst of output is over before a look gives up.
const ATTEMPTS: u32 = 300;
const PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_micros(3_200);

/// Bytes that tell two files of one log apart.
const BEGINNING: usize = 4096;

/// How often a log is found to have no file at all before it is taken to have none.
const MOST_EMPTY: u32 = 50;

#[derive(Debug)]
pub(crate) struct Source {
    content: Content,
    /// Nothing else has it while this is open.
    inode: u64,
    /// Behind what was read.
    pub offset: u64,
    /// Nothing beyond is read: what is written during a reading that does not follow is not part of it.
    pub limit: u64,
    /// Messages to pass over first.
    pub skipped: u64,
    /// Inside a line that is too long.
    pub skipping: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Likeness {
    Same,
    Other,
    Unclear,
}

#[derive(Debug)]
enum Content {
    Plain(File),
    Compressed(Box<Inflating>),
}

impl Source {
    fn new(content: Content, inode: u64, limit: u64) -> Self {
        Self { content, inode, offset: 0, limit, skipped: 0, skipping: false }
    }

    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        Ok(Self::new(Content::Plain(file), metadata.ino(), metadata.len()))
    }

    fn is_plain(&self) -> bool {
        matches!(self.content, Content::Plain(_))
    }

    /// A rotated file, compressed or not. It gets its compressed name before it loses the other.
    fn open_rotated(path: &Path, number: u32) -> io::Result<Self> {
        match Self::open(&rotated(path, number)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let file = File::open(compressed(path, number))?;
                let inode = file.metadata()?.ino();
                Ok(Self::new(Content::Compressed(Box::new(Inflating::new(file))), inode, u64::MAX))
            }
            other => other,
        }
    }

    /// Whether another source, opened while this one is open, is the same file, or what it has been compressed to.
    fn is_same(&self, other: &Self, format: Format) -> Likeness {
        let (Content::Plain(file), Content::Compressed(inflating)) = (&self.content, &other.content) else {
            return if self.inode == other.inode { Likeness::Same } else { Likeness::Other };
        };
        // The number of a file that was compressed is free again, and a newer file may have it, which begins or ends
        // otherwise: lines that were printed at once have one time.
        let is_alike = inflating.extra.inode == self.inode
            && last_entry(file, format).is_ok_and(|last| last.map(|last| last.time) == inflating.last_time())
            && begin_alike(file, inflating).unwrap_or(false);
        match (is_alike, self.has_no_name()) {
            (false, _) => Likeness::Other,
            (true, true) => Likeness::Same,
            // About to lose its name to what it was compressed to; or one that ends in the same moment as another did.
            (true, false) => Likeness::Unclear,
        }
    }

    /// Whether it is older than the oldest that is kept, or was compressed since.
    fn has_no_name(&self) -> bool {
        let metadata = match &self.content {
            Content::Plain(file) => file.metadata(),
            Content::Compressed(inflating) => inflating.metadata(),
        };
        metadata.is_ok_and(|metadata| metadata.nlink() == 0)
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
    fn seek_to_tail(&mut self, format: Format, wanted: u64) -> io::Result<u64> {
        if let Content::Plain(file) = &self.content {
            let (offset, count) = format.tail_offset(file, self.limit, wanted)?;
            self.offset = offset;
            return Ok(count);
        }
        // Counted in a first reading, passed over in the second.
        let count = self.count(format)?;
        if let Content::Compressed(inflating) = &mut self.content {
            inflating.restart()?;
        }
        self.offset = 0;
        self.skipped = count - wanted.min(count);
        Ok(wanted.min(count))
    }

    /// Reads to the end; how many whole messages there were.
    fn count(&mut self, format: Format) -> io::Result<u64> {
        let (mut block, mut count) = (Vec::new(), 0);
        loop {
            let filled = block.len();
            self.read(&mut block)?;
            if block.len() == filled {
                return Ok(count);
            }
            let mut at = 0;
            while let Frame::Whole { end, .. } = format.frame(&block[at..]) {
                at += end;
                count += 1;
            }
            block.drain(..at);
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

/// Whether what a file begins with is what a compressed one does.
fn begin_alike(file: &File, inflating: &Inflating) -> io::Result<bool> {
    let mut plain = [0; BEGINNING];
    let length = file.read_at(&mut plain, 0)?;
    Ok(plain[..length] == inflating.beginning(BEGINNING)?)
}

/// All files of the log, oldest first.
pub(crate) fn open_all(path: &Path, format: Format) -> io::Result<VecDeque<Source>> {
    for _ in 0..MOST_EMPTY {
        let files = open_behind(path, format, None)?;
        // A log of one file has none for a moment when it turns.
        if !files.is_empty() {
            return Ok(files);
        }
        std::thread::sleep(PAUSE);
    }
    Err(ErrorKind::NotFound.into())
}

/// The files that are newer than one that is held open, oldest first.
pub(crate) fn open_behind(path: &Path, format: Format, known: Option<&Source>) -> io::Result<VecDeque<Source>> {
    let still = turning::keep_still(path);
    let first = look(path, format, known)?;
    drop(still);
    if !first.is_disturbed {
        return Ok(first.files);
    }
    // The writer could not wait, or does not know of the lock.
    let mut pause = PAUSE;
    for _ in 2..ATTEMPTS {
        std::thread::sleep(pause);
        pause = LONGEST_PAUSE.min(pause * 2);
        let look = look(path, format, known)?;
        if !look.is_disturbed {
            return Ok(look.files);
        }
    }
    let Look { mut files, is_disturbed } = look(path, format, known)?;
    if is_disturbed && known.is_none() {
        // The log turns faster than it can be opened: its newest file is a whole end of it, too.
        files.drain(..files.len().saturating_sub(1));
    }
    Ok(files)
}

struct Look {
    /// A whole end of the log, unless the look was disturbed.
    files: VecDeque<Source>,
    /// A file lost its name beside a rotation, so that some may be missing; or two files could not be told apart.
    is_disturbed: bool,
}

/// A rotation gives each file the next number, and a look, newest first, goes on to the next: a file that moves meanwhile
/// lies ahead still, and is not missed. But what is found may be newer than what was: then that is met again behind it.
fn look(path: &Path, format: Format, known: Option<&Source>) -> io::Result<Look> {
    let mut look = Look { files: VecDeque::new(), is_disturbed: false };
    let mut missing = 0;
    for number in 0..MAX_FILES {
        let opened = if number == 0 { Source::open(path) } else { Source::open_rotated(path, number) };
        let source = match opened {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                missing += 1;
                if missing == MAX_MISSING {
                    break;
                }
                continue;
            }
            other => other?,
        };
        missing = 0;
        let mut is_met = |file: &Source| {
            let likeness = file.is_same(&source, format);
            look.is_disturbed |= likeness == Likeness::Unclear;
            likeness == Likeness::Same
        };
        if known.is_some_and(&mut is_met) {
            break;
        }
        if let Some(met) = look.files.iter().position(is_met) {
            look.files.drain(..met);
        } else if look.files.front().is_some_and(Source::has_no_name) {
            look.is_disturbed = true;
            break;
        } else {
            look.files.push_front(source);
        }
    }
    let is_newest = |newest: &Source| Source::open(path).is_ok_and(|now| now.inode == newest.inode);
    if !look.files.back().is_some_and(is_newest) {
        look.is_disturbed |= look.files.iter().any(Source::has_no_name);
    }
    Ok(look)
}

/// Drops and forwards files so that `wanted` whole messages are left, looking at the files from their ends.
pub(crate) fn seek_to_tail(files: &mut VecDeque<Source>, format: Format, wanted: u64) -> io::Result<()> {
    let mut left = wanted;
    for index in (0..files.len()).rev() {
        left -= files[index].seek_to_tail(format, left)?;
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
