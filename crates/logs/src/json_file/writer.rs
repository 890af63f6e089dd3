//! Appends output to the log: lines cut as Docker cuts them, one write(2) a chunk, rotated by size.

use super::encode::Encoder;
use super::{MAX_PART, rotated};
use crate::{Stream, Timestamp};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Buffers that grew beyond this for an exceptional chunk are given back.
const KEEP_CAPACITY: usize = 96 << 10;
/// A torn end is looked for in this many bytes: more than any line can have.
const REPAIR_WINDOW: u64 = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterConfig {
    pub path: PathBuf,
    /// A file that reached this size is rotated away; `None` never.
    pub max_size: Option<u64>,
    /// Files altogether, the current one included; 1 keeps no old file.
    pub max_file: u32,
    /// What stands in `attrs` of every line.
    pub attrs: Vec<(String, String)>,
}

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("cannot open the log {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot write the log {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot rotate the log {path}")]
    Rotate { path: PathBuf, source: io::Error },
}

impl errors::Kind for WriteError {
    fn kind(&self) -> errors::ErrorKind {
        match self {
            Self::Open { source, .. } if source.kind() == ErrorKind::NotFound => errors::ErrorKind::NotFound,
            Self::Write { source, .. } if source.kind() == ErrorKind::StorageFull => {
                errors::ErrorKind::ResourceExhausted
            }
            _ => errors::ErrorKind::Internal,
        }
    }
}

/// The one writer of a log.
#[derive(Debug)]
pub struct Writer {
    config: WriterConfig,
    file: File,
    size: u64,
    encoder: Encoder,
    unfinished: [Unfinished; 2],
    out: Vec<u8>,
}

/// The line of a stream that has no end yet.
#[derive(Debug, Default)]
struct Unfinished {
    bytes: Vec<u8>,
    /// Set while parts of the line are in the log already: all parts carry the time of the first.
    since: Option<Timestamp>,
}

impl Writer {
    /// Opens or creates the log and cuts off a line that a crash tore.
    pub fn open(config: WriterConfig) -> Result<Self, WriteError> {
        let failed = |source| WriteError::Open { path: config.path.clone(), source };
        let (file, size) = open_repaired(&config.path).map_err(failed)?;
        let encoder = Encoder::new(&config.attrs);
        Ok(Self { config, file, size, encoder, unfinished: Default::default(), out: Vec::new() })
    }

    /// Takes a chunk as it was read; its whole lines are in the file when this returns.
    ///
    /// After an error the chunk's lines are lost, the file is whole and the next chunk can be appended.
    pub fn append(&mut self, stream: Stream, mut bytes: &[u8], now: Timestamp) -> Result<(), WriteError> {
        let mut result = Ok(());
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let line = &bytes[..end];
            bytes = &bytes[end + 1..];
            self.add_line(stream, line, now);
            result = result.and(self.rotate_if_full());
        }
        self.add_unfinished(stream, bytes, now);
        result = result.and(self.flush());
        if self.out.capacity() > KEEP_CAPACITY {
            self.out = Vec::new();
        }
        result
    }

    /// The stream has ended: its unfinished line is written as it is.
    pub fn finish(&mut self, stream: Stream, now: Timestamp) -> Result<(), WriteError> {
        let unfinished = std::mem::take(&mut self.unfinished[index(stream)]);
        if !unfinished.bytes.is_empty() {
            let time = unfinished.since.unwrap_or(now);
            self.encoder.append(&mut self.out, stream, &unfinished.bytes, false, time);
        }
        self.flush()
    }

    pub fn path(&self) -> &Path {
        &self.config.path
    }

    fn add_line(&mut self, stream: Stream, line: &[u8], now: Timestamp) {
        let unfinished = &mut self.unfinished[index(stream)];
        if unfinished.bytes.is_empty() && unfinished.since.is_none() && line.len() < MAX_PART {
            return self.encoder.append(&mut self.out, stream, line, true, now);
        }
        self.add_unfinished(stream, line, now);
        let Unfinished { bytes, since } = std::mem::take(&mut self.unfinished[index(stream)]);
        self.encoder.append(&mut self.out, stream, &bytes, true, since.unwrap_or(now));
    }

    /// Keeps the beginning of a line; a part that is full goes out.
    fn add_unfinished(&mut self, stream: Stream, mut bytes: &[u8], now: Timestamp) {
        let unfinished = &mut self.unfinished[index(stream)];
        while !bytes.is_empty() {
            let taken = bytes.len().min(MAX_PART - unfinished.bytes.len());
            unfinished.bytes.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if unfinished.bytes.len() == MAX_PART {
                let time = *unfinished.since.get_or_insert(now);
                self.encoder.append(&mut self.out, stream, &unfinished.bytes, false, time);
                unfinished.bytes.clear();
            }
        }
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        if self.out.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.out);
        let length = self.out.len() as u64;
        self.out.clear();
        match written {
            Ok(()) => {
                self.size += length;
                self.rotate_if_full()
            }
            Err(source) => {
                // Half of it may be there (a full disk): the file ends with a whole line again. Should that fail too,
                // readers skip the torn line.
                let _ = self.file.set_len(self.size);
                Err(WriteError::Write { path: self.config.path.clone(), source })
            }
        }
    }

    fn rotate_if_full(&mut self) -> Result<(), WriteError> {
        match self.config.max_size {
            Some(max) if self.size + self.out.len() as u64 >= max && self.size + self.out.len() as u64 > 0 => {
                if !self.out.is_empty() {
                    return self.flush();
                }
                self.rotate().map_err(|source| WriteError::Rotate { path: self.config.path.clone(), source })
            }
            _ => Ok(()),
        }
    }

    /// Each step is one rename, so that a kill in between leaves files in order with at most one number missing.
    /// Readers tell files apart by inode, so the new file is never the old one cut to nothing.
    fn rotate(&mut self) -> io::Result<()> {
        let path = &self.config.path;
        let oldest = self.config.max_file.saturating_sub(1);
        if oldest == 0 {
            ignore_missing(fs::remove_file(path))?;
        } else {
            for number in (1..oldest).rev() {
                ignore_missing(fs::rename(rotated(path, number), rotated(path, number + 1)))?;
            }
            ignore_missing(fs::rename(path, rotated(path, 1)))?;
        }
        self.file = open(path)?;
        self.size = 0;
        Ok(())
    }
}

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Docker's mode: readable by root's group, since lines may hold secrets.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)
}

fn open_repaired(path: &Path) -> io::Result<(File, u64)> {
    let file = open(path)?;
    let size = file.metadata()?.len();
    let whole = whole_length(&file, size)?;
    if whole < size {
        file.set_len(whole)?;
    }
    Ok((file, whole))
}

/// The length of the file up to the end of its last whole line.
fn whole_length(file: &File, size: u64) -> io::Result<u64> {
    let mut last = [0];
    if size == 0 || (file.read_exact_at(&mut last, size - 1).is_ok() && last[0] == b'\n') {
        return Ok(size);
    }
    let start = size.saturating_sub(REPAIR_WINDOW);
    let mut tail = vec![0; (size - start) as usize];
    file.read_exact_at(&mut tail, start)?;
    Ok(match tail.iter().rposition(|&byte| byte == b'\n') {
        Some(end) => start + end as u64 + 1,
        None if start == 0 => 0,
        // No line end in more than a line's length: not our file's shape; nothing is cut.
        None => size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_file::decode::decode;
    use crate::{ReadOptions, Reader};
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanos: 0 };
    const LATER: Timestamp = Timestamp { seconds: 1_700_000_001, nanos: 0 };

    fn writer(folder: &Path, max_size: Option<u64>, max_file: u32) -> Writer {
        let path = folder.join("c-json.log");
        Writer::open(WriterConfig { path, max_size, max_file, attrs: Vec::new() }).expect("open")
    }

    fn lines(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).expect("log");
        text.lines()
            .map(|line| String::from_utf8(decode(line.as_bytes()).expect("line").bytes).expect("utf8"))
            .collect()
    }

    #[test]
    fn lines_of_both_streams_are_put_together_from_pieces() {
        let folder = tempfile::tempdir().expect("tempdir");
        let mut log = writer(folder.path(), None, 1);
        log.append(Stream::Stdout, b"one\ntw", NOW).expect("append");
        log.append(Stream::Stderr, b"err", NOW).expect("append");
        log.append(Stream::Stdout, b"o\n\nlast", NOW).expect("append");
        log.append(Stream::Stderr, b"or\n", NOW).expect("append");
        assert_eq!(lines(log.path()), ["one\n", "two\n", "\n", "error\n"]);
        log.finish(Stream::Stdout, NOW).expect("finish");
        log.finish(Stream::Stderr, NOW).expect("finish");
        assert_eq!(lines(log.path()), ["one\n", "two\n", "\n", "error\n", "last"]);
    }

    #[test]
    fn a_long_line_is_cut_and_its_parts_have_the_time_of_the_first() {
        let folder = tempfile::tempdir().expect("tempdir");
        let mut log = writer(folder.path(), None, 1);
        log.append(Stream::Stdout, &vec![b'x'; MAX_PART + 10], NOW).expect("append");
        log.append(Stream::Stdout, b"end\nnext\n", LATER).expect("append");
        let text = fs::read(log.path()).expect("log");
        let entries: Vec<_> =
            text.split(|&b| b == b'\n').filter(|l| !l.is_empty()).map(|l| decode(l).expect("line")).collect();
        let shape: Vec<_> = entries.iter().map(|e| (e.bytes.len(), e.bytes.ends_with(b"\n"), e.time)).collect();
        assert_eq!(shape, [(MAX_PART, false, NOW), (14, true, NOW), (5, true, LATER)]);
    }

    #[test]
    fn a_line_of_exactly_the_limit_ends_with_a_lone_newline_as_in_docker() {
        let folder = tempfile::tempdir().expect("tempdir");
        let mut log = writer(folder.path(), None, 1);
        let mut line = vec![b'x'; MAX_PART];
        line.push(b'\n');
        log.append(Stream::Stdout, &line, NOW).expect("append");
        assert_eq!(lines(log.path()).iter().map(String::len).collect::<Vec<_>>(), [MAX_PART, 1]);
    }

    #[test]
    fn full_files_are_rotated_and_the_oldest_goes() {
        let folder = tempfile::tempdir().expect("tempdir");
        let mut log = writer(folder.path(), Some(150), 3);
        for number in 0..12 {
            log.append(Stream::Stdout, format!("line {number}\n").as_bytes(), NOW).expect("append");
        }
        let path = log.path().to_owned();
        assert_eq!(lines(&rotated(&path, 2)), ["line 6\n", "line 7\n", "line 8\n"]);
        assert_eq!(lines(&rotated(&path, 1)), ["line 9\n", "line 10\n", "line 11\n"]);
        assert_eq!(lines(&path), Vec::<String>::new());
        assert!(!rotated(&path, 3).exists());
    }

    #[test]
    fn one_chunk_of_many_lines_does_not_make_a_file_larger_than_the_limit_and_a_line() {
        let folder = tempfile::tempdir().expect("tempdir");
        let mut log = writer(folder.path(), Some(1000), 100);
        log.append(Stream::Stdout, "0123456789\n".repeat(500).as_bytes(), NOW).expect("append");
        let sizes: Vec<_> = fs::read_dir(folder.path())
            .expect("folder")
            .map(|f| f.expect("entry").metadata().expect("stat").len())
            .collect();
        assert!(sizes.len() > 30 && sizes.iter().all(|&size| size < 1100), "{sizes:?}");
    }

    #[test]
    fn a_single_file_starts_anew_when_it_is_full() {
        let folder = tempfile::tempdir().expect("tempdir");
        let mut log = writer(folder.path(), Some(100), 1);
        for number in 0..5 {
            log.append(Stream::Stdout, format!("line {number}\n").as_bytes(), NOW).expect("append");
        }
        assert_eq!(lines(log.path()), ["line 4\n"]);
        assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1);
    }

    #[test]
    fn a_torn_line_is_cut_off_by_the_next_writer() {
        let folder = tempfile::tempdir().expect("tempdir");
        let mut log = writer(folder.path(), None, 1);
        log.append(Stream::Stdout, b"whole\n", NOW).expect("append");
        let path = log.path().to_owned();
        drop(log);
        let mut text = fs::read(&path).expect("log");
        text.extend_from_slice(b"{\"log\":\"torn");
        fs::write(&path, text).expect("tear");
        let mut log = writer(folder.path(), None, 1);
        log.append(Stream::Stdout, b"next\n", NOW).expect("append");
        assert_eq!(lines(&path), ["whole\n", "next\n"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn however_output_is_cut_into_chunks_the_log_says_the_same(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..3000),
            cut in 1usize..700,
        ) {
            let folder = tempfile::tempdir().expect("tempdir");
            let mut log = writer(folder.path(), Some(7000), 1000);
            for chunk in text.chunks(cut) {
                log.append(Stream::Stdout, chunk, NOW).expect("append");
            }
            log.finish(Stream::Stdout, NOW).expect("finish");
            let mut reader = Reader::open(log.path(), ReadOptions::default()).expect("reader");
            let mut seen = Vec::new();
            while let Some(entry) = reader.next_entry().expect("entry") {
                seen.extend(entry.bytes);
            }
            prop_assert_eq!(seen, lossy_bytewise(&text));
        }
    }

    /// Each line on its own, since a character can be cut by a newline, with one U+FFFD for each wrong byte.
    fn lossy_bytewise(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    out.extend_from_slice(valid.as_bytes());
                    break;
                }
                Err(error) => {
                    out.extend_from_slice(&rest[..error.valid_up_to()]);
                    out.extend_from_slice("\u{fffd}".as_bytes());
                    rest = &rest[error.valid_up_to() + 1..];
                }
            }
        }
        out
    }
}
