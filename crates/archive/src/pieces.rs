//! Bytes that leave a thread that blocks.

use std::io::{self, Write};

/// Bytes of a piece; the last one is smaller.
const PIECE: usize = 256 << 10;

/// Hands on what is written to it in pieces of one size. The last goes out with [`Write::flush`].
pub struct Pieces {
    send: Box<dyn FnMut(Vec<u8>) -> io::Result<()> + Send>,
    buffer: Vec<u8>,
}

impl Pieces {
    /// `send` may block: whoever takes the pieces sets the pace.
    pub fn new(send: impl FnMut(Vec<u8>) -> io::Result<()> + Send + 'static) -> Self {
        Self { send: Box::new(send), buffer: Vec::with_capacity(PIECE) }
    }
}

impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pieces").field("waiting", &self.buffer.len()).finish_non_exhaustive()
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        if piece.is_empty() { Ok(()) } else { (self.send)(piece) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn what_is_written_goes_out_whole_and_in_pieces() {
        let (sender, pieces) = mpsc::channel();
        let mut out = Pieces::new(move |piece| sender.send(piece).map_err(io::Error::other));
        for number in 0..10u8 {
            out.write_all(&vec![number; 100_000]).expect("write");
        }
        out.flush().expect("flush");
        out.flush().expect("nothing is left");
        drop(out);
        let pieces: Vec<Vec<u8>> = pieces.iter().collect();
        assert!(pieces.len() > 1 && pieces.iter().all(|piece| !piece.is_empty()));
        let whole: Vec<u8> = (0..10u8).flat_map(|number| vec![number; 100_000]).collect();
        assert_eq!(pieces.concat(), whole);
    }

    #[test]
    fn a_taker_that_has_gone_is_told_to_the_writer() {
        let mut out = Pieces::new(|_| Err(io::ErrorKind::BrokenPipe.into()));
        out.write_all(b"x").expect("not out yet");
        assert_eq!(out.flush().expect_err("gone").kind(), io::ErrorKind::BrokenPipe);
    }
}
