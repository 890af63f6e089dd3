//! gzip (RFC 1952) whose bytes follow from its input alone, made by several threads.
//!
//! The input is cut into blocks of one size. Each is deflated by itself, ended at a whole byte by an empty stored block
//! (RFC 1951 3.2.4, what zlib calls a sync flush), and the results stand one behind the other in one member. So the bytes
//! depend neither on how many threads there are nor on the pieces in which the input came.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use flate2::{Compress, Crc, FlushCompress};
use ids::{Digest, Hasher};

use crate::hashed_writer::HashedWriter;

/// Bytes that are deflated together. What lies further back than the format's 32 KiB serves no match anyway.
const BLOCK: usize = 512 << 10;
/// Threads of one layer; several layers may be at it at the same time.
const MAX_THREADS: usize = 4;
/// Blocks that one thread has: the one in work and the next.
const BLOCKS_PER_THREAD: usize = 2;
/// Deflate, no flags, no time, no extra flags, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// A last block with nothing in it.
const END: [u8; 2] = [0x03, 0x00];

/// Both forms of what was compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    pub compressed: Digest,
    pub compressed_size: u64,
    pub plain: Digest,
    pub plain_size: u64,
}

/// Writes gzip without time and name, at one level.
pub struct Compressor<W: Write> {
    target: HashedWriter<W>,
    begun: bool,
    block: Vec<u8>,
    /// Threads at most; none is started for what fits one block.
    threads: usize,
    workers: Vec<Worker>,
    /// Blocks that were given to the workers in turn, and those of them that have come back.
    given: usize,
    taken: usize,
    crc: Crc,
    plain: Hasher,
    plain_size: u64,
}

impl<W: Write> Compressor<W> {
    pub fn new(target: W) -> Self {
        Self::with_threads(target, thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS))
    }

    fn with_threads(target: W, threads: usize) -> Self {
        Self {
            target: HashedWriter::new(target),
            begun: false,
            block: Vec::new(),
            threads,
            workers: Vec::new(),
            given: 0,
            taken: 0,
            crc: Crc::new(),
            plain: Hasher::new(),
            plain_size: 0,
        }
    }

    /// Writes what is left and answers the digests of both forms.
    pub fn finish(mut self) -> io::Result<(W, Digests)> {
        let last = std::mem::take(&mut self.block);
        if self.workers.is_empty() {
            let deflated = Deflater::new().deflate(last)?;
            self.append(&deflated)?;
        } else {
            self.give(last)?;
        }
        while self.taken < self.given {
            self.take_next()?;
        }
        self.begin()?;
        self.target.write_all(&END)?;
        self.target.write_all(&self.crc.sum().to_le_bytes())?;
        // RFC 1952 2.3.1: the size modulo 2^32.
        self.target.write_all(&self.crc.amount().to_le_bytes())?;
        let digests = Digests {
            compressed: self.target.hasher.finish(),
            compressed_size: self.target.bytes,
            plain: self.plain.finish(),
            plain_size: self.plain_size,
        };
        Ok((self.target.inner, digests))
    }

    fn begin(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            self.target.write_all(&HEADER)?;
        }
        Ok(())
    }

    /// To the worker whose turn it is; waits for the oldest block where all have enough to do.
    fn give(&mut self, block: Vec<u8>) -> io::Result<()> {
        if self.workers.is_empty() {
            self.workers = Worker::start(self.threads)?;
        }
        if self.given - self.taken == self.workers.len() * BLOCKS_PER_THREAD {
            self.take_next()?;
        }
        let turn = self.given % self.workers.len();
        self.given += 1;
        self.workers[turn].give(block)
    }

    fn take_next(&mut self) -> io::Result<()> {
        let turn = self.taken % self.workers.len();
        self.taken += 1;
        let deflated = self.workers[turn].take()?;
        self.append(&deflated)
    }

    fn append(&mut self, deflated: &Deflated) -> io::Result<()> {
        self.begin()?;
        self.crc.combine(&deflated.crc);
        self.target.write_all(&deflated.bytes)
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.len() == BLOCK {
            let full = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
            self.give(full)?;
        }
        let length = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..length]);
        self.plain.update(&bytes[..length]);
        self.plain_size += length as u64;
        Ok(length)
    }

    /// Nothing: where blocks end must not depend on who flushes when.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A block in its compressed form, and the checksum of the plain one.
struct Deflated {
    bytes: Vec<u8>,
    crc: Crc,
}

struct Deflater(Compress);

impl Deflater {
    fn new() -> Self {
        Self(Compress::new(flate2::Compression::default(), false))
    }

    fn deflate(&mut self, block: Vec<u8>) -> io::Result<Deflated> {
        let mut crc = Crc::new();
        crc.update(&block);
        let mut bytes = Vec::new();
        self.0.reset();
        let mut done = 0;
        // An answer that fills the room may not be all of it (zlib's manual, deflate).
        while !block.is_empty() && (done < block.len() || bytes.len() == bytes.capacity()) {
            bytes.reserve(BLOCK / 2);
            self.0.compress_vec(&block[done..], &mut bytes, FlushCompress::Sync).map_err(io::Error::other)?;
            done = usize::try_from(self.0.total_in()).unwrap_or(usize::MAX);
        }
        Ok(Deflated { bytes, crc })
    }
}

/// A thread that deflates blocks in the order in which it gets them.
struct Worker {
    /// Gone once the worker is to end.
    blocks: Option<SyncSender<Vec<u8>>>,
    deflated: Receiver<io::Result<Deflated>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// So many, or as many as the machine allows; at least one.
    fn start(count: usize) -> io::Result<Vec<Self>> {
        let mut workers = Vec::with_capacity(count);
        for _ in 0..count.max(1) {
            match Self::start_one() {
                Ok(worker) => workers.push(worker),
                Err(error) if workers.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(workers)
    }

    fn start_one() -> io::Result<Self> {
        let (blocks, to_deflate) = sync_channel(BLOCKS_PER_THREAD);
        let (done, deflated) = channel();
        let run = move || deflate_all(&to_deflate, &done);
        let thread = thread::Builder::new().name("compress".to_owned()).spawn(run)?;
        Ok(Self { blocks: Some(blocks), deflated, thread: Some(thread) })
    }

    fn give(&self, block: Vec<u8>) -> io::Result<()> {
        let sent = self.blocks.as_ref().is_some_and(|blocks| blocks.send(block).is_ok());
        if sent { Ok(()) } else { Err(ended()) }
    }

    fn take(&self) -> io::Result<Deflated> {
        self.deflated.recv().map_err(|_| ended())?
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.blocks = None;
        // A panic has been told by the answer that did not come.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn ended() -> io::Error {
    io::Error::other("a compressing thread has ended")
}

fn deflate_all(blocks: &Receiver<Vec<u8>>, done: &Sender<io::Result<Deflated>>) {
    let mut deflater = Deflater::new();
    while let Ok(block) = blocks.recv() {
        if done.send(deflater.deflate(block)).is_err() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// Text and noise in turns.
    fn sample(bytes: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut sample = Vec::with_capacity(bytes + 100);
        while sample.len() < bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            sample.extend_from_slice(format!("line {} of what a layer has\n", sample.len() / 50).as_bytes());
            sample.extend_from_slice(&state.to_le_bytes());
        }
        sample.truncate(bytes);
        sample
    }

    fn gzip(plain: &[u8], threads: usize, piece: usize) -> (Vec<u8>, Digests) {
        let mut compressor = Compressor::with_threads(Vec::new(), threads);
        plain.chunks(piece).for_each(|piece| compressor.write_all(piece).unwrap());
        compressor.finish().unwrap()
    }

    #[test]
    fn the_bytes_are_the_same_however_many_threads_and_pieces() {
        for bytes in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5 * BLOCK + 7] {
            let plain = sample(bytes);
            let (first, digests) = gzip(&plain, 1, usize::MAX);
            for (threads, piece) in [(2, 64 << 10), (3, 999), (8, 1 << 20)] {
                assert!(gzip(&plain, threads, piece) == (first.clone(), digests), "{bytes} bytes, {threads} threads");
            }
            assert_eq!((digests.plain, digests.plain_size), (Digest::of(&plain), bytes as u64));
            assert_eq!((digests.compressed, digests.compressed_size), (Digest::of(&first), first.len() as u64));
        }
    }

    #[test]
    fn any_reader_of_one_gzip_member_reads_it() {
        for bytes in [0, 100, 2 * BLOCK + 100] {
            let plain = sample(bytes);
            let packed = gzip(&plain, 2, 4096).0;
            let mut read = Vec::new();
            flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut read).unwrap();
            assert!(read == plain, "{bytes} bytes");
            assert!(packed.len() < bytes / 2 + 100, "{} for {bytes} bytes", packed.len());
        }
    }

    #[test]
    fn what_no_machine_may_change_is_this_digest() {
        // Another one means other digests of every layer that is pushed: a new version of the compressor.
        let digest = gzip(&sample(3 << 20), 2, 4096).1.compressed;
        assert_eq!(digest.to_string(), "sha256:c42e9ae5e0f50e48068d2709eeef013ca3eac3fafc6ead8070fba7c3fede5714");
    }

    #[test]
    fn a_target_that_takes_no_more_ends_it() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut compressor = Compressor::with_threads(Full, 2);
        let written = compressor.write_all(&sample(20 * BLOCK));
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
