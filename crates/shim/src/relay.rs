//! Copies between a process's pipes or terminal and what a caller other than our daemon named: FIFOs and files.
//!
//! containerd's semantics: a FIFO is opened for both directions, so that a reader that goes away neither ends nor
//! breaks the process's output; what nobody reads fills the FIFO and then holds the process up, until someone reads.
//! Nothing is written before a reader has come for the first time: what a FIFO holds is lost with its last descriptor,
//! and a short process may have ended before its caller has opened the other end.

use logs::poller::{Event, Interest, Poller, Registration};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How soon a FIFO without a reader is tried again: callers open theirs at the same time as they call.
const FIRST_TRIES: u32 = 250;
const FIRST_WAIT: Duration = Duration::from_millis(2);
const LATER_WAIT: Duration = Duration::from_millis(200);
/// Reads of one lane per event, so that one busy stream does not starve the rest.
const ROUNDS: usize = 8;
/// Slots of a relay: reading and writing side of three lanes.
const STDIN: usize = 0;

#[derive(Debug, Default)]
pub struct Relay {
    base: u64,
    lanes: [Option<Lane>; 3],
    /// Outputs whose FIFOs have no reader yet.
    awaiting: Vec<(usize, OwnedFd, PathBuf)>,
    tries: u32,
    next_try: Option<Instant>,
    /// stdin's FIFO and where it goes, until it is opened.
    stdin: Option<(PathBuf, OwnedFd)>,
    stdin_closed: bool,
    /// Keeps stdin's FIFO from ending while its writer comes and goes, until CloseIO.
    stdin_keeper: Option<OwnedFd>,
    /// The terminal, for resizing.
    terminal: Option<OwnedFd>,
    ending: bool,
}

#[derive(Debug)]
struct Lane {
    from: OwnedFd,
    to: OwnedFd,
    pending: Vec<u8>,
    reading: Registration,
    writing: Registration,
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Waits,
    Ended,
}

impl Relay {
    pub fn new(base: u64) -> Self {
        Self { base, ..Self::default() }
    }

    /// Adds stdin (0), stdout (1) or stderr (2). Both descriptors become non-blocking, except regular files.
    pub fn connect(&mut self, poller: &Poller, index: usize, from: OwnedFd, to: OwnedFd) -> Result<(), Errno> {
        rustix::io::ioctl_fionbio(&from, true)?;
        let lane =
            Lane { from, to, pending: Vec::new(), reading: Registration::default(), writing: Registration::default() };
        self.lanes[index] = Some(lane);
        self.register(poller, index);
        Ok(())
    }

    /// Connects an output to a FIFO or a file, now or as soon as the FIFO has a reader.
    pub fn connect_output(&mut self, poller: &Poller, index: usize, from: OwnedFd, path: &Path) -> Result<(), Errno> {
        match open_output(path)? {
            Some(to) => self.connect(poller, index, from, to),
            None => {
                self.awaiting.push((index, from, path.to_owned()));
                self.next_try = Some(Instant::now() + FIRST_WAIT);
                Ok(())
            }
        }
    }

    /// When [`retry`](Self::retry) wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.next_try
    }

    /// Looks whether readers have come.
    pub fn retry(&mut self, poller: &Poller, now: Instant, scratch: &mut [u8]) {
        if self.next_try.is_none_or(|at| at > now) {
            return;
        }
        self.tries += 1;
        self.next_try = Some(now + if self.tries < FIRST_TRIES { FIRST_WAIT } else { LATER_WAIT });
        for (index, from, path) in std::mem::take(&mut self.awaiting) {
            match open_output(&path) {
                Ok(None) => self.awaiting.push((index, from, path)),
                Ok(Some(to)) => {
                    if self.connect(poller, index, from, to).is_ok() {
                        self.step(poller, index, scratch);
                    }
                }
                // The FIFO has been removed: nobody will read it, and the process sees a closed pipe.
                Err(_) => {}
            }
        }
        if self.awaiting.is_empty() {
            self.next_try = None;
        }
    }

    pub fn set_stdin(&mut self, fifo: PathBuf, to: OwnedFd) {
        self.stdin = Some((fifo, to));
    }

    /// The process runs: its input is let in. Not earlier, since ctr forgets to close the stdin of a task whose input
    /// ends before the answer to Create.
    pub fn open_stdin(&mut self, poller: &Poller) -> Result<(), Errno> {
        let Some((fifo, to)) = self.stdin.take() else { return Ok(()) };
        rustix::io::ioctl_fionbio(&to, true)?;
        let (reader, keeper) = open_input(&fifo)?;
        if !self.stdin_closed {
            self.stdin_keeper = Some(keeper);
        }
        self.connect(poller, STDIN, reader, to)
    }

    pub fn set_terminal(&mut self, master: OwnedFd) {
        self.terminal = Some(master);
    }

    pub fn terminal(&self) -> Option<&OwnedFd> {
        self.terminal.as_ref()
    }

    /// The process's stdin ends when the callers have closed their ends too.
    pub fn close_stdin(&mut self) {
        self.stdin_closed = true;
        self.stdin_keeper = None;
    }

    pub fn ready(&mut self, poller: &Poller, event: Event, scratch: &mut [u8]) {
        let index = ((event.token & 0xff) / 2) as usize;
        self.step(poller, index, scratch);
    }

    /// The process has ended: what its outputs hold is passed on, then they are closed.
    pub fn end(&mut self, poller: &Poller, scratch: &mut [u8]) {
        self.ending = true;
        self.stdin = None;
        self.stdin_keeper = None;
        self.terminal = None;
        self.close(poller, STDIN);
        for index in 1..3 {
            self.step(poller, index, scratch);
        }
    }

    fn step(&mut self, poller: &Poller, index: usize, scratch: &mut [u8]) {
        let Some(Some(lane)) = self.lanes.get_mut(index) else { return };
        let progress = lane.copy(self.ending, scratch);
        if progress == Progress::Ended {
            self.close(poller, index);
        } else {
            self.register(poller, index);
        }
    }

    fn register(&mut self, poller: &Poller, index: usize) {
        let token = self.base | (index as u64 * 2);
        let Some(lane) = &mut self.lanes[index] else { return };
        let waits_for_target = !lane.pending.is_empty();
        // A regular file cannot be watched (EPERM) and never makes one wait.
        let _ = lane.reading.set(poller, &lane.from, token, (!waits_for_target).then_some(Interest::READ));
        let _ = lane.writing.set(poller, &lane.to, token + 1, waits_for_target.then_some(Interest::WRITE));
    }

    fn close(&mut self, poller: &Poller, index: usize) {
        if let Some(mut lane) = self.lanes[index].take() {
            let _ = lane.reading.set(poller, &lane.from, 0, None);
            let _ = lane.writing.set(poller, &lane.to, 0, None);
        }
    }
}

impl Lane {
    fn copy(&mut self, ending: bool, scratch: &mut [u8]) -> Progress {
        // At the end everything that is there now goes out: bounded by what a pipe can hold.
        let rounds = if ending { 64 } else { ROUNDS };
        for _ in 0..rounds {
            if !self.send_pending() {
                return Progress::Ended;
            }
            if !self.pending.is_empty() {
                return Progress::Waits;
            }
            match rustix::io::read(&self.from, &mut *scratch) {
                Ok(count) if count > 0 => self.pass(&scratch[..count]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !ending => return Progress::Waits,
                // The end: 0 of a pipe, EIO of a terminal; or nothing left after the process's end.
                _ => return Progress::Ended,
            }
        }
        Progress::Waits
    }

    fn pass(&mut self, bytes: &[u8]) {
        let sent = match rustix::io::write(&self.to, bytes) {
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            // Nobody will ever take it: as with a closed pipe, or a full disk, output goes nowhere.
            Err(_) => bytes.len(),
        };
        self.pending.extend_from_slice(&bytes[sent..]);
    }

    /// False if the other side is gone for good.
    fn send_pending(&mut self) -> bool {
        while !self.pending.is_empty() {
            match rustix::io::write(&self.to, &self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
        self.pending = Vec::new();
        true
    }
}

/// What output goes to: a FIFO for both directions, or a file that is appended to. `None` for a FIFO without a reader
/// (fifo(7), ENXIO).
fn open_output(path: &Path) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::CLOEXEC | OFlags::NONBLOCK;
    if !is_fifo(path) {
        return open(path, flags | OFlags::WRONLY | OFlags::APPEND, Mode::empty()).map(Some);
    }
    match open(path, flags | OFlags::WRONLY, Mode::empty()) {
        // The writing end stays until the other descriptor is there, so that the reader sees no end in between.
        Ok(_writer) => open(path, flags | OFlags::RDWR, Mode::empty()).map(Some),
        Err(Errno::NXIO) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The reading end of stdin's FIFO, and a writing end that keeps it from ending.
fn open_input(path: &Path) -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = OFlags::CLOEXEC | OFlags::NONBLOCK;
    let reader = open(path, flags | OFlags::RDONLY, Mode::empty())?;
    let keeper = open(path, flags | OFlags::WRONLY, Mode::empty())?;
    Ok((reader, keeper))
}

pub fn duplicate(fd: &impl AsFd) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3)
}

fn is_fifo(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write, pipe};

    #[test]
    fn output_waits_for_the_first_reader_even_after_the_process_has_ended() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("stdout");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
        let (poller, mut scratch) = (Poller::new().expect("epoll"), vec![0; 4096]);
        let (reader, mut process) = pipe().expect("pipe");
        let mut relay = Relay::new(1 << 16);
        relay.connect_output(&poller, 1, reader.into(), &path).expect("connect");
        process.write_all(b"short").expect("write");
        drop(process);
        relay.end(&poller, &mut scratch);
        assert!(relay.deadline().is_some());
        let caller = std::thread::spawn(move || {
            let mut text = String::new();
            std::fs::File::open(&path).expect("open").read_to_string(&mut text).expect("read");
            text
        });
        while relay.deadline().is_some() {
            relay.retry(&poller, Instant::now() + LATER_WAIT, &mut scratch);
        }
        assert_eq!(caller.join().expect("caller"), "short");
    }

    #[test]
    fn a_reader_that_goes_away_does_not_break_the_output() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("stdout");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
        let (poller, mut scratch) = (Poller::new().expect("epoll"), vec![0; 4096]);
        let (reader, mut process) = pipe().expect("pipe");
        let open_reader = || open(&path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).expect("open");
        let first = open_reader();
        let mut relay = Relay::new(1 << 16);
        relay.connect_output(&poller, 1, reader.into(), &path).expect("connect");
        drop(first);
        process.write_all(b"kept").expect("write");
        relay.step(&poller, 1, &mut scratch);
        process.write_all(b" on").expect("the process is not broken");
        relay.step(&poller, 1, &mut scratch);
        let mut bytes = [0; 7];
        assert_eq!(rustix::io::read(open_reader(), &mut bytes), Ok(7));
        assert_eq!(&bytes, b"kept on");
    }
}
