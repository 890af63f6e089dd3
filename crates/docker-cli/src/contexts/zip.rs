//! Reads a zip archive that fits in memory: stored and deflated files by the central directory (APPNOTE.TXT 4.3).

use std::io::Read;

use crate::failure::Failure;

const END: &[u8] = b"PK\x05\x06";
const ENTRY: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";
const STORED: usize = 0;
const DEFLATED: usize = 8;

/// Whether it starts like one.
pub fn is_one(bytes: &[u8]) -> bool {
    bytes.starts_with(LOCAL) || bytes.starts_with(END)
}

/// All files with their contents; folders are left out.
pub fn files(bytes: &[u8], max_files: usize, max_size: u64) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    read(bytes, max_files, max_size).ok_or_else(|| Failure::text("zip: not a valid zip file"))
}

fn read(bytes: &[u8], max_files: usize, max_size: u64) -> Option<Vec<(String, Vec<u8>)>> {
    let end = bytes.windows(END.len()).rposition(|window| window == END)?;
    // The record ends with the length of a comment.
    number(bytes, end + 20, 2)?;
    let count = number(bytes, end + 10, 2)?;
    let mut at = number(bytes, end + 16, 4)?;
    if count > max_files {
        return None;
    }
    let mut found = Vec::new();
    for _ in 0..count {
        if bytes.get(at..at + 4)? != ENTRY {
            return None;
        }
        let (method, packed, size) =
            (number(bytes, at + 10, 2)?, number(bytes, at + 20, 4)?, number(bytes, at + 24, 4)?);
        let (name, extra, comment) =
            (number(bytes, at + 28, 2)?, number(bytes, at + 30, 2)?, number(bytes, at + 32, 2)?);
        let local = number(bytes, at + 42, 4)?;
        let path = String::from_utf8_lossy(bytes.get(at + 46..at + 46 + name)?).into_owned();
        at += 46 + name + extra + comment;
        if path.ends_with('/') {
            continue;
        }
        if bytes.get(local..local + 4)? != LOCAL || size as u64 > max_size {
            return None;
        }
        let start = local + 30 + number(bytes, local + 26, 2)? + number(bytes, local + 28, 2)?;
        let content = unpack(bytes.get(start..start.checked_add(packed)?)?, method, size)?;
        found.push((path, content));
    }
    Some(found)
}

fn unpack(packed: &[u8], method: usize, size: usize) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    match method {
        STORED => content.extend_from_slice(packed),
        DEFLATED => {
            let limit = u64::try_from(size).ok()? + 1;
            flate2::read::DeflateDecoder::new(packed).take(limit).read_to_end(&mut content).ok()?;
        }
        _ => return None,
    }
    (content.len() == size).then_some(content)
}

/// Little-endian.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let digits = bytes.get(at..at.checked_add(length)?)?;
    Some(digits.iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// One file, deflated, as other programs write it.
    fn archive(path: &str, content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        let packed = encoder.finish().unwrap();
        let sizes = [(packed.len() as u32).to_le_bytes(), (content.len() as u32).to_le_bytes()].concat();
        let name = (path.len() as u16).to_le_bytes();
        let method = (DEFLATED as u16).to_le_bytes();
        let mut out =
            [LOCAL, &[20, 0, 0, 0], &method, &[0; 8], &sizes, &name, &[0; 2], path.as_bytes(), &packed].concat();
        let start = (out.len() as u32).to_le_bytes();
        out.extend([ENTRY, &[20, 0, 20, 0, 0, 0], &method, &[0; 8], &sizes, &name, &[0; 16], path.as_bytes()].concat());
        out.extend([END, &[0; 4], &[1, 0, 1, 0], &[0; 4], &start, &[0; 2]].concat());
        out
    }

    #[test]
    fn files_come_out_and_hostile_archives_do_not_hurt() {
        let whole = archive("tls/docker/ca.pem", b"hello hello hello");
        assert!(is_one(&whole));
        assert_eq!(files(&whole, 1, 99).unwrap(), [("tls/docker/ca.pem".to_owned(), b"hello hello hello".to_vec())]);
        assert!(files(&whole, 0, 99).is_err());
        assert!(files(&whole, 1, 16).is_err());
        for length in 0..whole.len() {
            assert!(files(&whole[..length], 1, 99).is_err(), "cut at {length}");
        }
    }
}
