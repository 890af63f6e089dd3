//! A writer that hashes and counts what goes through it.

use std::io::{self, Write};

use ids::Hasher;

pub(crate) struct HashedWriter<W> {
    pub inner: W,
    pub hasher: Hasher,
    pub bytes: u64,
}

impl<W> HashedWriter<W> {
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: Hasher::new(), bytes: 0 }
    }
}

impl<W: Write> Write for HashedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..length]);
        self.bytes += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
