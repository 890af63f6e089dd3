//! What a client has not taken yet: first in memory, then in an unlinked file.

use rustix::fs::{Mode, OFlags, open, unlink};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of one client kept in memory.
pub const MEMORY_LIMIT: usize = 64 << 10;
/// Bytes of one client kept in its file; beyond, the client is dropped.
pub const SPILL_LIMIT: u64 = 1 << 30;

/// The client is too slow for what may be kept for it, or there is no room.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("more than {0} bytes are waiting")]
    Full(u64),
    #[error("cannot keep what is waiting in a file")]
    File(#[from] io::Error),
}

#[derive(Debug)]
pub struct Queue {
    memory: Vec<u8>,
    start: usize,
    spill: Option<Spill>,
    /// Where the file is made.
    folder: PathBuf,
    limit: u64,
}

#[derive(Debug)]
struct Spill {
    file: File,
    read: u64,
    written: u64,
}

impl Queue {
    pub fn new(folder: PathBuf, limit: u64) -> Self {
        Self { memory: Vec::new(), start: 0, spill: None, folder, limit }
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.memory.len() && self.spill.is_none()
    }

    /// Appends; memory is used until the file has begun, then the file until it is drained.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), QueueError> {
        if self.spill.is_none() && self.memory.len() - self.start + bytes.len() <= MEMORY_LIMIT {
            self.memory.drain(..self.start);
            self.start = 0;
            self.memory.extend_from_slice(bytes);
            return Ok(());
        }
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => none.insert(Spill { file: unlinked_file(&self.folder)?, read: 0, written: 0 }),
        };
        if spill.written - spill.read + bytes.len() as u64 > self.limit {
            return Err(QueueError::Full(self.limit));
        }
        spill.file.write_all_at(bytes, spill.written)?;
        spill.written += bytes.len() as u64;
        Ok(())
    }

    /// The next bytes to send; empty only if the queue is.
    pub fn front(&mut self) -> Result<&[u8], QueueError> {
        if self.start == self.memory.len()
            && let Some(spill) = &mut self.spill
        {
            let length = (spill.written - spill.read).min(MEMORY_LIMIT as u64) as usize;
            self.memory.resize(length, 0);
            self.start = 0;
            spill.file.read_exact_at(&mut self.memory, spill.read)?;
            spill.read += length as u64;
            if spill.read == spill.written {
                self.spill = None;
            }
        }
        Ok(&self.memory[self.start..])
    }

    pub fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start >= self.memory.len() {
            self.memory = Vec::new();
            self.start = 0;
        }
    }
}

/// A file without a name: it goes with its descriptor, whatever happens to us.
fn unlinked_file(folder: &Path) -> io::Result<File> {
    let mode = Mode::RUSR | Mode::WUSR;
    match open(folder, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode) {
        Ok(file) => return Ok(File::from(file)),
        // Not every file system has O_TMPFILE (open(2)).
        Err(errno) if matches!(io::Error::from(errno).kind(), ErrorKind::Unsupported | ErrorKind::IsADirectory) => {}
        Err(errno) => return Err(errno.into()),
    }
    let path = folder.join(format!(".spill-{}", std::process::id()));
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    let file = open(&path, flags, mode)?;
    unlink(&path)?;
    Ok(File::from(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn past_the_limit_of_the_file_the_queue_is_full_and_keeps_what_it_has() {
        let folder = tempfile::tempdir().expect("tempdir");
        let mut queue = Queue::new(folder.path().to_owned(), 100_000);
        queue.push(&[1; MEMORY_LIMIT]).expect("memory");
        queue.push(&[2; 90_000]).expect("file");
        assert!(matches!(queue.push(&[3; 20_000]), Err(QueueError::Full(100_000))));
        assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 0, "the file has no name");
        let mut seen = Vec::new();
        while !queue.is_empty() {
            let front = queue.front().expect("front").to_vec();
            queue.consume(front.len());
            seen.extend(front);
        }
        assert_eq!(seen, [vec![1; MEMORY_LIMIT], vec![2; 90_000]].concat());
        assert!(queue.spill.is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn bytes_come_out_in_order_however_they_are_pushed_and_taken(
            steps in proptest::collection::vec((0usize..90_000, 0usize..90_000), 1..12)
        ) {
            let folder = tempfile::tempdir().expect("tempdir");
            let mut queue = Queue::new(folder.path().to_owned(), SPILL_LIMIT);
            let (mut pushed, mut taken) = (0u32, 0u32);
            for (push, take) in steps {
                let bytes: Vec<u8> = (0..push).map(|index| ((pushed as usize + index) % 251) as u8).collect();
                queue.push(&bytes).expect("push");
                pushed += push as u32;
                let front = queue.front().expect("front");
                let count = take.min(front.len());
                for &byte in &front[..count] {
                    prop_assert_eq!(u32::from(byte), taken % 251);
                    taken += 1;
                }
                queue.consume(count);
            }
            while !queue.is_empty() {
                let count = queue.front().expect("front").len();
                queue.consume(count);
                taken += count as u32;
            }
            prop_assert_eq!(taken, pushed);
        }
    }
}
