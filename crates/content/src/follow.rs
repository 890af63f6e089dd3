//! A blob read while it is being written: what unpacks a layer need not wait for the layer's last byte.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use ids::Digest;

/// How far a write is, for those who read along.
#[derive(Default)]
pub(crate) struct Watched {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    offset: u64,
    end: Option<End>,
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// What was written is this blob.
    Blob(Digest),
    /// It was dropped, removed, or begun anew.
    GivenUp,
}

impl Watched {
    pub fn reached(&self, offset: u64) {
        self.lock().offset = offset;
        self.changed.notify_all();
    }

    /// The first end counts.
    pub fn end(&self, end: End) {
        self.lock().end.get_or_insert(end);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of a blob on its way, from the first on. Reading waits for the writer. The end is reached only when the write
/// was committed and its digest is the one expected; a write that ends otherwise is an error of the reader.
pub struct Following {
    file: File,
    watched: Arc<Watched>,
    expected: Digest,
    position: u64,
}

impl Following {
    pub(crate) fn new(file: File, watched: Arc<Watched>, expected: Digest) -> Self {
        Self { file, watched, expected, position: 0 }
    }

    /// Whether the write has ended without becoming the blob.
    pub fn is_given_up(&self) -> bool {
        self.watched.lock().end.is_some_and(|end| end != End::Blob(self.expected))
    }

    /// Waits for bytes behind the position; none at the end.
    fn wait(&self) -> io::Result<u64> {
        let mut state = self.watched.lock();
        loop {
            match state.end {
                Some(End::GivenUp) => return Err(io::Error::other("the write was given up")),
                Some(End::Blob(found)) if found != self.expected => {
                    return Err(io::Error::other(format!("the write became {found}")));
                }
                Some(End::Blob(_)) => return Ok(state.offset.saturating_sub(self.position)),
                None if state.offset > self.position => return Ok(state.offset - self.position),
                None => state = self.watched.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Read for Following {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = usize::try_from(self.wait()?).unwrap_or(usize::MAX).min(buffer.len());
        if available == 0 {
            return Ok(0);
        }
        let length = self.file.read_at(&mut buffer[..available], self.position)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += length as u64;
        Ok(length)
    }
}
