//! Decompression on a thread of its own, so that inflating one part of a layer and writing the part before it happen at the
//! same time.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread;

use ids::Digest;

use crate::compression::{BUFFER, Compression, Decompressed};
use crate::error::ArchiveError;

/// Pieces between the two threads: 2 MiB in all.
const QUEUE: usize = 8;

/// What work sees of the plain bytes: the decompressor itself, or the end of a pipe from it.
pub(crate) enum Plain<'a, R: Read> {
    Here(&'a mut Decompressed<R>),
    Piped(Pipe),
}

/// Runs `work`, which reads all of the plain bytes unless it fails, and answers the digest and number of them as well.
pub(crate) fn run<R: Read + Send, T>(
    mut plain: Decompressed<R>,
    work: impl FnOnce(&mut Plain<'_, R>) -> Result<T, ArchiveError>,
) -> Result<(T, (Digest, u64)), ArchiveError> {
    // A layer that fits one buffer is unpacked before a thread would have started; a plain one has nothing to inflate.
    let small = plain.fill_buf().map_err(ArchiveError::Read)?.len() < BUFFER;
    if small || plain.compression() == Compression::None {
        let done = work(&mut Plain::Here(&mut plain))?;
        return Ok((done, plain.finish().map_err(ArchiveError::Read)?));
    }
    thread::scope(|scope| {
        let (filled, pieces) = sync_channel(QUEUE);
        let (used, empty) = channel();
        let inflating = scope.spawn(move || inflate(plain, &filled, &empty));
        let mut pipe = Plain::Piped(Pipe { pieces, used, piece: Vec::new(), at: 0 });
        let done = work(&mut pipe);
        // An early end lets the other thread find nobody who takes its pieces.
        drop(pipe);
        let plain = inflating.join().unwrap_or_else(|_| Err(io::Error::other("the decompressor panicked")));
        Ok((done?, plain.map_err(ArchiveError::Read)?))
    })
}

fn inflate<R: Read>(
    mut plain: Decompressed<R>,
    filled: &SyncSender<io::Result<Vec<u8>>>,
    empty: &Receiver<Vec<u8>>,
) -> io::Result<(Digest, u64)> {
    loop {
        let mut piece = match empty.try_recv() {
            Ok(piece) => piece,
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => Vec::new(),
        };
        piece.resize(BUFFER, 0);
        match plain.read(&mut piece) {
            Ok(0) => return plain.finish(),
            Ok(length) => piece.truncate(length),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let told = io::Error::new(error.kind(), error.to_string());
                // Whoever reads hears of it; nobody does after an error of its own, which then counts.
                let _ = filled.send(Err(error));
                return Err(told);
            }
        }
        if filled.send(Ok(piece)).is_err() {
            // Work that ends well has read to the end; this one has an error, which counts.
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "nobody takes the bytes"));
        }
    }
}

/// The reading end.
pub(crate) struct Pipe {
    pieces: Receiver<io::Result<Vec<u8>>>,
    used: Sender<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

impl BufRead for Pipe {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.piece.len() {
            self.at = 0;
            let next = match self.pieces.recv() {
                Ok(next) => next?,
                // The other end has sent everything.
                Err(_) => Vec::new(),
            };
            let old = std::mem::replace(&mut self.piece, next);
            if old.capacity() > 0 {
                let _ = self.used.send(old);
            }
        }
        Ok(&self.piece[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl<R: Read> BufRead for Plain<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Here(plain) => plain.fill_buf(),
            Self::Piped(pipe) => pipe.fill_buf(),
        }
    }

    fn consume(&mut self, amount: usize) {
        match self {
            Self::Here(plain) => plain.consume(amount),
            Self::Piped(pipe) => pipe.consume(amount),
        }
    }
}

impl<R: Read> Read for Plain<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Here(plain) => plain.read(buffer),
            Self::Piped(pipe) => pipe.read(buffer),
        }
    }
}
