//! Rotated files are compressed by a thread that lives as long as there are any: the writer waits for none of it.
//!
//! The thread writes beside the log and gives the result its name under a lock that the writer takes to rotate: the file
//! it works on may get another number meanwhile, or be gone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use flate2::{Compression, GzBuilder};
use serde::{Deserialize, Serialize};

use crate::format::{BLOCK, Format};
use crate::names::{being_compressed, compressed, rotated};
use crate::{Entry, Timestamp, turning};

const STACK: usize = 256 << 10;
/// Below the processes of containers.
const NICENESS: i32 = 10;

/// What stands in the header of a compressed file: Docker's `lastTime`, by which a reading with `since` passes it over, and
/// our `inode`, by which a follower knows the file that it has read already.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Extra {
    #[serde(rename = "lastTime", default)]
    pub last_time: String,
    #[serde(default)]
    pub inode: u64,
}

#[derive(Debug)]
pub(crate) struct Compressor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    format: Format,
    max_file: u32,
    work: Mutex<Work>,
    cancelled: AtomicBool,
}

#[derive(Debug, Default)]
struct Work {
    running: bool,
    /// The number that the file in work has now; `None` when it has gone.
    number: Option<u32>,
}

impl Compressor {
    pub fn new(path: PathBuf, format: Format, max_file: u32) -> Self {
        let shared = Shared { path, format, max_file, work: Mutex::default(), cancelled: AtomicBool::new(false) };
        Self { shared: Arc::new(shared), thread: None }
    }

    /// Runs a rotation, which no name is given during.
    pub fn rotate(&self, rotate: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut work = self.shared.work();
        rotate()?;
        work.number = work.number.map(|number| number + 1).filter(|&number| number < self.shared.max_file);
        Ok(())
    }

    /// Sees to it that what is not compressed will be.
    pub fn start(&mut self) {
        let mut work = self.shared.work();
        if work.running {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let spawned = std::thread::Builder::new().name("compress".into()).stack_size(STACK).spawn(move || {
            // Only this thread's (setpriority(2), notes). Without it the work is the same.
            let _ = rustix::process::nice(NICENESS);
            shared.compress_all();
        });
        // Without a thread the files stay as they are until the next rotation; every reader takes both.
        if let Ok(thread) = spawned {
            work.running = true;
            self.thread = Some(thread);
        }
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        self.shared.cancelled.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic has been printed; the files are whole without it.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn compress_all(&self) {
        while let Some(file) = self.next() {
            let done = self.compress(&file);
            // Before the writer's own lock: that one it waits for.
            let turn = turning::wait_for_turn(&self.path);
            let mut work = self.work();
            let number = work.number.take();
            let part = being_compressed(&self.path);
            let named = done.and_then(|()| match number {
                Some(number) => {
                    fs::rename(&part, compressed(&self.path, number))?;
                    fs::remove_file(rotated(&self.path, number))
                }
                None => fs::remove_file(&part),
            });
            drop(turn);
            if named.is_err() {
                // A full disk, or the end: the file stays as it is, and is tried again after the next rotation.
                let _ = fs::remove_file(&part);
                work.running = false;
                return;
            }
        }
    }

    /// The newest file that is not compressed: it will be there for longest.
    fn next(&self) -> Option<File> {
        let mut work = self.work();
        let found = (1..self.max_file)
            .filter(|_| !self.cancelled.load(Ordering::Relaxed))
            .find_map(|number| Some((number, File::open(rotated(&self.path, number)).ok()?)));
        work.running = found.is_some();
        let (number, file) = found?;
        work.number = Some(number);
        Some(file)
    }

    fn compress(&self, file: &File) -> io::Result<()> {
        let metadata = file.metadata()?;
        let last_time = last_entry(file, self.format)?.map(|entry| entry.time).unwrap_or_default();
        let extra = Extra { last_time: last_time.to_string(), inode: metadata.ino() };
        let mut options = OpenOptions::new();
        let out = options.write(true).create(true).truncate(true).mode(0o640).open(being_compressed(&self.path))?;
        let builder = GzBuilder::new().extra(serde_json::to_vec(&extra)?);
        let mut encoder = builder.write(out, Compression::default());
        let (mut block, mut at) = (vec![0; BLOCK], 0);
        loop {
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match file.read_at(&mut block, at)? {
                0 => break,
                count => {
                    encoder.write_all(&block[..count])?;
                    at += count as u64;
                }
            }
        }
        encoder.finish()?;
        Ok(())
    }
}

/// The last message of a file that is not compressed.
pub(crate) fn last_entry(file: &File, format: Format) -> io::Result<Option<Entry>> {
    let size = format.whole_length(file, file.metadata()?.len())?;
    let (offset, _) = format.tail_offset(file, size, 1)?;
    let mut bytes = vec![0; usize::try_from(size - offset).unwrap_or(0).min(2 << 20)];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(match format.frame(&bytes) {
        crate::format::Frame::Whole { content, .. } => format.decode(&bytes[content]),
        _ => None,
    })
}

/// Reads a compressed file from its beginning.
pub(crate) struct Inflating {
    decoder: flate2::read::GzDecoder<File>,
    pub extra: Extra,
}

impl std::fmt::Debug for Inflating {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflating").field("extra", &self.extra).finish_non_exhaustive()
    }
}

impl Inflating {
    pub fn new(file: File) -> Self {
        let decoder = flate2::read::GzDecoder::new(file);
        let header = decoder.header().and_then(flate2::GzHeader::extra);
        let extra = header.and_then(|extra| serde_json::from_slice(extra).ok()).unwrap_or_default();
        Self { decoder, extra }
    }

    /// From the beginning again.
    pub fn restart(&mut self) -> io::Result<()> {
        let mut file = self.decoder.get_ref().try_clone()?;
        file.rewind()?;
        *self = Self::new(file);
        Ok(())
    }

    /// What it begins with, wherever the reading is.
    pub fn beginning(&self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        let start = FromStart { file: self.decoder.get_ref(), offset: 0 };
        flate2::read::GzDecoder::new(start).take(length as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    pub fn metadata(&self) -> io::Result<fs::Metadata> {
        self.decoder.get_ref().metadata()
    }

    /// When its last message was written, where the file tells.
    pub fn last_time(&self) -> Option<Timestamp> {
        self.extra.last_time.parse().ok()
    }
}

/// Reads without moving the place that others read at.
struct FromStart<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

impl Read for Inflating {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer)
    }
}
