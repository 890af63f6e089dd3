//! Reads a log from its oldest file on, or from its last lines, and follows it across rotation.

use super::decode::decode;
use super::rotated;
use crate::{Entry, Timestamp};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Bytes read in one go.
const BLOCK: usize = 64 << 10;
/// No line is longer; what is, is skipped.
const MAX_LINE: usize = 1 << 20;
/// Files of one log that are looked for.
const MAX_FILES: u32 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// Only the last so many entries of what is there; `None` all.
    pub tail: Option<u64>,
    /// Nothing older.
    pub since: Option<Timestamp>,
    /// Nothing newer; the first newer entry ends the reading.
    pub until: Option<Timestamp>,
    /// Go on with what is written later.
    pub follow: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot open the log {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot read the log {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot watch the folder of the log {path}")]
    Watch { path: PathBuf, source: io::Error },
}

impl errors::Kind for ReadError {
    fn kind(&self) -> errors::ErrorKind {
        match self {
            Self::Open { source, .. } if source.kind() == ErrorKind::NotFound => errors::ErrorKind::NotFound,
            Self::Watch { .. } => errors::ErrorKind::ResourceExhausted,
            _ => errors::ErrorKind::Internal,
        }
    }
}

/// A reading of one log. Never waits.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    options: ReadOptions,
    /// The file being read first, newer ones behind it.
    files: VecDeque<Source>,
    block: Vec<u8>,
    /// Where the unread rest of the block begins.
    start: usize,
    watch: Option<OwnedFd>,
    ended: bool,
}

#[derive(Debug)]
struct Source {
    file: File,
    inode: (u64, u64),
    /// Where the block ends in the file.
    offset: u64,
    /// Nothing beyond is read: what is written during a reading that does not follow is not part of it.
    limit: u64,
    /// Inside a line that is too long.
    skipping: bool,
}

impl Reader {
    pub fn open(path: &Path, options: ReadOptions) -> Result<Self, ReadError> {
        let read_error = |source| ReadError::Read { path: path.to_owned(), source };
        // The watch comes first, so that nothing falls between the files' ends and the first event.
        let watch = options.follow.then(|| watch(path)).transpose()?;
        let mut files = open_all(path).map_err(|source| ReadError::Open { path: path.to_owned(), source })?;
        if let Some(tail) = options.tail {
            seek_to_tail(&mut files, tail).map_err(read_error)?;
        }
        if let Some(since) = options.since {
            // A file that was last written before that time has nothing newer.
            while files.len() > 1 && files[0].file.metadata().is_ok_and(|m| m.mtime() + 1 < since.seconds) {
                files.pop_front();
            }
        }
        if options.follow
            && let Some(newest) = files.back_mut()
        {
            newest.limit = u64::MAX;
        }
        Ok(Self { path: path.to_owned(), options, files, block: Vec::new(), start: 0, watch, ended: false })
    }

    /// The next entry. `None` means the end, or, following, that nothing more is there yet: wait until
    /// [`watch_fd`](Self::watch_fd) is readable and ask again.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ReadError> {
        while !self.ended {
            let Some(line) = self.next_line()? else { return Ok(None) };
            let Some(entry) = decode(&self.block[line]) else { continue };
            if self.options.since.is_some_and(|since| entry.time < since) {
                continue;
            }
            if self.options.until.is_some_and(|until| entry.time > until) {
                self.ended = true;
                break;
            }
            return Ok(Some(entry));
        }
        Ok(None)
    }

    /// Whether an entry newer than `until` was met: nothing more will come, even following.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Readable when the log has changed. `None` unless following.
    pub fn watch_fd(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// The range of the next whole line in the block.
    fn next_line(&mut self) -> Result<Option<std::ops::Range<usize>>, ReadError> {
        let mut woken = false;
        loop {
            if let Some(length) = self.block[self.start..].iter().position(|&byte| byte == b'\n') {
                let line = self.start..self.start + length;
                self.start = line.end + 1;
                if self.files.front_mut().is_some_and(|file| std::mem::take(&mut file.skipping)) {
                    continue;
                }
                return Ok(Some(line));
            }
            if self.fill().map_err(|source| ReadError::Read { path: self.path.clone(), source })? {
                continue;
            }
            self.rewind();
            if self.files.len() > 1 {
                self.files.pop_front();
                self.reset_block();
                continue;
            }
            if self.watch.is_none() {
                return Ok(None);
            }
            // Events are dropped before the last look, not after it: a write in between wakes the caller.
            if !woken {
                woken = true;
                self.drop_events();
                continue;
            }
            if !self.find_newer().map_err(|source| ReadError::Read { path: self.path.clone(), source })? {
                return Ok(None);
            }
            woken = false;
        }
    }

    /// Reads on behind the block; false at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        let Some(source) = self.files.front_mut() else { return Ok(false) };
        self.block.drain(..self.start);
        self.start = 0;
        if self.block.len() > MAX_LINE {
            self.block.clear();
            source.skipping = true;
        }
        let filled = self.block.len();
        let wanted = (BLOCK as u64).min(source.limit.saturating_sub(source.offset)) as usize;
        self.block.resize(filled + wanted, 0);
        let read = loop {
            match source.file.read_at(&mut self.block[filled..], source.offset) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.block.truncate(filled + *read.as_ref().unwrap_or(&0));
        source.offset += read? as u64;
        Ok(self.block.len() > filled)
    }

    /// Forgets an unfinished line: it is read again from its beginning, since a repair may have replaced it.
    fn rewind(&mut self) {
        if let Some(source) = self.files.front_mut() {
            source.offset -= (self.block.len() - self.start) as u64;
        }
        self.reset_block();
    }

    fn reset_block(&mut self) {
        self.block.clear();
        self.start = 0;
    }

    fn drop_events(&self) {
        let Some(watch) = &self.watch else { return };
        let mut events = [0u8; 4096];
        loop {
            match rustix::io::read(watch, &mut events) {
                Ok(0) | Err(Errno::AGAIN) => return,
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// After a rotation: queues the files that are newer than the one that was read to its end.
    fn find_newer(&mut self) -> io::Result<bool> {
        let current = self.files.front().map(|source| source.inode);
        let mut newer = VecDeque::new();
        for number in 0..MAX_FILES {
            let path = if number == 0 { self.path.clone() } else { rotated(&self.path, number) };
            match Source::open(&path) {
                Ok(source) if Some(source.inode) == current => break,
                Ok(source) => newer.push_front(source),
                // Between two renames of a rotation the current file is missing; its creation is the next event.
                Err(error) if error.kind() == ErrorKind::NotFound && number == 0 => return Ok(false),
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            }
        }
        if let Some(newest) = newer.back_mut() {
            newest.limit = u64::MAX;
        }
        let found = !newer.is_empty();
        self.files.extend(newer);
        if found {
            // What was written to the old file before it was rotated away is read first: the loop comes back to it.
            if let Some(old) = self.files.front_mut() {
                old.limit = u64::MAX;
            }
        }
        Ok(found)
    }
}

impl Source {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let inode = (metadata.dev(), metadata.ino());
        Ok(Self { file, inode, offset: 0, limit: metadata.len(), skipping: false })
    }
}

/// All files of the log, oldest first. Opened newest first: a rotation meanwhile shows one file twice, never none.
fn open_all(path: &Path) -> io::Result<VecDeque<Source>> {
    let mut files: VecDeque<Source> = VecDeque::new();
    files.push_front(Source::open(path)?);
    for number in 1..MAX_FILES {
        match Source::open(&rotated(path, number)) {
            Ok(source) if files.iter().any(|file| file.inode == source.inode) => {}
            Ok(source) => files.push_front(source),
            Err(error) if error.kind() == ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// Drops and forwards files so that `wanted` whole lines are left, looking at the files from their ends.
fn seek_to_tail(files: &mut VecDeque<Source>, wanted: u64) -> io::Result<()> {
    let mut left = wanted;
    for index in (0..files.len()).rev() {
        let (offset, lines) = tail_offset(&files[index].file, files[index].limit, left)?;
        files[index].offset = offset;
        left -= lines;
        if left == 0 {
            files.drain(..index);
            break;
        }
    }
    Ok(())
}

/// Where the last `wanted` whole lines of a file begin, and how many there are.
fn tail_offset(file: &File, size: u64, wanted: u64) -> io::Result<(u64, u64)> {
    let mut block = vec![0; BLOCK];
    let (mut ends, mut position, mut last_end) = (0, size, 0);
    while position > 0 {
        let length = (BLOCK as u64).min(position) as usize;
        position -= length as u64;
        file.read_exact_at(&mut block[..length], position)?;
        for at in (0..length).rev().filter(|&at| block[at] == b'\n') {
            ends += 1;
            last_end = last_end.max(position + at as u64 + 1);
            // The end before the first wanted line: one more than there are wanted lines.
            if ends > wanted {
                return Ok((position + at as u64 + 1, wanted));
            }
        }
    }
    Ok((0, ends))
}

fn watch(path: &Path) -> Result<OwnedFd, ReadError> {
    let failed = |errno: Errno| ReadError::Watch { path: path.to_owned(), source: errno.into() };
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(failed)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let events = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
    inotify::add_watch(&watch, folder, events).map_err(failed)?;
    Ok(watch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Stream, Writer, WriterConfig};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds: 4_000_000_000 + seconds, nanos: 0 }
    }

    fn log(folder: &Path, max_size: Option<u64>, max_file: u32) -> Writer {
        let path = folder.join("c-json.log");
        Writer::open(WriterConfig { path, max_size, max_file, attrs: Vec::new() }).expect("open")
    }

    fn write(log: &mut Writer, numbers: std::ops::Range<i64>) {
        for number in numbers {
            log.append(Stream::Stdout, format!("{number}\n").as_bytes(), at(number)).expect("append");
        }
    }

    fn read(reader: &mut Reader) -> Vec<i64> {
        let mut seen = Vec::new();
        while let Some(entry) = reader.next_entry().expect("entry") {
            seen.push(String::from_utf8(entry.bytes).expect("utf8").trim().parse().expect("number"));
        }
        seen
    }

    fn readable(reader: &Reader) -> bool {
        let fd = reader.watch_fd().expect("following");
        poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(1)
    }

    #[test]
    fn everything_is_read_across_rotated_files_in_order() {
        let folder = tempfile::tempdir().expect("tempdir");
        let mut log = log(folder.path(), Some(300), 100);
        write(&mut log, 0..50);
        let mut reader = Reader::open(log.path(), ReadOptions::default()).expect("open");
        write(&mut log, 50..51);
        assert_eq!(read(&mut reader), (0..50).collect::<Vec<_>>(), "what came later is not part of it");
    }

    #[test]
    fn the_tail_may_lie_in_several_files() {
        let folder = tempfile::tempdir().expect("tempdir");
        let mut log = log(folder.path(), Some(300), 100);
        write(&mut log, 0..50);
        for tail in [0, 1, 2, 4, 5, 6, 17, 49, 50, 51, 1000] {
            let options = ReadOptions { tail: Some(tail), ..ReadOptions::default() };
            let mut reader = Reader::open(log.path(), options).expect("open");
            assert_eq!(read(&mut reader), (50 - (tail as i64).min(50)..50).collect::<Vec<_>>(), "tail {tail}");
        }
    }

    #[test]
    fn since_and_until_are_inclusive_bounds() {
        let folder = tempfile::tempdir().expect("tempdir");
        let mut log = log(folder.path(), None, 1);
        write(&mut log, 0..20);
        let options = ReadOptions { since: Some(at(5)), until: Some(at(8)), ..ReadOptions::default() };
        let mut reader = Reader::open(log.path(), options).expect("open");
        assert_eq!(read(&mut reader), [5, 6, 7, 8]);
        assert!(reader.has_ended());
    }

    #[test]
    fn following_wakes_for_new_lines_and_loses_none_across_rotations() {
        let folder = tempfile::tempdir().expect("tempdir");
        let mut log = log(folder.path(), Some(300), 10);
        write(&mut log, 0..3);
        let options = ReadOptions { tail: Some(1), follow: true, ..ReadOptions::default() };
        let mut reader = Reader::open(log.path(), options).expect("open");
        assert_eq!(read(&mut reader), [2]);
        assert!(!readable(&reader), "a caught-up reader sleeps");
        write(&mut log, 3..5);
        assert!(readable(&reader));
        assert_eq!(read(&mut reader), [3, 4]);
        write(&mut log, 5..30);
        assert!(readable(&reader));
        assert_eq!(read(&mut reader), (5..30).collect::<Vec<_>>());
        assert!(!readable(&reader));
    }

    #[test]
    fn following_a_single_file_that_starts_anew_goes_on_with_the_new_one() {
        let folder = tempfile::tempdir().expect("tempdir");
        let mut log = log(folder.path(), Some(150), 1);
        let options = ReadOptions { follow: true, ..ReadOptions::default() };
        let mut reader = Reader::open(log.path(), options).expect("open");
        for number in 0..20 {
            write(&mut log, number..number + 1);
            assert_eq!(read(&mut reader), [number]);
        }
    }

    #[test]
    fn a_torn_line_is_skipped_and_what_replaces_it_is_read() {
        let folder = tempfile::tempdir().expect("tempdir");
        let mut log = log(folder.path(), None, 1);
        write(&mut log, 0..1);
        let path = log.path().to_owned();
        let whole = std::fs::read(&path).expect("log");
        std::fs::write(&path, [&whole[..], b"{\"log\":\"torn"].concat()).expect("tear");
        let mut reader = Reader::open(&path, ReadOptions { follow: true, ..ReadOptions::default() }).expect("open");
        assert_eq!(read(&mut reader), [0]);
        let mut log = self::log(folder.path(), None, 1);
        write(&mut log, 1..2);
        assert_eq!(read(&mut reader), [1]);
        let mut plain = Reader::open(&path, ReadOptions::default()).expect("open");
        assert_eq!(read(&mut plain), [0, 1]);
    }

    #[test]
    fn a_line_without_end_is_skipped_in_bounded_memory() {
        let folder = tempfile::tempdir().expect("tempdir");
        let mut log = log(folder.path(), None, 1);
        write(&mut log, 0..1);
        let path = log.path().to_owned();
        let mut text = std::fs::read(&path).expect("log");
        text.extend(std::iter::repeat_n(b'x', 5 << 20));
        text.push(b'\n');
        std::fs::write(&path, text).expect("write");
        let mut log = self::log(folder.path(), None, 1);
        write(&mut log, 1..2);
        let mut reader = Reader::open(&path, ReadOptions::default()).expect("open");
        assert_eq!(read(&mut reader), [0, 1]);
        assert!(reader.block.capacity() < 4 * MAX_LINE);
    }

    #[test]
    fn a_missing_log_is_not_found() {
        let error = Reader::open(Path::new("/nonexistent/log"), ReadOptions::default()).expect_err("missing");
        assert_eq!(errors::Kind::kind(&error), errors::ErrorKind::NotFound);
    }
}
