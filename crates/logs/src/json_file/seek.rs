//! Places in a file of lines, found without reading all of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::decode;
use crate::Timestamp;
use crate::format::BLOCK;

/// A torn end is looked for in this many bytes: more than any line can have.
const REPAIR_WINDOW: u64 = 1 << 20;

/// The length of the file up to the end of its last whole line.
pub(crate) fn whole_length(file: &File, size: u64) -> io::Result<u64> {
    let mut last = [0];
    if size == 0 || (file.read_exact_at(&mut last, size - 1).is_ok() && last[0] == b'\n') {
        return Ok(size);
    }
    let start = size.saturating_sub(REPAIR_WINDOW);
    let mut tail = vec![0; (size - start) as usize];
    file.read_exact_at(&mut tail, start)?;
    Ok(match memchr::memrchr(b'\n', &tail) {
        Some(end) => start + end as u64 + 1,
        None if start == 0 => 0,
        // No line end in more than a line's length: not our file's shape; nothing is cut.
        None => size,
    })
}

/// Where the last `wanted` whole lines of a file begin, and how many there are.
pub(crate) fn tail_offset(file: &File, size: u64, wanted: u64) -> io::Result<(u64, u64)> {
    let mut block = vec![0; BLOCK];
    let (mut ends, mut position) = (0, size);
    while position > 0 {
        let length = (BLOCK as u64).min(position) as usize;
        position -= length as u64;
        file.read_exact_at(&mut block[..length], position)?;
        for at in memchr::memrchr_iter(b'\n', &block[..length]) {
            ends += 1;
            // The end before the first wanted line: one more than there are wanted lines.
            if ends > wanted {
                return Ok((position + at as u64 + 1, wanted));
            }
        }
    }
    Ok((0, ends))
}

/// Halves the file until a block is left: times rise from line to line, but for parts of long lines, which have the time
/// of their first. So the place is one before the first line that is new enough, as far as the probes saw.
pub(crate) fn offset_before(file: &File, size: u64, since: Timestamp) -> io::Result<u64> {
    let (mut low, mut high) = (0, size);
    let mut block = vec![0; BLOCK];
    while high - low > BLOCK as u64 {
        let middle = low + (high - low) / 2;
        let length = (BLOCK as u64).min(size - middle) as usize;
        file.read_exact_at(&mut block[..length], middle)?;
        match first_time(&block[..length]) {
            Some((start, time)) if time < since => low = middle + start as u64,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The first whole line behind a line end, and its time.
fn first_time(block: &[u8]) -> Option<(usize, Timestamp)> {
    let start = memchr::memchr(b'\n', block)? + 1;
    let length = memchr::memchr(b'\n', &block[start..])?;
    Some((start, decode(&block[start..start + length])?.time))
}
