//! Docker's multiplexed stream: 8 bytes of header (stream, three zeros, length big-endian), then the bytes.

/// Where a piece belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// A header that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DemuxError {
    #[error("Unrecognized input header: {0}")]
    Header(u8),
    /// The daemon's own words about why the stream ended.
    #[error("error from daemon in stream: {0}")]
    System(String),
}

const HEADER: usize = 8;
/// Longest message of the daemon that is kept.
const MAX_SYSTEM: usize = 64 << 10;

/// Takes the stream apart as it comes, whatever the pieces.
#[derive(Debug, Default)]
pub struct Demux {
    header: Vec<u8>,
    kind: u8,
    left: usize,
    system: Vec<u8>,
}

impl Demux {
    /// Hands every piece of `bytes` to `emit`; nothing is copied.
    pub fn feed<E: From<DemuxError>>(
        &mut self,
        mut bytes: &[u8],
        mut emit: impl FnMut(Stream, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            if self.left == 0 {
                let take = (HEADER - self.header.len()).min(bytes.len());
                self.header.extend_from_slice(&bytes[..take]);
                bytes = &bytes[take..];
                if self.header.len() == HEADER {
                    self.kind = self.header[0];
                    let length = [self.header[4], self.header[5], self.header[6], self.header[7]];
                    self.left = u32::from_be_bytes(length) as usize;
                    self.header.clear();
                }
                continue;
            }
            let (piece, rest) = bytes.split_at(self.left.min(bytes.len()));
            self.left -= piece.len();
            bytes = rest;
            match self.kind {
                // 0 is standard input, which Docker's own client shows like output.
                0 | 1 => emit(Stream::Stdout, piece)?,
                2 => emit(Stream::Stderr, piece)?,
                3 => {
                    let room = MAX_SYSTEM.saturating_sub(self.system.len());
                    self.system.extend_from_slice(&piece[..piece.len().min(room)]);
                    if self.left == 0 {
                        let message = String::from_utf8_lossy(&self.system).trim().to_owned();
                        return Err(DemuxError::System(message).into());
                    }
                }
                other => return Err(DemuxError::Header(other).into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        [&[kind, 0, 0, 0], &length[..], text.as_bytes()].concat()
    }

    fn take_apart(pieces: &[&[u8]]) -> Result<(String, String), DemuxError> {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut demux = Demux::default();
        for piece in pieces {
            demux.feed(piece, |stream, bytes| {
                match stream {
                    Stream::Stdout => out.extend_from_slice(bytes),
                    Stream::Stderr => err.extend_from_slice(bytes),
                }
                Ok::<(), DemuxError>(())
            })?;
        }
        Ok((String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap()))
    }

    #[test]
    fn frames_come_apart_at_any_split() {
        let whole = [frame(1, "hello "), frame(2, "oops"), frame(1, ""), frame(1, "world")].concat();
        for size in 1..whole.len() {
            let pieces: Vec<&[u8]> = whole.chunks(size).collect();
            assert_eq!(take_apart(&pieces).unwrap(), ("hello world".to_owned(), "oops".to_owned()));
        }
    }

    #[test]
    fn the_daemons_last_words_and_nonsense_are_errors() {
        let error = take_apart(&[&frame(3, "gone\n")]).unwrap_err();
        assert_eq!(error.to_string(), "error from daemon in stream: gone");
        assert_eq!(take_apart(&[&frame(9, "x")]).unwrap_err(), DemuxError::Header(9));
    }
}
