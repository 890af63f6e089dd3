//! The 512-byte header block of ustar (POSIX.1-1988), GNU tar and their ancestor, both directions.

use crate::error::ArchiveError;

pub(crate) const BLOCK: usize = 512;

/// The fields of a block, decoded; names are not joined with what extended headers say.
#[derive(Debug)]
pub(crate) struct Header {
    pub name: Vec<u8>,
    pub link: Vec<u8>,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub size: u64,
    pub mtime: i64,
    pub flag: u8,
    pub device: (u32, u32),
}

/// Where a field lies in the block.
type Field = std::ops::Range<usize>;

const NAME: Field = 0..100;
const MODE: Field = 100..108;
const UID: Field = 108..116;
const GID: Field = 116..124;
const SIZE: Field = 124..136;
const MTIME: Field = 136..148;
const CHECKSUM: Field = 148..156;
const FLAG: usize = 156;
const LINK: Field = 157..257;
const MAGIC: Field = 257..265;
const MAJOR: Field = 329..337;
const MINOR: Field = 337..345;
const PREFIX: Field = 345..500;

impl Header {
    /// `None` for a block of zeros, which ends an archive.
    pub fn parse(block: &[u8; BLOCK]) -> Result<Option<Self>, ArchiveError> {
        if block.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        check_sum(block)?;
        let posix = &block[MAGIC] == b"ustar\x0000";
        let gnu = &block[MAGIC] == b"ustar  \x00";
        let mut name = text(&block[NAME]).to_vec();
        // GNU tar keeps times where POSIX keeps the prefix.
        if posix && block[PREFIX.start] != 0 {
            let mut joined = text(&block[PREFIX]).to_vec();
            joined.push(b'/');
            joined.append(&mut name);
            name = joined;
        }
        let flag = block[FLAG];
        let device = match flag {
            b'3' | b'4' if posix || gnu => (narrow(&block[MAJOR])?, narrow(&block[MINOR])?),
            _ => (0, 0),
        };
        Ok(Some(Self {
            name,
            link: text(&block[LINK]).to_vec(),
            mode: u32::try_from(unsigned(&block[MODE])?).map_err(|_| ArchiveError::Malformed("invalid mode"))? & 0o7777,
            uid: unsigned(&block[UID])?,
            gid: unsigned(&block[GID])?,
            size: unsigned(&block[SIZE])?,
            mtime: number(&block[MTIME])?,
            flag,
            device,
        }))
    }

    /// The block of this header in POSIX form. What does not fit was moved to a PAX header by the caller and is cut.
    pub fn encode(&self, prefix: &[u8]) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        put_text(&mut block[NAME], &self.name);
        put_octal(&mut block[MODE], u64::from(self.mode));
        put_octal(&mut block[UID], self.uid);
        put_octal(&mut block[GID], self.gid);
        put_octal(&mut block[SIZE], self.size);
        put_octal(&mut block[MTIME], u64::try_from(self.mtime).unwrap_or(0));
        block[FLAG] = self.flag;
        put_text(&mut block[LINK], &self.link);
        block[MAGIC].copy_from_slice(b"ustar\x0000");
        put_octal(&mut block[MAJOR], u64::from(self.device.0));
        put_octal(&mut block[MINOR], u64::from(self.device.1));
        put_text(&mut block[PREFIX], prefix);
        let (sum, _) = sums(&block);
        // Six digits, NUL, space: the form every reader takes.
        let digits = format!("{sum:06o}\0 ");
        block[CHECKSUM].copy_from_slice(digits.as_bytes());
        block
    }
}

/// The largest number that 12 and 8 bytes of octal digits hold.
pub(crate) const MAX_OCTAL_12: u64 = 0o77_777_777_777;
pub(crate) const MAX_OCTAL_8: u64 = 0o7_777_777;
/// Bytes of a name and of its prefix in a POSIX header.
pub(crate) const NAME_BYTES: usize = NAME.end - NAME.start;
pub(crate) const PREFIX_BYTES: usize = PREFIX.end - PREFIX.start;
pub(crate) const LINK_BYTES: usize = LINK.end - LINK.start;

fn check_sum(block: &[u8; BLOCK]) -> Result<(), ArchiveError> {
    let said = number(&block[CHECKSUM])?;
    let (unsigned, signed) = sums(block);
    // Some ancient tars summed signed characters.
    if said != i64::from(unsigned) && said != i64::from(signed) {
        return Err(ArchiveError::Malformed("invalid tar header"));
    }
    Ok(())
}

/// The sum of all bytes, taken unsigned and signed, with blanks in place of the checksum itself.
fn sums(block: &[u8; BLOCK]) -> (u32, i32) {
    let mut unsigned = 0;
    let mut signed = 0;
    for (at, byte) in block.iter().enumerate() {
        let byte = if CHECKSUM.contains(&at) { b' ' } else { *byte };
        unsigned += u32::from(byte);
        signed += i32::from(byte as i8);
    }
    (unsigned, signed)
}

fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    &field[..end]
}

fn unsigned(field: &[u8]) -> Result<u64, ArchiveError> {
    u64::try_from(number(field)?).map_err(|_| ArchiveError::Malformed("negative number in header"))
}

fn narrow(field: &[u8]) -> Result<u32, ArchiveError> {
    u32::try_from(number(field)?).map_err(|_| ArchiveError::Malformed("invalid device number"))
}

/// Octal digits between blanks, or GNU's big-endian two's complement behind a first bit.
pub(crate) fn number(field: &[u8]) -> Result<i64, ArchiveError> {
    if field[0] & 0x80 != 0 {
        return base256(field);
    }
    let digits = field.split(|b| *b == 0).next().unwrap_or_default().trim_ascii();
    let mut value: i64 = 0;
    for digit in digits {
        if !(b'0'..=b'7').contains(digit) {
            return Err(ArchiveError::Malformed("invalid number in header"));
        }
        value = value
            .checked_mul(8)
            .and_then(|v| v.checked_add(i64::from(digit - b'0')))
            .ok_or(ArchiveError::Malformed("number in header too large"))?;
    }
    Ok(value)
}

fn base256(field: &[u8]) -> Result<i64, ArchiveError> {
    let negative = field[0] & 0x40 != 0;
    let mut value: i128 = if negative { -1 } else { 0 };
    for (at, byte) in field.iter().enumerate() {
        let byte = if at == 0 { (byte & 0x3f) | if negative { 0xc0 } else { 0 } } else { *byte };
        value = value << 8 | i128::from(byte);
    }
    i64::try_from(value).map_err(|_| ArchiveError::Malformed("number in header too large"))
}

fn put_text(field: &mut [u8], bytes: &[u8]) {
    let length = bytes.len().min(field.len());
    field[..length].copy_from_slice(&bytes[..length]);
}

/// Zero-filled octal digits and a NUL; a number that does not fit leaves zeros, its PAX record says the truth.
fn put_octal(field: &mut [u8], value: u64) {
    let width = field.len() - 1;
    let digits = format!("{value:0width$o}");
    let shown = if digits.len() > width { "0".repeat(width) } else { digits };
    field[..width].copy_from_slice(shown.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Header {
        Header {
            name: b"etc/passwd".to_vec(),
            link: Vec::new(),
            mode: 0o644,
            uid: 1000,
            gid: 100,
            size: 12,
            mtime: 1_700_000_000,
            flag: b'0',
            device: (0, 0),
        }
    }

    #[test]
    fn a_block_read_back_is_what_was_written() {
        let read = Header::parse(&sample().encode(b"usr")).unwrap().unwrap();
        assert_eq!(read.name, b"usr/etc/passwd");
        assert_eq!((read.mode, read.uid, read.gid, read.size), (0o644, 1000, 100, 12));
        assert_eq!(read.mtime, 1_700_000_000);
    }

    #[test]
    fn a_changed_byte_breaks_the_checksum() {
        let mut block = sample().encode(b"");
        block[0] ^= 1;
        assert!(matches!(Header::parse(&block), Err(ArchiveError::Malformed("invalid tar header"))));
    }

    #[test]
    fn binary_numbers_are_read_and_too_large_ones_refused() {
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 1, 0]).unwrap(), 256);
        assert_eq!(number(&[0xff; 12]).unwrap(), -1);
        assert!(number(&[0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(number(b"12x4567\0").is_err());
        assert!(unsigned(&[0xff; 12]).is_err());
    }

    #[test]
    fn a_block_of_zeros_is_the_end() {
        assert!(Header::parse(&[0; BLOCK]).unwrap().is_none());
    }
}
