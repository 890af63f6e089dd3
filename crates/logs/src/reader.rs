//! Reads a log from its oldest file on, or from its last messages, and follows it across rotation.

use crate::format::Frame;
use crate::source::{Source, open_all, open_behind, seek_to_tail, seek_to_time};
use crate::{Entry, Format, Timestamp};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// No line is longer; what is, is skipped.
const MAX_LINE: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadOptions {
    pub format: Format,
    /// Only the last so many entries of what is there; `None` all.
    pub tail: Option<u64>,
    /// Begin with the first entry that is not older.
    pub since: Option<Timestamp>,
    /// Nothing newer; the first newer entry ends the reading.
    pub until: Option<Timestamp>,
    /// Of a numbered log: only what comes behind this number.
    pub after: u64,
    /// Go on with what is written later.
    pub follow: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot open the log {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot read the log {path}")]
    Read { path: PathBuf, source: io::Error },
}

impl errors::Kind for ReadError {
    fn kind(&self) -> errors::ErrorKind {
        match self {
            Self::Open { source, .. } if source.kind() == ErrorKind::NotFound => errors::ErrorKind::NotFound,
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
    ended: bool,
}

impl Reader {
    pub fn open(path: &Path, options: ReadOptions) -> Result<Self, ReadError> {
        let read_error = |source| ReadError::Read { path: path.to_owned(), source };
        let mut files =
            open_all(path, options.format).map_err(|source| ReadError::Open { path: path.to_owned(), source })?;
        if let Some(tail) = options.tail {
            seek_to_tail(&mut files, options.format, tail).map_err(read_error)?;
        }
        if let Some(since) = options.since {
            seek_to_time(&mut files, options.format, since).map_err(read_error)?;
        }
        if options.follow
            && let Some(newest) = files.back_mut()
        {
            newest.limit = u64::MAX;
        }
        Ok(Self { path: path.to_owned(), options, files, block: Vec::new(), start: 0, ended: false })
    }

    /// The next entry. `None` means the end, or, following, that nothing more is there yet: ask again when the folder has
    /// changed. Who began to watch the folder ([`FolderWatch`](crate::FolderWatch)) before this answer misses nothing.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ReadError> {
        while !self.ended {
            let Some(content) = self.next_frame()? else { return Ok(None) };
            if let Some(source) = self.files.front_mut()
                && source.skipped > 0
            {
                source.skipped -= 1;
                continue;
            }
            let Some(entry) = self.options.format.decode(&self.block[content]) else { continue };
            if self.options.since.is_some_and(|since| entry.time < since)
                || (self.options.after > 0 && entry.ordinal <= self.options.after)
            {
                continue;
            }
            // As in Docker: times are not in order everywhere, so only the first decides.
            self.options.since = None;
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

    /// The bytes of the next whole message in the block.
    fn next_frame(&mut self) -> Result<Option<std::ops::Range<usize>>, ReadError> {
        loop {
            match self.options.format.frame(&self.block[self.start..]) {
                Frame::Whole { content, end } => {
                    let content = self.start + content.start..self.start + content.end;
                    self.start += end;
                    if self.files.front_mut().is_some_and(|file| std::mem::take(&mut file.skipping)) {
                        continue;
                    }
                    return Ok(Some(content));
                }
                Frame::More => match self.fill() {
                    Ok(true) => continue,
                    Ok(false) => {}
                    // A compressed file that is cut short: what could be read of it was.
                    Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidInput) => {}
                    Err(error) => return Err(self.failed(error)),
                },
                // What cannot be found in this file may be in the next.
                Frame::Broken => self.start = self.block.len(),
            }
            self.rewind();
            if self.files.len() > 1 {
                self.files.pop_front();
                continue;
            }
            if !self.options.follow || !self.find_newer().map_err(|source| self.failed(source))? {
                return Ok(None);
            }
        }
    }

    fn failed(&self, source: io::Error) -> ReadError {
        ReadError::Read { path: self.path.clone(), source }
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
        source.read(&mut self.block)?;
        Ok(self.block.len() > filled)
    }

    /// Forgets an unfinished message: it is read again from its beginning, since a repair may have replaced it. Gives the
    /// block back: most followers wait for most of their time.
    fn rewind(&mut self) {
        if let Some(source) = self.files.front_mut() {
            source.unread(self.block.len() - self.start);
        }
        self.block = Vec::new();
        self.start = 0;
    }

    /// After a rotation: queues the files that are newer than the one that was read to its end.
    fn find_newer(&mut self) -> io::Result<bool> {
        let mut newer = open_behind(&self.path, self.options.format, self.files.front())?;
        let Some(newest) = newer.back_mut() else { return Ok(false) };
        newest.limit = u64::MAX;
        self.files.extend(newer);
        // What was written to the old file before it was rotated away is read first: the loop comes back to it.
        if let Some(old) = self.files.front_mut() {
            old.limit = u64::MAX;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FolderWatch, Stream, Writer, WriterConfig};

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds: 4_000_000_000 + seconds, nanos: 0 }
    }

    fn log(folder: &Path, max_size: Option<u64>, max_file: u32) -> Writer {
        let path = folder.join("c-json.log");
        Writer::open(WriterConfig { max_size, max_file, ..WriterConfig::new(path) }).expect("open")
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

    fn changed(watch: &FolderWatch) -> bool {
        !watch.changes().expect("changes").folders.is_empty()
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
        let watch = FolderWatch::new().expect("inotify");
        watch.add(folder.path()).expect("watch");
        let options = ReadOptions { tail: Some(1), follow: true, ..ReadOptions::default() };
        let mut reader = Reader::open(log.path(), options).expect("open");
        assert_eq!(read(&mut reader), [2]);
        assert!(!changed(&watch), "a caught-up reader sleeps");
        write(&mut log, 3..5);
        assert!(changed(&watch));
        assert_eq!(read(&mut reader), [3, 4]);
        write(&mut log, 5..30);
        assert!(changed(&watch));
        assert_eq!(read(&mut reader), (5..30).collect::<Vec<_>>());
        assert!(!changed(&watch));
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
        let mut largest = 0;
        while let Some(entry) = reader.next_entry().expect("entry") {
            assert!(entry.bytes == b"0\n" || entry.bytes == b"1\n");
            largest = largest.max(reader.block.capacity());
        }
        assert!(largest < 4 * MAX_LINE);
    }

    #[test]
    fn a_missing_log_is_not_found() {
        let error = Reader::open(Path::new("/nonexistent/log"), ReadOptions::default()).expect_err("missing");
        assert_eq!(errors::Kind::kind(&error), errors::ErrorKind::NotFound);
    }

    #[test]
    fn a_large_file_is_entered_near_the_wanted_time() {
        let folder = tempfile::tempdir().expect("tempdir");
        let mut log = log(folder.path(), None, 1);
        write(&mut log, 0..20_000);
        for since in [0, 1, 777, 10_000, 19_990, 19_999] {
            let options = ReadOptions { since: Some(at(since)), ..ReadOptions::default() };
            let mut reader = Reader::open(log.path(), options).expect("open");
            assert!(reader.files[0].offset >= (since as u64 * 60).saturating_sub(2 << 16), "since {since}");
            assert_eq!(read(&mut reader), (since..20_000).collect::<Vec<_>>(), "since {since}");
        }
        let options = ReadOptions { since: Some(at(20_000)), ..ReadOptions::default() };
        assert_eq!(read(&mut Reader::open(log.path(), options).expect("open")), Vec::<i64>::new());
    }

    #[test]
    fn the_first_entry_that_is_new_enough_lets_older_ones_through_behind_it() {
        let folder = tempfile::tempdir().expect("tempdir");
        let mut log = log(folder.path(), None, 1);
        for number in [1, 5, 3, 6] {
            write(&mut log, number..number + 1);
        }
        let options = ReadOptions { since: Some(at(4)), ..ReadOptions::default() };
        assert_eq!(read(&mut Reader::open(log.path(), options).expect("open")), [5, 3, 6]);
    }

    #[test]
    fn a_follower_that_lags_behind_several_compressed_rotations_reads_each_entry_once() {
        let folder = tempfile::tempdir().expect("tempdir");
        for format in [Format::JsonFile, Format::Local] {
            let path = folder.path().join(format!("{format:?}.log"));
            let config = WriterConfig {
                format,
                max_size: Some(1500),
                max_file: 200,
                compress: true,
                ..WriterConfig::new(path.clone())
            };
            let mut log = Writer::open(config).expect("open");
            write(&mut log, 0..1);
            let options = ReadOptions { format, follow: true, ..ReadOptions::default() };
            let mut reader = Reader::open(&path, options).expect("open");
            let mut seen = Vec::new();
            for round in 0..40 {
                write(&mut log, round * 50 + 1..round * 50 + 51);
                if round % 7 == 0 {
                    while crate::names::rotated(&path, 1).exists() {
                        std::thread::yield_now();
                    }
                }
                if round % 3 == 0 {
                    seen.extend(read(&mut reader));
                }
            }
            seen.extend(read(&mut reader));
            assert_eq!(seen, (0..2001).collect::<Vec<_>>(), "{format:?}");
        }
    }

    #[test]
    fn readers_that_open_while_the_log_turns_see_every_line_without_a_gap() {
        let folder = tempfile::tempdir().expect("tempdir");
        let mut log = log(folder.path(), Some(2000), 1000);
        let path = log.path().to_owned();
        write(&mut log, 0..100);
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                write(&mut log, 100..8000);
                done.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let mut reader = Reader::open(&path, ReadOptions::default()).expect("open");
                let seen = read(&mut reader);
                assert!(seen.len() >= 100, "only {} lines", seen.len());
                assert_eq!(seen, (0..seen.len() as i64).collect::<Vec<_>>());
            }
        });
    }

    #[test]
    fn readers_beside_a_log_that_turns_with_every_line_see_a_whole_end() {
        let folder = tempfile::tempdir().expect("tempdir");
        for (name, compress) in [("plain.log", false), ("compressed.log", true)] {
            let path = folder.path().join(name);
            let config = WriterConfig { max_size: Some(60), max_file: 20, compress, ..WriterConfig::new(path.clone()) };
            let mut log = Writer::open(config).expect("open");
            write(&mut log, 0..100);
            let written = std::sync::atomic::AtomicI64::new(99);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for number in 100..6000 {
                        write(&mut log, number..number + 1);
                        written.store(number, std::sync::atomic::Ordering::SeqCst);
                    }
                });
                loop {
                    let before = written.load(std::sync::atomic::Ordering::SeqCst);
                    let options = ReadOptions { tail: Some(10), ..ReadOptions::default() };
                    let mut reader = Reader::open(&path, options).expect("open");
                    let seen = read(&mut reader);
                    assert!(seen.last().is_some_and(|&last| last >= before), "{name}: {seen:?} after {before}");
                    assert!(seen.windows(2).all(|pair| pair[1] == pair[0] + 1), "{name}: {seen:?}");
                    if before == 5999 {
                        assert_eq!(seen.len(), 10);
                        break;
                    }
                }
            });
        }
    }

    #[test]
    fn a_tail_is_whole_beside_a_log_that_does_not_stop_turning() {
        let folder = tempfile::tempdir().expect("tempdir");
        for (name, compress) in [("plain.log", false), ("compressed.log", true)] {
            let path = folder.path().join(name);
            let config = WriterConfig { max_size: Some(60), max_file: 20, compress, ..WriterConfig::new(path.clone()) };
            let mut log = Writer::open(config).expect("open");
            write(&mut log, 0..100);
            let begun = std::time::Instant::now();
            let goes_on = || begun.elapsed() < std::time::Duration::from_millis(1500);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    (100..).take_while(|_| goes_on()).for_each(|number| write(&mut log, number..number + 1));
                });
                while goes_on() {
                    let options = ReadOptions { tail: Some(10), ..ReadOptions::default() };
                    let seen = read(&mut Reader::open(&path, options).expect("open"));
                    assert!(seen.len() == 10 && seen.windows(2).all(|pair| pair[1] == pair[0] + 1), "{name}: {seen:?}");
                }
            });
        }
    }

    #[test]
    fn a_follower_beside_a_log_that_turns_reads_each_entry_once() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("c.log");
        let config =
            WriterConfig { max_size: Some(3000), max_file: 200, compress: true, ..WriterConfig::new(path.clone()) };
        let mut log = Writer::open(config).expect("open");
        write(&mut log, 0..1);
        let options = ReadOptions { follow: true, ..ReadOptions::default() };
        let mut reader = Reader::open(&path, options).expect("open");
        let mut seen = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| write(&mut log, 1..6000));
            while seen.len() < 6000 {
                let entries = read(&mut reader);
                let wanted: Vec<i64> = (seen.len() as i64..).take(entries.len()).collect();
                assert_eq!(entries, wanted);
                seen.extend(entries);
            }
        });
        assert_eq!(read(&mut reader), Vec::<i64>::new());
    }

    #[test]
    fn behind_a_number_only_what_is_newer_is_read() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("c.log");
        let config = WriterConfig {
            format: Format::Local,
            numbered: true,
            max_size: Some(300),
            max_file: 50,
            compress: true,
            ..WriterConfig::new(path.clone())
        };
        let mut log = Writer::open(config).expect("open");
        write(&mut log, 0..100);
        let options = ReadOptions { format: Format::Local, after: 60, follow: true, ..ReadOptions::default() };
        let mut reader = Reader::open(&path, options).expect("open");
        assert_eq!(read(&mut reader), (60..100).collect::<Vec<_>>());
        write(&mut log, 100..103);
        assert_eq!(read(&mut reader), [100, 101, 102]);
    }
}
