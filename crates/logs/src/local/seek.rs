//! Places in a file of messages, found from its end where that is whole.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::{LENGTH, MAX_MESSAGE, length_at};
use crate::format::{BLOCK, Format};

/// The length of the file up to the end of its last whole message.
pub(crate) fn whole_length(file: &File, size: u64) -> io::Result<u64> {
    if size == 0 || Backwards::new(file, size).step()?.is_some() {
        return Ok(size);
    }
    // Torn: the messages are counted from the beginning.
    let (mut block, mut start, mut whole) = (Vec::new(), 0, 0);
    loop {
        let filled = block.len();
        let wanted = (BLOCK as u64).min(size - start - filled as u64) as usize;
        if wanted == 0 || filled > MAX_MESSAGE + 2 * LENGTH {
            return Ok(whole);
        }
        block.resize(filled + wanted, 0);
        file.read_exact_at(&mut block[filled..], start + filled as u64)?;
        let done = Format::Local.whole_prefix(&block);
        block.drain(..done);
        start += done as u64;
        whole = start;
    }
}

/// Where the last `wanted` whole messages of a file begin, and how many there are.
pub(crate) fn tail_offset(file: &File, size: u64, wanted: u64) -> io::Result<(u64, u64)> {
    let mut walk = Backwards::new(file, whole_length(file, size)?);
    let mut found = 0;
    while found < wanted {
        match walk.step()? {
            Some(_) => found += 1,
            None => break,
        }
    }
    Ok((walk.position, found))
}

/// Steps over messages from the end of a file.
struct Backwards<'f> {
    file: &'f File,
    /// The beginning of the message that was stepped over last.
    position: u64,
    block: Vec<u8>,
    /// Where the block lies in the file.
    start: u64,
}

impl<'f> Backwards<'f> {
    fn new(file: &'f File, end: u64) -> Self {
        Self { file, position: end, block: Vec::new(), start: end }
    }

    /// The beginning of the message before; `None` at the beginning of the file, or where there is no message.
    fn step(&mut self) -> io::Result<Option<u64>> {
        let lengths = 2 * LENGTH as u64;
        if self.position < lengths {
            return Ok(None);
        }
        let Some(length) = self.length_at(self.position - LENGTH as u64)? else { return Ok(None) };
        if length > MAX_MESSAGE || self.position < length as u64 + lengths {
            return Ok(None);
        }
        let begin = self.position - length as u64 - lengths;
        if self.length_at(begin)? != Some(length) {
            return Ok(None);
        }
        self.position = begin;
        Ok(Some(begin))
    }

    fn length_at(&mut self, at: u64) -> io::Result<Option<usize>> {
        if at < self.start || at + LENGTH as u64 > self.start + self.block.len() as u64 {
            // A block that ends behind the wanted length: what comes next lies before it.
            let end = at + LENGTH as u64;
            self.start = end.saturating_sub(BLOCK as u64);
            self.block.resize((end - self.start) as usize, 0);
            self.file.read_exact_at(&mut self.block, self.start)?;
        }
        Ok(length_at(&self.block, (at - self.start) as usize))
    }
}
