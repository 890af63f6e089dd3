//! The journal: batches of changes, appended before they are acknowledged, replayed after a crash.
//!
//! A record is `length: u32, sequence: u64, checksum: 16 bytes, payload`, integers little-endian; the checksum is the
//! front half of SHA-256 over sequence and payload. Sequences are consecutive, so records of an earlier round that lie
//! behind the newest one (the file is overwritten from its start after each checkpoint, not truncated: a sync of a file
//! that does not grow needs no second write for its size) never follow on and are not taken for new ones.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// Changes by full key: a new value, or none for a removal.
pub(crate) type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

const HEADER_BYTES: usize = 4 + 8 + CHECKSUM_BYTES;
const CHECKSUM_BYTES: usize = 16;
/// The file grows by this much zeros at a time.
const GROWTH_BYTES: u64 = 256 * 1024;
/// No record is larger: a batch stops collecting long before.
const MAX_RECORD_BYTES: usize = 256 * 1024 * 1024;

/// The open journal; only the writer thread appends, the sync thread holds the same file.
pub(crate) struct Journal {
    file: Arc<File>,
    end: u64,
    file_bytes: u64,
    sequence: u64,
}

/// What a replay found.
pub(crate) struct Replay {
    pub(crate) changes: Vec<Changes>,
    /// Sequence of the last record read, or the one asked for.
    pub(crate) sequence: u64,
}

impl Journal {
    /// Opens or makes the file and reads the records after `applied`.
    pub(crate) fn open(path: &Path, applied: u64) -> io::Result<(Self, Replay)> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let file_bytes = file.metadata()?.len();
        let replay = replay(&file, file_bytes, applied)?;
        let journal = Self { file: Arc::new(file), end: 0, file_bytes, sequence: replay.sequence };
        Ok((journal, replay))
    }

    pub(crate) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Bytes written since the last checkpoint.
    pub(crate) fn bytes(&self) -> u64 {
        self.end
    }

    /// Appends one batch. On an error nothing counts as written: the next append overwrites what is there.
    pub(crate) fn append(&mut self, changes: &Changes) -> io::Result<()> {
        let record = encode(self.sequence + 1, changes)?;
        let end = self.end + record.len() as u64;
        if end > self.file_bytes {
            let grown = end.next_multiple_of(GROWTH_BYTES);
            let zeros = vec![0; usize::try_from(grown - self.file_bytes).map_err(io::Error::other)?];
            self.file.write_all_at(&zeros, self.file_bytes)?;
            self.file_bytes = grown;
        }
        self.file.write_all_at(&record, self.end)?;
        self.end = end;
        self.sequence += 1;
        Ok(())
    }

    /// Empties the file after a replay: behind a torn record there may be whole ones that must never follow on.
    pub(crate) fn reset(&mut self) -> io::Result<()> {
        if self.file_bytes > 0 {
            self.file.set_len(0)?;
        }
        (self.end, self.file_bytes) = (0, 0);
        Ok(())
    }

    /// The database holds everything: the next record goes to the start.
    pub(crate) fn restart(&mut self) {
        self.end = 0;
    }
}

fn encode(sequence: u64, changes: &Changes) -> io::Result<Vec<u8>> {
    let mut record = vec![0; HEADER_BYTES];
    for (key, value) in changes {
        push_bytes(&mut record, key)?;
        match value {
            Some(value) => {
                record.push(1);
                push_bytes(&mut record, value)?;
            }
            None => record.push(0),
        }
    }
    let payload_bytes = record.len() - HEADER_BYTES;
    if payload_bytes > MAX_RECORD_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a batch of writes is too large"));
    }
    let length = u32::try_from(payload_bytes).map_err(io::Error::other)?;
    record[..4].copy_from_slice(&length.to_le_bytes());
    record[4..12].copy_from_slice(&sequence.to_le_bytes());
    let sum = checksum(sequence, &record[HEADER_BYTES..]);
    record[12..HEADER_BYTES].copy_from_slice(&sum);
    Ok(record)
}

fn push_bytes(record: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    record.extend_from_slice(&length.to_le_bytes());
    record.extend_from_slice(bytes);
    Ok(())
}

fn checksum(sequence: u64, payload: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hash = Sha256::new();
    hash.update(sequence.to_le_bytes());
    hash.update(payload);
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&hash.finalize()[..CHECKSUM_BYTES]);
    sum
}

fn replay(file: &File, file_bytes: u64, applied: u64) -> io::Result<Replay> {
    let mut replay = Replay { changes: Vec::new(), sequence: applied };
    let mut offset = 0;
    let mut expected = None;
    while let Some((sequence, payload)) = read_record(file, file_bytes, offset)? {
        if expected.is_some_and(|expected| sequence != expected) {
            break;
        }
        expected = Some(sequence + 1);
        offset += (HEADER_BYTES + payload.len()) as u64;
        if sequence <= applied {
            continue;
        }
        if sequence != replay.sequence + 1 {
            break;
        }
        let Some(changes) = decode(&payload) else { break };
        replay.changes.push(changes);
        replay.sequence = sequence;
    }
    Ok(replay)
}

/// The record at `offset`; none at the end, or where the bytes are no record.
fn read_record(file: &File, file_bytes: u64, offset: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
    let left = file_bytes.saturating_sub(offset);
    if left < HEADER_BYTES as u64 {
        return Ok(None);
    }
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, offset)?;
    let (Some(length), Some(sequence)) = (array(&header[..4]), array(&header[4..12])) else { return Ok(None) };
    let (length, sequence) = (u32::from_le_bytes(length) as usize, u64::from_le_bytes(sequence));
    if length > MAX_RECORD_BYTES || (HEADER_BYTES + length) as u64 > left || sequence == 0 {
        return Ok(None);
    }
    let mut payload = vec![0; length];
    file.read_exact_at(&mut payload, offset + HEADER_BYTES as u64)?;
    let valid = checksum(sequence, &payload) == header[12..];
    Ok(valid.then_some((sequence, payload)))
}

fn decode(mut payload: &[u8]) -> Option<Changes> {
    let mut changes = Changes::new();
    while !payload.is_empty() {
        let key = take_bytes(&mut payload)?;
        let value = match *payload.split_off_first()? {
            0 => None,
            1 => Some(take_bytes(&mut payload)?),
            _ => return None,
        };
        changes.insert(key, value);
    }
    Some(changes)
}

fn take_bytes(payload: &mut &[u8]) -> Option<Vec<u8>> {
    let length = u32::from_le_bytes(array(payload.split_off(..4)?)?) as usize;
    payload.split_off(..length).map(<[u8]>::to_vec)
}

fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn changes(pairs: &[(&str, Option<&str>)]) -> Changes {
        pairs.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.map(|v| v.as_bytes().to_vec()))).collect()
    }

    #[test]
    fn what_was_appended_is_replayed_in_order() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("journal");
        let (mut journal, replay) = Journal::open(&path, 0).expect("open");
        assert!(replay.changes.is_empty());
        let first = changes(&[("a", Some("1")), ("b", None)]);
        let second = changes(&[("a", None), ("c", Some(""))]);
        journal.append(&first).expect("append");
        journal.append(&second).expect("append");
        drop(journal);
        let (_, replay) = Journal::open(&path, 0).expect("reopen");
        assert_eq!((replay.changes, replay.sequence), (vec![first, second.clone()], 2));
        let (_, replay) = Journal::open(&path, 1).expect("reopen");
        assert_eq!(replay.changes, vec![second]);
    }

    #[test]
    fn records_of_an_earlier_round_are_not_taken_for_new_ones() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("journal");
        let (mut journal, _) = Journal::open(&path, 0).expect("open");
        let change = changes(&[("key", Some("same length"))]);
        for _ in 0..5 {
            journal.append(&change).expect("append");
        }
        journal.restart();
        journal.append(&change).expect("append");
        drop(journal);
        let (_, replay) = Journal::open(&path, 5).expect("reopen");
        assert_eq!((replay.changes.len(), replay.sequence), (1, 6));
    }

    proptest! {
        #[test]
        fn a_damaged_tail_ends_the_replay_and_never_yields_other_bytes(cut in 0_usize..400, flip in 1_u8..=255) {
            let folder = tempfile::tempdir().expect("tempdir");
            let path = folder.path().join("journal");
            let (mut journal, _) = Journal::open(&path, 0).expect("open");
            let all: Vec<Changes> = (0..8).map(|i| changes(&[(&format!("key{i}"), Some("a value"))])).collect();
            for change in &all {
                journal.append(change).expect("append");
            }
            let end = usize::try_from(journal.end).expect("small");
            let mut bytes = std::fs::read(&path).expect("read");
            let position = cut.min(end - 1);
            bytes[position] ^= flip;
            std::fs::write(&path, &bytes).expect("write");
            let (_, replay) = Journal::open(&path, 0).expect("reopen");
            let whole = position / (end / 8);
            prop_assert_eq!(&replay.changes[..], &all[..whole]);
        }
    }
}
