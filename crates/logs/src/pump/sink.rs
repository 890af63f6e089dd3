//! The way of output into the log: at once, or over a bounded buffer and a thread, so that a slow disk holds up nobody.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::LogMode;
use crate::{Stream, Timestamp, WriteError, Writer, WriterConfig};

const STACK: usize = 256 << 10;

#[derive(Debug)]
pub(super) enum Sink {
    Direct(Box<Writer>),
    Buffered(Buffered),
}

impl Sink {
    pub fn open(config: WriterConfig, mode: LogMode) -> Result<Self, WriteError> {
        let path = config.path.clone();
        let writer = Writer::open(config)?;
        match mode {
            LogMode::Blocking => Ok(Self::Direct(Box::new(writer))),
            LogMode::NonBlocking(limit) => Buffered::new(writer, path, limit).map(Self::Buffered),
        }
    }

    /// Takes a chunk. A failure may be that of an earlier one.
    pub fn append(&mut self, stream: Stream, bytes: &[u8], now: Timestamp) -> Result<(), WriteError> {
        match self {
            Self::Direct(writer) => writer.append(stream, bytes, now),
            Self::Buffered(buffered) => buffered.append(stream, bytes, now),
        }
    }

    /// The stream has ended.
    pub fn finish(&mut self, stream: Stream, now: Timestamp) -> Result<(), WriteError> {
        match self {
            Self::Direct(writer) => writer.finish(stream, now),
            Self::Buffered(buffered) => buffered.finish(stream, now),
        }
    }

    /// Everything that was taken is in the log when this returns.
    pub fn close(self) -> Result<(), WriteError> {
        match self {
            Self::Direct(_) => Ok(()),
            Self::Buffered(buffered) => buffered.close(),
        }
    }
}

/// A log of mode non-blocking. As in Docker, what comes while the buffer is full is dropped, whole lines of it.
#[derive(Debug)]
pub(super) struct Buffered {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
    limit: usize,
    path: PathBuf,
    /// The stream lost something: its output is dropped up to the next line end.
    dropping: [bool; 2],
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Item>,
    bytes: usize,
    dropped: u64,
    closed: bool,
    failure: Option<WriteError>,
}

#[derive(Debug)]
enum Item {
    Chunk(Stream, Vec<u8>, Timestamp),
    Finish(Stream, Timestamp),
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffered {
    fn new(writer: Writer, path: PathBuf, limit: usize) -> Result<Self, WriteError> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let builder = std::thread::Builder::new().name("log".into()).stack_size(STACK);
        let failed = |source| WriteError::Open { path: path.clone(), source };
        let thread = builder.spawn(move || write_all(&theirs, writer)).map_err(failed)?;
        Ok(Self { shared, thread, limit, path, dropping: [false; 2] })
    }

    fn append(&mut self, stream: Stream, mut bytes: &[u8], now: Timestamp) -> Result<(), WriteError> {
        let dropping = &mut self.dropping[usize::from(stream == Stream::Stderr)];
        let mut state = self.shared.state();
        if *dropping {
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                state.dropped += bytes.len() as u64;
                return Ok(());
            };
            state.dropped += end as u64 + 1;
            bytes = &bytes[end + 1..];
            *dropping = false;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        if state.bytes + bytes.len() > self.limit && !state.queue.is_empty() {
            state.dropped += bytes.len() as u64;
            // What the buffer has of the line stands for itself; what comes next may begin within a line.
            if bytes.last() != Some(&b'\n') {
                *dropping = true;
            }
            if !matches!(state.queue.back(), Some(Item::Finish(ended, _)) if *ended == stream) {
                state.queue.push_back(Item::Finish(stream, now));
            }
            return Ok(());
        }
        state.bytes += bytes.len();
        state.queue.push_back(Item::Chunk(stream, bytes.to_vec(), now));
        let failure = take_failure(&mut state, &self.path);
        drop(state);
        self.shared.changed.notify_one();
        failure
    }

    fn finish(&mut self, stream: Stream, now: Timestamp) -> Result<(), WriteError> {
        self.shared.state().queue.push_back(Item::Finish(stream, now));
        self.shared.changed.notify_one();
        Ok(())
    }

    fn close(self) -> Result<(), WriteError> {
        self.shared.state().closed = true;
        self.shared.changed.notify_one();
        // A panic has been printed.
        let _ = self.thread.join();
        take_failure(&mut self.shared.state(), &self.path)
    }
}

/// A failure of the disk, or, once there is room again, how much was lost.
fn take_failure(state: &mut State, path: &Path) -> Result<(), WriteError> {
    if let Some(failure) = state.failure.take() {
        return Err(failure);
    }
    match std::mem::take(&mut state.dropped) {
        0 => Ok(()),
        bytes => Err(WriteError::Overrun { path: path.to_owned(), bytes }),
    }
}

fn write_all(shared: &Shared, mut writer: Writer) {
    loop {
        let mut state = shared.state();
        let item = loop {
            match state.queue.pop_front() {
                Some(item) => break item,
                None if state.closed => return,
                None => state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(state);
        let (written, taken) = match item {
            Item::Chunk(stream, bytes, time) => (writer.append(stream, &bytes, time), bytes.len()),
            Item::Finish(stream, time) => (writer.finish(stream, time), 0),
        };
        let mut state = shared.state();
        // Counted until it is in the file: the limit is what memory holds.
        state.bytes -= taken;
        if let Err(failure) = written {
            state.failure.get_or_insert(failure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ReadOptions, Reader};

    const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanos: 0 };

    fn lines(path: &Path) -> Vec<String> {
        let mut reader = Reader::open(path, ReadOptions::default()).expect("log");
        std::iter::from_fn(|| reader.next_entry().expect("entry"))
            .map(|entry| String::from_utf8(entry.bytes).expect("text"))
            .collect()
    }

    #[test]
    fn what_fits_the_buffer_is_in_the_log_after_the_close() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("c.log");
        let mut sink = Sink::open(WriterConfig::new(path.clone()), LogMode::NonBlocking(1 << 20)).expect("open");
        for number in 0..1000 {
            sink.append(Stream::Stdout, format!("{number}\n").as_bytes(), NOW).expect("append");
        }
        sink.append(Stream::Stdout, b"unfinished", NOW).expect("append");
        sink.finish(Stream::Stdout, NOW).expect("finish");
        sink.close().expect("close");
        let mut wanted: Vec<_> = (0..1000).map(|number| format!("{number}\n")).collect();
        wanted.push("unfinished".to_owned());
        assert_eq!(lines(&path), wanted);
    }

    #[test]
    fn a_full_buffer_drops_whole_lines_and_says_how_much() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("c.log");
        let mut sink = Sink::open(WriterConfig::new(path.clone()), LogMode::NonBlocking(20)).expect("open");
        let Sink::Buffered(buffered) = &mut sink else { panic!("not buffered") };
        let shared = Arc::clone(&buffered.shared);
        // The writer's thread waits for the lock as it would for a disk.
        {
            let mut state = shared.state();
            state.bytes = 100;
            state.queue.push_back(Item::Chunk(Stream::Stdout, b"first\nbegun ".to_vec(), NOW));
        }
        let taken = |sink: &mut Sink, text: &[u8]| sink.append(Stream::Stdout, text, NOW);
        // Nothing was notified: the thread sleeps, the buffer stays full.
        taken(&mut sink, b"lost\nlost to").expect("dropped");
        taken(&mut sink, b" the line's end\n").expect("dropped");
        shared.state().bytes = 12;
        let failure = taken(&mut sink, b"kept\n").expect_err("says what was lost");
        assert!(matches!(failure, WriteError::Overrun { bytes: 28, .. }), "{failure}");
        sink.close().expect("close");
        assert_eq!(lines(&path), ["first\n", "begun ", "kept\n"]);
    }
}
