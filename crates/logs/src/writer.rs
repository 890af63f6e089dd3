//! Appends output to the log: lines cut as Docker cuts them, one write(2) a chunk, rotated by size.

use crate::compress::{Compressor, Inflating, last_entry};
use crate::format::{Encoder, Format, Frame, MAX_PART, Message};
use crate::names::{compressed, rotated, shift};
use crate::{Cursor, Part, Stream, Timestamp, turning};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Buffers that grew beyond this for an exceptional chunk are given back.
const KEEP_CAPACITY: usize = 96 << 10;
/// By how much a file may pass its size while readers open it.
const MOST_BEYOND: u64 = 1 << 20;
/// Bytes of a compressed file that are looked through for its last number: what a file may hold at most.
const INFLATED_LIMIT: u64 = 1 << 32;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterConfig {
    pub path: PathBuf,
    pub format: Format,
    /// A file that reached this size is rotated away before the next message; `None` never.
    pub max_size: Option<u64>,
    /// Files altogether, the current one included; 1 keeps no old file.
    pub max_file: u32,
    /// Rotated files are compressed.
    pub compress: bool,
    /// Messages are numbered for those who ship them; of the format `local` only.
    pub numbered: bool,
    /// What every message carries.
    pub attrs: Vec<(String, String)>,
}

impl WriterConfig {
    /// A json-file log without end.
    pub fn new(path: PathBuf) -> Self {
        let format = Format::JsonFile;
        Self { path, format, max_size: None, max_file: 1, compress: false, numbered: false, attrs: Vec::new() }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("cannot open the log {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot write the log {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot rotate the log {path}")]
    Rotate { path: PathBuf, source: io::Error },
    /// Of a log that nobody waits for.
    #[error("the log {path} is too slow for its buffer: {bytes} bytes of output were dropped")]
    Overrun { path: PathBuf, bytes: u64 },
}

impl errors::Kind for WriteError {
    fn kind(&self) -> errors::ErrorKind {
        match self {
            Self::Open { source, .. } if source.kind() == ErrorKind::NotFound => errors::ErrorKind::NotFound,
            Self::Write { source, .. } if source.kind() == ErrorKind::StorageFull => {
                errors::ErrorKind::ResourceExhausted
            }
            Self::Overrun { .. } => errors::ErrorKind::ResourceExhausted,
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
    /// The number of the last message, in a log that is numbered.
    ordinal: u64,
    compressor: Option<Compressor>,
}

/// The line of a stream that has no end yet.
#[derive(Debug, Default)]
struct Unfinished {
    bytes: Vec<u8>,
    /// Set while parts of the line are in the log already.
    parts: Option<Parts>,
}

#[derive(Debug)]
struct Parts {
    /// All parts carry the time of the first.
    since: Timestamp,
    last: Part,
}

impl Writer {
    /// Opens or creates the log and cuts off a message that a crash tore.
    pub fn open(config: WriterConfig) -> Result<Self, WriteError> {
        let failed = |source| WriteError::Open { path: config.path.clone(), source };
        let (file, size) = open_repaired(&config.path, config.format).map_err(failed)?;
        let ordinal = if config.numbered { newest_ordinal(&config, &file).map_err(failed)? } else { 0 };
        let mut compressor = (config.compress && config.max_file > 1)
            .then(|| Compressor::new(config.path.clone(), config.format, config.max_file));
        if let Some(compressor) = &mut compressor
            && rotated(&config.path, 1).exists()
        {
            compressor.start();
        }
        let encoder = config.format.encoder(&config.attrs);
        let (unfinished, out) = Default::default();
        Ok(Self { config, file, size, encoder, unfinished, out, ordinal, compressor })
    }

    /// Takes a chunk as it was read; its whole lines are in the file when this returns.
    ///
    /// After an error some of the chunk's lines are lost, the file is whole and the next chunk can be appended.
    pub fn append(&mut self, stream: Stream, mut bytes: &[u8], now: Timestamp) -> Result<(), WriteError> {
        let mut result = Ok(());
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let line = &bytes[..end];
            bytes = &bytes[end + 1..];
            result = result.and(self.rotate_if_full());
            self.add_line(stream, line, now);
        }
        result = result.and(self.add_unfinished(stream, bytes, now));
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
            let rotated = self.rotate_if_full();
            let parts = self.next_part(unfinished.parts, now);
            self.add(stream, &unfinished.bytes, false, Some(&parts.last), parts.since);
            return rotated.and(self.flush());
        }
        self.flush()
    }

    pub fn path(&self) -> &Path {
        &self.config.path
    }

    fn add_line(&mut self, stream: Stream, line: &[u8], now: Timestamp) {
        let unfinished = &mut self.unfinished[index(stream)];
        if unfinished.bytes.is_empty() && unfinished.parts.is_none() && line.len() < MAX_PART {
            return self.add(stream, line, true, None, now);
        }
        // What is full goes out within; a failed rotation is met again with the next line.
        let _ = self.add_unfinished(stream, line, now);
        let Unfinished { bytes, parts } = std::mem::take(&mut self.unfinished[index(stream)]);
        match parts {
            None => self.add(stream, &bytes, true, None, now),
            Some(parts) => {
                let mut parts = self.next_part(Some(parts), now);
                parts.last.last = true;
                self.add(stream, &bytes, true, Some(&parts.last), parts.since);
            }
        }
    }

    /// Keeps the beginning of a line; a part that is full goes out.
    fn add_unfinished(&mut self, stream: Stream, mut bytes: &[u8], now: Timestamp) -> Result<(), WriteError> {
        let mut result = Ok(());
        while !bytes.is_empty() {
            let unfinished = &mut self.unfinished[index(stream)];
            let taken = bytes.len().min(MAX_PART - unfinished.bytes.len());
            unfinished.bytes.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if unfinished.bytes.len() == MAX_PART {
                let Unfinished { bytes: full, parts } = std::mem::take(unfinished);
                result = result.and(self.rotate_if_full());
                let parts = self.next_part(parts, now);
                self.add(stream, &full, false, Some(&parts.last), parts.since);
                self.unfinished[index(stream)].parts = Some(parts);
            }
        }
        result
    }

    /// What the next part of a line carries.
    fn next_part(&self, parts: Option<Parts>, now: Timestamp) -> Parts {
        match parts {
            Some(mut parts) => {
                parts.last.number = parts.last.number.saturating_add(1);
                parts
            }
            None => {
                let id = if self.config.format == Format::Local { random_id() } else { String::new() };
                Parts { since: now, last: Part { id, number: 1, last: false } }
            }
        }
    }

    fn add(&mut self, stream: Stream, text: &[u8], ends_line: bool, part: Option<&Part>, time: Timestamp) {
        if self.config.numbered {
            self.ordinal += 1;
        }
        let message = Message { stream, text, ends_line, part, time, ordinal: self.ordinal };
        self.encoder.append(&mut self.out, message);
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        if self.out.is_empty() {
            return Ok(());
        }
        let (written, failure) = write_all(&mut self.file, &self.out);
        let kept = match failure {
            None => written,
            // Half of it may be there (a full disk): the file ends with a whole message again.
            Some(_) => self.config.format.whole_prefix(&self.out[..written]),
        };
        self.size += kept as u64;
        self.out.clear();
        match failure {
            None => Ok(()),
            Some(source) => {
                // Should this fail too, the next opening cuts the torn message off.
                let _ = self.file.set_len(self.size);
                Err(WriteError::Write { path: self.config.path.clone(), source })
            }
        }
    }

    fn rotate_if_full(&mut self) -> Result<(), WriteError> {
        let Some(max) = self.config.max_size else { return Ok(()) };
        if self.size + (self.out.len() as u64) < max {
            return Ok(());
        }
        self.flush()?;
        if self.size == 0 {
            return Ok(());
        }
        // A folder that cannot be locked keeps no log from turning.
        let turn = turning::begin_turn(&self.config.path);
        if matches!(turn, Ok(None)) && self.size < max.saturating_add(MOST_BEYOND) {
            return Ok(());
        }
        self.rotate().map_err(|source| WriteError::Rotate { path: self.config.path.clone(), source })
    }

    /// Readers tell files apart by inode, so the new file is never the old one cut to nothing.
    fn rotate(&mut self) -> io::Result<()> {
        let (path, max_file) = (&self.config.path, self.config.max_file);
        match &mut self.compressor {
            Some(compressor) => {
                compressor.rotate(|| shift(path, max_file))?;
                compressor.start();
            }
            None => shift(path, max_file)?,
        }
        self.file = open(path)?;
        self.size = 0;
        Ok(())
    }
}

/// How much was written, and what stopped it.
fn write_all(file: &mut File, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return (written, Some(ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

/// As Docker's ids of anything; should the kernel have no random numbers, parts are still told apart by their order.
fn random_id() -> String {
    let mut bytes = [0; 32];
    let _ = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Docker's mode: readable by root's group, since lines may hold secrets.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)
}

fn open_repaired(path: &Path, format: Format) -> io::Result<(File, u64)> {
    let file = open(path)?;
    let size = file.metadata()?.len();
    let whole = format.whole_length(&file, size)?;
    if whole < size {
        file.set_len(whole)?;
    }
    Ok((file, whole))
}

/// What the log holds, or what was shipped of it, should the disk have lost more of the one than of the other.
fn newest_ordinal(config: &WriterConfig, file: &File) -> io::Result<u64> {
    let shipped = Cursor::peek(&config.path)?.map_or(0, |place| place.ordinal);
    Ok(last_ordinal(config, file)?.max(shipped))
}

/// The number of the newest message: in the current file, or, where a rotation was all that was done last, in the one
/// before.
fn last_ordinal(config: &WriterConfig, file: &File) -> io::Result<u64> {
    if let Some(entry) = last_entry(file, config.format)? {
        return Ok(entry.ordinal);
    }
    match File::open(rotated(&config.path, 1)) {
        Ok(before) => return Ok(last_entry(&before, config.format)?.map_or(0, |entry| entry.ordinal)),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    match File::open(compressed(&config.path, 1)) {
        Ok(file) => last_inflated_ordinal(Inflating::new(file), config.format),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

fn last_inflated_ordinal(inflating: Inflating, format: Format) -> io::Result<u64> {
    let mut reader = inflating.take(INFLATED_LIMIT);
    let (mut block, mut ordinal) = (Vec::new(), 0);
    loop {
        let filled = block.len();
        block.resize(filled + KEEP_CAPACITY, 0);
        let count = reader.read(&mut block[filled..])?;
        block.truncate(filled + count);
        if count == 0 {
            return Ok(ordinal);
        }
        let mut at = 0;
        while let Frame::Whole { content, end } = format.frame(&block[at..]) {
            let content = at + content.start..at + content.end;
            ordinal = format.decode(&block[content]).map_or(ordinal, |entry| entry.ordinal);
            at += end;
        }
        block.drain(..at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_file::decode;
    use crate::{ReadOptions, Reader};
    use proptest::prelude::*;
    use std::fs;

    const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanos: 0 };
    const LATER: Timestamp = Timestamp { seconds: 1_700_000_001, nanos: 0 };

    fn writer(folder: &Path, max_size: Option<u64>, max_file: u32) -> Writer {
        let path = folder.join("c-json.log");
        Writer::open(WriterConfig { max_size, max_file, ..WriterConfig::new(path) }).expect("open")
    }

    fn local(folder: &Path, max_size: Option<u64>, max_file: u32) -> WriterConfig {
        let format = Format::Local;
        WriterConfig {
            format,
            max_size,
            max_file,
            compress: true,
            numbered: true,
            ..WriterConfig::new(folder.join("c.log"))
        }
    }

    fn entries(path: &Path, format: Format) -> Vec<crate::Entry> {
        let mut reader = Reader::open(path, ReadOptions { format, ..ReadOptions::default() }).expect("reader");
        std::iter::from_fn(|| reader.next_entry().expect("entry")).collect()
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
        assert_eq!(lines(&rotated(&path, 2)), ["line 3\n", "line 4\n", "line 5\n"]);
        assert_eq!(lines(&rotated(&path, 1)), ["line 6\n", "line 7\n", "line 8\n"]);
        assert_eq!(lines(&path), ["line 9\n", "line 10\n", "line 11\n"]);
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

    #[test]
    fn parts_of_a_line_in_the_local_format_have_one_id_and_count_up() {
        let folder = tempfile::tempdir().expect("tempdir");
        let config = local(folder.path(), None, 1);
        let path = config.path.clone();
        let mut log = Writer::open(config).expect("open");
        log.append(Stream::Stdout, &vec![b'x'; 2 * MAX_PART + 10], NOW).expect("append");
        log.append(Stream::Stdout, b"end\nnext\nunfinished", LATER).expect("append");
        log.finish(Stream::Stdout, LATER).expect("finish");
        let seen = entries(&path, Format::Local);
        let shape: Vec<_> = seen.iter().map(|e| (e.bytes.len(), e.part.as_ref().map(|p| (p.number, p.last)))).collect();
        let wanted = [(MAX_PART, Some((1, false))), (MAX_PART, Some((2, false))), (14, Some((3, true))), (5, None)];
        assert_eq!(shape, [&wanted[..], &[(10, Some((1, false)))]].concat());
        let ids: Vec<_> = seen.iter().filter_map(|e| e.part.as_ref().map(|p| p.id.as_str())).collect();
        assert!(ids[0].len() == 64 && ids[0] == ids[2] && ids[0] != ids[3]);
        assert_eq!(seen.iter().map(|e| e.ordinal).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!((seen[2].time, seen[3].time), (NOW, LATER));
    }

    #[test]
    fn numbers_go_on_where_the_last_writer_was_even_if_only_a_compressed_file_tells() {
        let folder = tempfile::tempdir().expect("tempdir");
        let config = local(folder.path(), Some(200), 3);
        let path = config.path.clone();
        for round in 0..6 {
            let mut log = Writer::open(config.clone()).expect("open");
            for _ in 0..5 {
                log.append(Stream::Stdout, b"some line\n", NOW).expect("append");
            }
            if round == 4 {
                // As a kill right after the rename leaves it.
                drop(log);
                shift(&path, 3).expect("shift");
                let mut compressor = Compressor::new(path.clone(), Format::Local, 3);
                compressor.start();
                while rotated(&path, 1).exists() {
                    std::thread::yield_now();
                }
            }
        }
        let seen: Vec<_> = entries(&path, Format::Local).iter().map(|e| e.ordinal).collect();
        assert_eq!(seen.last(), Some(&30));
        assert!(seen.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seen:?}");
    }

    #[test]
    fn rotated_files_are_compressed_and_read_like_the_others() {
        let folder = tempfile::tempdir().expect("tempdir");
        for (format, name) in [(Format::JsonFile, "j.log"), (Format::Local, "l.log")] {
            let path = folder.path().join(name);
            let config = WriterConfig {
                format,
                max_size: Some(500),
                max_file: 100,
                compress: true,
                ..WriterConfig::new(path.clone())
            };
            let mut log = Writer::open(config).expect("open");
            for number in 0..200 {
                let time = Timestamp { nanos: number, ..NOW };
                log.append(Stream::Stdout, format!("line {number}\n").as_bytes(), time).expect("append");
            }
            while (1..100).any(|number| rotated(&path, number).exists()) {
                std::thread::yield_now();
            }
            assert!(compressed(&path, 1).exists() && compressed(&path, 10).exists());
            let seen: Vec<_> = entries(&path, format).into_iter().map(|e| e.bytes).collect();
            assert_eq!(seen, (0..200).map(|n| format!("line {n}\n").into_bytes()).collect::<Vec<_>>());
            let options = ReadOptions { format, tail: Some(77), ..ReadOptions::default() };
            let mut reader = Reader::open(&path, options).expect("reader");
            assert_eq!(reader.next_entry().expect("entry").expect("first").bytes, b"line 123\n");
            drop(log);
            assert!(!crate::names::being_compressed(&path).exists());
        }
    }

    #[test]
    fn a_torn_message_of_the_local_format_is_cut_off_by_the_next_writer() {
        let folder = tempfile::tempdir().expect("tempdir");
        let config = local(folder.path(), None, 1);
        let path = config.path.clone();
        Writer::open(config.clone()).expect("open").append(Stream::Stdout, b"one\ntwo\n", NOW).expect("append");
        let whole = fs::read(&path).expect("log");
        for cut in 1..whole.len() / 2 {
            fs::write(&path, &whole[..whole.len() - cut]).expect("tear");
            let mut log = Writer::open(config.clone()).expect("open");
            log.append(Stream::Stdout, b"three\n", NOW).expect("append");
            let seen: Vec<_> = entries(&path, Format::Local).into_iter().map(|e| (e.bytes, e.ordinal)).collect();
            assert_eq!(seen, [(b"one\n".to_vec(), 1), (b"three\n".to_vec(), 2)], "cut by {cut}");
        }
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
