//! gzip, zstd, bzip2 and xz, told apart by their first bytes, and read.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use ids::{Digest, Hasher};
use lzma_rust2::XzReader;

pub(crate) const BUFFER: usize = 256 << 10;
/// zstd's window: what the OCI media type lets a decoder refuse (RFC 8878 recommends 8 MiB at least; the tool's own limit
/// is 128 MiB).
const ZSTD_WINDOW_LOG: u32 = 27;
/// KiB that an xz stream may ask for: `xz -9` has a dictionary of 64 MiB, and a header may claim 4 GiB.
const XZ_MEMORY_KIB: u32 = 96 << 10;

/// How a layer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

impl Compression {
    /// Bytes that tell: the longest of the marks.
    pub const MARK_BYTES: usize = 6;

    /// By the first bytes of a blob (RFC 1952, RFC 8878, the formats of bzip2 and xz); whatever else it may be is taken
    /// as plain.
    pub fn detect(start: &[u8]) -> Self {
        match start {
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame may come first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// Counts and hashes what passes through it.
struct Hashed<R> {
    inner: R,
    hasher: Hasher,
    bytes: u64,
}

impl<R> Hashed<R> {
    fn new(inner: R) -> Self {
        Self { inner, hasher: Hasher::new(), bytes: 0 }
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        self.bytes += length as u64;
        Ok(length)
    }
}

/// The packed bytes: those that were looked at, and the rest.
type Packed<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

enum Stage<R: Read> {
    None(Packed<R>),
    // MultiGzDecoder: a gzip file is any number of members one behind the other (RFC 1952 2.2; pigz and eStargz).
    Gzip(MultiGzDecoder<Packed<R>>),
    Zstd(zstd::Decoder<'static, Packed<R>>),
    Bzip2(MultiBzDecoder<Packed<R>>),
    Xz(Box<XzReader<Packed<R>>>),
}

impl<R: Read> Read for Stage<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::None(inner) => inner.read(buffer),
            Self::Gzip(inner) => inner.read(buffer),
            Self::Zstd(inner) => inner.read(buffer),
            Self::Bzip2(inner) => inner.read(buffer),
            Self::Xz(inner) => inner.read(buffer),
        }
    }
}

impl<R: Read> Stage<R> {
    fn packed_mut(&mut self) -> &mut Packed<R> {
        match self {
            Self::None(inner) => inner,
            Self::Gzip(inner) => inner.get_mut(),
            Self::Zstd(inner) => inner.get_mut(),
            Self::Bzip2(inner) => inner.get_mut(),
            Self::Xz(inner) => inner.inner_mut(),
        }
    }
}

/// A blob's plain bytes, with their digest once it is read to its end. The packed ones are verified where they come in.
pub struct Decompressed<R: Read> {
    buffered: BufReader<Limited<Hashed<Stage<R>>>>,
    compression: Compression,
}

impl<R: Read> Decompressed<R> {
    /// Looks at the first bytes and chooses. More than `limit` plain bytes are an error of the reader.
    pub fn new(mut source: R, limit: u64) -> io::Result<Self> {
        let mut start = Vec::with_capacity(Compression::MARK_BYTES);
        source.by_ref().take(Compression::MARK_BYTES as u64).read_to_end(&mut start)?;
        let compression = Compression::detect(&start);
        let packed = BufReader::with_capacity(BUFFER, Cursor::new(start).chain(source));
        let stage = match compression {
            Compression::None => Stage::None(packed),
            Compression::Gzip => Stage::Gzip(MultiGzDecoder::new(packed)),
            Compression::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(packed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Stage::Zstd(decoder)
            }
            Compression::Bzip2 => Stage::Bzip2(MultiBzDecoder::new(packed)),
            Compression::Xz => Stage::Xz(Box::new(XzReader::new_mem_limit(packed, true, XZ_MEMORY_KIB))),
        };
        let limited = Limited { inner: Hashed::new(stage), left: limit };
        Ok(Self { buffered: BufReader::with_capacity(BUFFER, limited), compression })
    }

    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Digest and number of the plain bytes, after reading what is left of both forms: trailing bytes count as well.
    pub fn finish(mut self) -> io::Result<(Digest, u64)> {
        discard(&mut self.buffered)?;
        let mut plain = self.buffered.into_inner().inner;
        discard(plain.inner.packed_mut())?;
        Ok((plain.hasher.finish(), plain.bytes))
    }
}

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.buffered.read(buffer)
    }
}

impl<R: Read> BufRead for Decompressed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.buffered.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.buffered.consume(amount);
    }
}

/// Ends with an error where `Take` would end silently.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        match self.left.checked_sub(length as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::new(io::ErrorKind::InvalidData, "archive too large when decompressed")),
        }
        Ok(length)
    }
}

fn discard<R: BufRead>(source: &mut R) -> io::Result<()> {
    loop {
        let length = source.fill_buf()?.len();
        if length == 0 {
            return Ok(());
        }
        source.consume(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compressor::Compressor;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut compressor = Compressor::new(Vec::new());
        compressor.write_all(bytes).unwrap();
        compressor.finish().unwrap().0
    }

    fn bzip2(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut writer = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8], limit: u64) -> io::Result<(Vec<u8>, Compression, (Digest, u64))> {
        let mut reader = Decompressed::new(bytes, limit)?;
        let mut plain = Vec::new();
        reader.read_to_end(&mut plain)?;
        let compression = reader.compression();
        Ok((plain, compression, reader.finish()?))
    }

    #[test]
    fn the_digest_is_that_of_the_whole_plain_form() {
        let plain = b"a layer, or what passes for one".repeat(1000);
        for (packed, kind) in [
            (plain.clone(), Compression::None),
            (gzip(&plain), Compression::Gzip),
            (zstd::encode_all(&plain[..], 3).unwrap(), Compression::Zstd),
            (bzip2(&plain), Compression::Bzip2),
            (xz(&plain), Compression::Xz),
        ] {
            let (read, compression, (digest, size)) = read(&packed, u64::MAX).unwrap();
            assert!(read == plain, "{kind:?}");
            assert_eq!(compression, kind);
            assert_eq!((digest, size), (Digest::of(&plain), plain.len() as u64));
        }
    }

    #[test]
    fn gzip_members_one_behind_the_other_are_one_stream() {
        let packed = [gzip(b"first "), gzip(b"second")].concat();
        assert_eq!(read(&packed, 100).unwrap().0, b"first second");
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let error = read(&gzip(&vec![0; 1 << 20]), 1000).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn an_xz_stream_may_not_ask_for_gigabytes() {
        // `printf x | xz --lzma2=dict=1536MiB`
        let greedy =
            b"\xfd\x37\x7a\x58\x5a\0\0\x04\xe6\xd6\xb4\x46\x02\0\x21\x01\x25\0\0\0\x3b\x78\x7b\x41\x01\0\0\x78\0\0\0\0\
            \x45\xae\xef\x83\xf8\xee\x16\x0a\0\x01\x19\x01\xa5\x2c\x81\xcc\x1f\xb6\xf3\x7d\x01\0\0\0\0\x04\x59\x5a";
        let error = read(greedy, 100).unwrap_err().to_string();
        assert!(error.contains("memory"), "{error}");
    }

    #[test]
    fn a_torn_bzip2_or_xz_is_an_error() {
        let plain = b"some text that is long enough".repeat(50);
        for packed in [bzip2(&plain), xz(&plain)] {
            assert!(read(&packed[..packed.len() - 4], 10_000).is_err());
            assert!(read(&packed[..packed.len() / 2], 10_000).is_err());
        }
    }

    #[test]
    fn a_torn_gzip_is_an_error() {
        let packed = gzip(&b"some text that is long enough".repeat(50));
        assert!(read(&packed[..packed.len() - 4], 10_000).is_err());
        assert!(read(&packed[..packed.len() / 2], 10_000).is_err());
    }

    #[test]
    fn fewer_than_four_bytes_are_plain() {
        assert_eq!(read(b"abc", 10).unwrap().0, b"abc");
        assert_eq!(read(b"", 10).unwrap().2, (Digest::of(b""), 0));
    }
}
