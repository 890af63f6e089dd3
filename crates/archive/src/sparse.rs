//! Files with holes, of which an archive has the rest alone: GNU tar's own header (`S`), and what PAX records say in three
//! versions (tar manual, "Sparse Formats"). Go's archive/tar, and so Docker, reads all four.

use std::collections::VecDeque;

use crate::error::ArchiveError;
use crate::header::{BLOCK, number};
use crate::limits::Limits;

const BAD: ArchiveError = ArchiveError::Malformed("invalid map of a sparse file");

/// Where the map lies in an old header, and in the blocks behind it: offset and length, 12 bytes each.
const FIRST_ENTRIES: std::ops::Range<usize> = 386..482;
const FIRST_MORE: usize = 482;
const REAL_SIZE: std::ops::Range<usize> = 483..495;
const NEXT_ENTRIES: std::ops::Range<usize> = 0..504;
const NEXT_MORE: usize = 504;
const ENTRY: usize = 24;

/// What the PAX records of a file say about its holes.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub major: u64,
    pub name: Option<Vec<u8>>,
    size: Option<u64>,
    numbers: Vec<u64>,
    any: bool,
}

/// Where the bytes of a file belong that are stored one behind the other.
#[derive(Debug, Default)]
pub(crate) struct SparseMap {
    /// Offset and length, in order.
    runs: VecDeque<(u64, u64)>,
    pub size: u64,
    at: u64,
}

/// What comes next of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Zeros(u64),
    Stored(u64),
}

impl Records {
    /// A record whose key begins with `GNU.sparse.`, which `key` is without.
    pub fn read(&mut self, key: &[u8], value: &[u8]) -> Result<(), ArchiveError> {
        self.any = true;
        match key {
            b"major" => self.major = decimal(value)?,
            b"minor" | b"numblocks" => {}
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size = Some(decimal(value)?),
            b"offset" | b"numbytes" => self.numbers.push(decimal(value)?),
            b"map" => {
                for number in value.split(|b| *b == b',').filter(|number| !number.is_empty()) {
                    self.numbers.push(decimal(number)?);
                }
            }
            _ => return Err(BAD),
        }
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        !self.any
    }

    /// The map that the records are themselves (versions 0.0 and 0.1).
    pub fn map(self) -> Result<SparseMap, ArchiveError> {
        let size = self.size.ok_or(BAD)?;
        SparseMap::new(&self.numbers, size)
    }

    /// The lines of the map that stands before the file's bytes (version 1.0), once its first one is there.
    pub fn lines(text: &[u8]) -> Result<Option<u64>, ArchiveError> {
        const LONGEST: usize = 20;
        match text.iter().take(LONGEST).position(|b| *b == b'\n') {
            Some(end) => {
                decimal(&text[..end])?.checked_mul(2).and_then(|lines| lines.checked_add(1)).ok_or(BAD).map(Some)
            }
            None if text.len() < LONGEST => Ok(None),
            None => Err(BAD),
        }
    }

    /// That map, all of whose lines have come.
    pub fn map_of_lines(&self, text: &[u8], lines: u64) -> Result<SparseMap, ArchiveError> {
        let entries = usize::try_from(lines.saturating_sub(1)).map_err(|_| BAD)?;
        let numbers: Result<Vec<u64>, _> = text.split(|b| *b == b'\n').skip(1).take(entries).map(decimal).collect();
        SparseMap::new(&numbers?, self.size.ok_or(BAD)?)
    }
}

impl SparseMap {
    /// Of pairs of offset and length.
    fn new(numbers: &[u64], size: u64) -> Result<Self, ArchiveError> {
        let (pairs, rest) = numbers.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(BAD);
        }
        let mut end = 0;
        let mut runs = VecDeque::with_capacity(pairs.len());
        for [offset, length] in pairs {
            let next = offset.checked_add(*length).ok_or(BAD)?;
            if *offset < end || next > size {
                return Err(BAD);
            }
            end = next;
            if *length > 0 {
                runs.push_back((*offset, *length));
            }
        }
        Ok(Self { runs, size, at: 0 })
    }

    /// Of an old header and the blocks behind it, which `next` gives one by one.
    pub fn of_header(
        block: &[u8; BLOCK],
        limits: &Limits,
        mut next: impl FnMut() -> Result<[u8; BLOCK], ArchiveError>,
    ) -> Result<Self, ArchiveError> {
        let size = u64::try_from(number(&block[REAL_SIZE])?).map_err(|_| BAD)?;
        let mut numbers = Vec::new();
        let mut more = pairs(&block[FIRST_ENTRIES], &mut numbers)? && block[FIRST_MORE] != 0;
        while more {
            if numbers.len() * size_of::<u64>() > limits.header_bytes {
                return Err(ArchiveError::Limit { what: "map of a sparse file", limit: limits.header_bytes as u64 });
            }
            let block = next()?;
            more = block[NEXT_MORE] != 0;
            pairs(&block[NEXT_ENTRIES], &mut numbers)?;
        }
        Self::new(&numbers, size)
    }

    /// Bytes that the archive has to have.
    pub fn stored(&self) -> u64 {
        self.runs.iter().map(|(_, length)| length).sum()
    }

    /// What comes next, none at the file's end.
    pub fn step(&self) -> Option<Step> {
        match self.runs.front() {
            Some((offset, _)) if self.at < *offset => Some(Step::Zeros(offset - self.at)),
            Some((offset, length)) => Some(Step::Stored(offset + length - self.at)),
            None if self.at < self.size => Some(Step::Zeros(self.size - self.at)),
            None => None,
        }
    }

    /// So many bytes of it were taken.
    pub fn advance(&mut self, bytes: u64) {
        self.at += bytes;
        if self.runs.front().is_some_and(|(offset, length)| self.at >= offset + length) {
            self.runs.pop_front();
        }
    }
}

/// The entries of an old header; false if they end before the block does.
fn pairs(bytes: &[u8], numbers: &mut Vec<u64>) -> Result<bool, ArchiveError> {
    for entry in bytes.chunks_exact(ENTRY) {
        if entry[0] == 0 {
            return Ok(false);
        }
        for field in entry.chunks_exact(ENTRY / 2) {
            numbers.push(u64::try_from(number(field)?).map_err(|_| BAD)?);
        }
    }
    Ok(true)
}

fn decimal(digits: &[u8]) -> Result<u64, ArchiveError> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    text.and_then(|text| text.parse().ok()).filter(|value| *value <= i64::MAX as u64).ok_or(BAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_holes_follow_each_other_to_the_end() {
        let mut map = SparseMap::new(&[2, 3, 8, 0, 9, 1], 12).unwrap();
        assert_eq!(map.stored(), 4);
        let mut steps = Vec::new();
        while let Some(step) = map.step() {
            let (Step::Zeros(length) | Step::Stored(length)) = step;
            map.advance(length);
            steps.push(step);
        }
        use Step::{Stored, Zeros};
        assert_eq!(steps, [Zeros(2), Stored(3), Zeros(4), Stored(1), Zeros(2)]);
    }

    #[test]
    fn a_map_that_overlaps_or_passes_the_end_is_refused() {
        for numbers in [&[0, 5, 4, 1][..], &[0, 13], &[u64::MAX, 2], &[1]] {
            assert!(SparseMap::new(numbers, 12).is_err(), "{numbers:?}");
        }
    }

    #[test]
    fn a_map_in_the_content_is_read_when_it_is_whole() {
        let mut records = Records::default();
        records.read(b"realsize", b"20").unwrap();
        let text = b"2\n0\n5\n10\n10\n\0\0";
        assert_eq!(Records::lines(text).unwrap(), Some(5));
        let map = records.map_of_lines(text, 5).unwrap();
        assert_eq!((map.stored(), map.size), (15, 20));
        assert_eq!(Records::lines(b"2").unwrap(), None);
        assert!(Records::lines(b"x\n").is_err());
        assert!(Records::lines(b"99999999999999999999999").is_err());
    }
}
