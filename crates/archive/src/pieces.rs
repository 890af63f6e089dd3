//! Bytes that leave a thread that blocks, and bytes that come to one.

use std::io::{self, Read, Write};

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

/// Pieces that come one after the other, as a reader. `next` may block; an error of its own ends the reading.
pub struct Incoming<B> {
    next: Box<dyn FnMut() -> Option<io::Result<B>> + Send>,
    piece: Option<B>,
    /// Bytes of the piece that have been read.
    at: usize,
}

impl<B> Incoming<B> {
    pub fn new(next: impl FnMut() -> Option<io::Result<B>> + Send + 'static) -> Self {
        Self { next: Box::new(next), piece: None, at: 0 }
    }
}

impl<B> std::fmt::Debug for Incoming<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").field("at", &self.at).finish_non_exhaustive()
    }
}

impl<B: AsRef<[u8]>> Read for Incoming<B> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let rest = self.piece.as_ref().map_or(&[][..], |piece| &piece.as_ref()[self.at..]);
            if !rest.is_empty() {
                let length = buffer.len().min(rest.len());
                buffer[..length].copy_from_slice(&rest[..length]);
                self.at += length;
                return Ok(length);
            }
            (self.piece, self.at) = (None, 0);
            match (self.next)() {
                Some(piece) => self.piece = Some(piece?),
                None => return Ok(0),
            }
        }
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
    fn what_comes_is_read_to_its_end_or_its_error() {
        let mut pieces = vec!["c", "", "ab"];
        let mut text = String::new();
        Incoming::new(move || pieces.pop().map(Ok)).read_to_string(&mut text).expect("read");
        assert_eq!(text, "abc");
        let mut pieces = vec![Err(io::Error::other("torn")), Ok("ab")];
        let mut torn = Incoming::new(move || pieces.pop());
        assert_eq!(torn.read_to_string(&mut String::new()).expect_err("torn").to_string(), "torn");
    }

    #[test]
    fn a_taker_that_has_gone_is_told_to_the_writer() {
        let mut out = Pieces::new(|_| Err(io::ErrorKind::BrokenPipe.into()));
        out.write_all(b"x").expect("not out yet");
        assert_eq!(out.flush().expect_err("gone").kind(), io::ErrorKind::BrokenPipe);
    }
}
