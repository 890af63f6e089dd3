//! The pump: owns a process's output and input, appends the output to the log and serves the attach socket.
//!
//! It is a state machine in an epoll loop: [`Pump::listen`] before the process exists, [`Pump::connect_pipes`] or
//! [`Pump::connect_terminal`] when it does, [`Pump::ready`] for each event whose token is `base | slot`, and
//! [`Pump::end`] when the process has ended. The socket's protocol stands in ARCHITECTURE.md.
//!
//! Invariants: the process is never held up by a client, a full disk or a slow log reader; a client that has its answer
//! before the process starts gets every byte; after [`Pump::end`] the log is complete, even if a grandchild still holds
//! the pipe open.

mod client;
mod config;
mod input;
mod queue;
mod sink;

pub use client::MAX_REQUEST;
pub use config::{LogMode, PumpConfig, StdinMode, UriError};
pub use queue::{MEMORY_LIMIT, SPILL_LIMIT};

use crate::poller::{Event, Interest, Poller};
use crate::{Stream, Timestamp, WriteError};
use client::{Client, Input};
use input::ProcessInput;
use queue::Queue;
use rustix::io::Errno;
use sink::Sink;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Clients at the same time; a further one is disconnected at once.
pub const MAX_CLIENTS: usize = 64;
/// How long a client that takes nothing holds up the report of the exit.
pub const CLIENT_STALL: Duration = Duration::from_secs(3);
/// Between two reports of failures of the log.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes read after the end from a pipe that someone still writes to: what the largest pipe holds.
const DRAIN_LIMIT: usize = 1 << 20;
/// Slots of a pump: its tokens are `base | slot`.
pub const SLOTS: u64 = 1 << 8;

const LISTENER: u64 = 0;
const STDOUT: u64 = 1;
const STDERR: u64 = 2;
const STDIN: u64 = 3;
const CLIENTS: u64 = 16;

#[derive(Debug, thiserror::Error)]
pub enum PumpError {
    #[error("cannot listen on {path}")]
    Listen { path: PathBuf, source: io::Error },
    #[error("cannot watch a descriptor")]
    Register(#[from] Errno),
    #[error(transparent)]
    Log(#[from] WriteError),
}

impl errors::Kind for PumpError {
    fn kind(&self) -> errors::ErrorKind {
        match self {
            Self::Log(error) => error.kind(),
            _ => errors::ErrorKind::Internal,
        }
    }
}

/// The shim's ends of a process's pipes.
#[derive(Debug, Default)]
pub struct Pipes {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

/// Failures of the log in one report, at most one a second: a full disk fails with every chunk.
#[derive(Debug, thiserror::Error)]
#[error("output is lost: {failures} failures of the log, the first")]
pub struct LogFailure {
    pub failures: u64,
    pub source: WriteError,
}

#[derive(Debug, Default)]
struct Failures {
    due: Option<LogFailure>,
    /// What comes within a second of the last report waits.
    waiting: Option<LogFailure>,
    reported: Option<Instant>,
}

impl Failures {
    fn note(&mut self, result: Result<(), WriteError>) {
        if let Err(source) = result {
            self.waiting.get_or_insert(LogFailure { failures: 0, source }).failures += 1;
            if self.reported.is_none_or(|last| last.elapsed() >= REPORT_INTERVAL) {
                self.reported = Some(Instant::now());
                self.due = self.waiting.take();
            }
        }
    }

    fn end(&mut self) {
        self.due = self.due.take().or(self.waiting.take());
    }
}

#[derive(Debug)]
pub struct Pump {
    config: PumpConfig,
    base: u64,
    listener: Option<UnixListener>,
    log: Option<Sink>,
    failures: Failures,
    outputs: [Option<OwnedFd>; 2],
    input: ProcessInput,
    clients: Vec<Option<Client>>,
}

impl Pump {
    /// Opens the log and the socket. `base` has zeros where the slots go.
    pub fn listen(config: PumpConfig, poller: &Poller, base: u64) -> Result<Self, PumpError> {
        let log = config.log.clone().map(|log| Sink::open(log, config.log_mode)).transpose()?;
        let failed = |source| PumpError::Listen { path: config.socket.clone(), source };
        // What an earlier shim of the same container left.
        match fs::remove_file(&config.socket) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&config.socket).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        poller.add(&listener, base | LISTENER, Interest::READ)?;
        let input = ProcessInput::new(config.stdin);
        let (listener, outputs) = (Some(listener), [None, None]);
        Ok(Self { config, base, listener, log, failures: Failures::default(), outputs, input, clients: Vec::new() })
    }

    /// Takes over the pipes of a process without a terminal.
    pub fn connect_pipes(&mut self, poller: &Poller, pipes: Pipes) -> Result<(), PumpError> {
        for (slot, fd) in [(STDOUT, pipes.stdout), (STDERR, pipes.stderr)] {
            let Some(fd) = fd else { continue };
            rustix::io::ioctl_fionbio(&fd, true)?;
            poller.add(&fd, self.base | slot, Interest::READ)?;
            self.outputs[(slot - STDOUT) as usize] = Some(fd);
        }
        if let Some(fd) = pipes.stdin {
            rustix::io::ioctl_fionbio(&fd, true)?;
            self.input.open(fd);
        }
        self.register(poller);
        Ok(())
    }

    /// Takes over the master of a process's terminal.
    pub fn connect_terminal(&mut self, poller: &Poller, master: OwnedFd) -> Result<(), PumpError> {
        rustix::io::ioctl_fionbio(&master, true)?;
        if self.config.stdin != StdinMode::Absent {
            // A duplicate has its own registration (epoll(7)), so reading and writing do not share one.
            self.input.open(rustix::io::fcntl_dupfd_cloexec(&master, 3)?);
        }
        poller.add(&master, self.base | STDOUT, Interest::READ)?;
        self.outputs[0] = Some(master);
        self.register(poller);
        Ok(())
    }

    /// The terminal, for resizing.
    pub fn terminal(&self) -> Option<&OwnedFd> {
        self.outputs[0].as_ref().filter(|_| self.config.terminal)
    }

    /// Closes the process's stdin when what clients sent before has been taken.
    pub fn close_stdin(&mut self, poller: &Poller) {
        if !self.config.terminal {
            self.input.close();
        }
        self.register(poller);
    }

    /// Handles one event. `scratch` is the buffer for reading.
    pub fn ready(&mut self, poller: &Poller, event: Event, scratch: &mut [u8]) {
        match event.token & (SLOTS - 1) {
            LISTENER => self.accept(),
            slot @ (STDOUT | STDERR) => {
                self.pass_output(poller, (slot - STDOUT) as usize, scratch);
            }
            STDIN => self.input.send(),
            slot => self.serve_client((slot - CLIENTS) as usize, event, scratch),
        }
        self.register(poller);
    }

    /// The process has ended: everything it wrote goes to the log and the clients, then all is closed.
    pub fn end(&mut self, poller: &Poller, scratch: &mut [u8]) {
        // A client that connected before the end, and may not have been looked at yet, gets its share.
        self.accept();
        for index in 0..self.clients.len() {
            let event = Event { token: 0, readable: true, writable: false, hangup: false };
            if self.clients[index].as_ref().is_some_and(|client| !client.sends_stdin()) {
                self.serve_client(index, event, scratch);
            }
        }
        for (index, stream) in [Stream::Stdout, Stream::Stderr].into_iter().enumerate() {
            let mut left = DRAIN_LIMIT;
            while left > 0 {
                match self.pass_output(poller, index, scratch) {
                    0 => break,
                    count => left = left.saturating_sub(count),
                }
            }
            self.close_output(poller, index);
            if let Some(log) = &mut self.log {
                let finished = log.finish(stream, Timestamp::now());
                self.failures.note(finished);
            }
        }
        if let Some(log) = self.log.take() {
            self.failures.note(log.close());
            self.failures.end();
        }
        self.input.end(poller);
        if let Some(listener) = self.listener.take() {
            // Closing takes it out of the epoll set as well; the name may be gone already.
            drop(listener);
            let _ = fs::remove_file(&self.config.socket);
        }
        for client in self.clients.iter_mut().flatten() {
            client.end();
        }
        self.register(poller);
    }

    /// After [`end`](Self::end): whether every client has everything, or has taken nothing for [`CLIENT_STALL`].
    pub fn is_settled(&self, now: Instant) -> bool {
        self.stall_deadline().is_none_or(|deadline| deadline <= now)
    }

    /// Whether a client is still connected.
    pub fn has_clients(&self) -> bool {
        self.clients.iter().any(Option::is_some)
    }

    /// When to look at [`is_settled`](Self::is_settled) again.
    pub fn stall_deadline(&self) -> Option<Instant> {
        self.clients.iter().flatten().map(|client| client.progress() + CLIENT_STALL).max()
    }

    /// A failure of the log to report. Output goes on to the clients.
    pub fn take_failure(&mut self) -> Option<LogFailure> {
        self.failures.due.take()
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        loop {
            let socket = match listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            let free = match self.clients.iter().position(Option::is_none) {
                Some(free) => free,
                None if self.clients.len() < MAX_CLIENTS => {
                    self.clients.push(None);
                    self.clients.len() - 1
                }
                None => continue,
            };
            let queue = Queue::new(self.spill_folder(), SPILL_LIMIT);
            self.clients[free] = Client::new(socket, queue).ok();
        }
    }

    /// The log's folder is on a disk; the socket's is memory.
    fn spill_folder(&self) -> PathBuf {
        let beside_log = self.config.log.as_ref().and_then(|log| log.path.parent());
        match beside_log {
            Some(folder) => folder.to_owned(),
            None => PathBuf::from("/var/tmp"),
        }
    }

    /// Reads one output once and passes it on; returns the number of bytes.
    fn pass_output(&mut self, poller: &Poller, index: usize, scratch: &mut [u8]) -> usize {
        let Some(fd) = &self.outputs[index] else { return 0 };
        let count = match rustix::io::read(fd, &mut *scratch) {
            Ok(count) if count > 0 => count,
            Err(Errno::AGAIN | Errno::INTR) => return 0,
            // The end: of a pipe as 0, of a terminal as EIO.
            _ => {
                self.close_output(poller, index);
                return 0;
            }
        };
        let stream = if index == 0 { Stream::Stdout } else { Stream::Stderr };
        let bytes = &scratch[..count];
        if let Some(log) = &mut self.log {
            let appended = log.append(stream, bytes, Timestamp::now());
            self.failures.note(appended);
        }
        for client in self.clients.iter_mut().flatten() {
            client.output(stream, self.config.terminal, bytes);
        }
        count
    }

    fn close_output(&mut self, poller: &Poller, index: usize) {
        if let Some(fd) = self.outputs[index].take() {
            // Fails only if it was never registered.
            let _ = poller.remove(fd.as_fd());
        }
    }

    fn serve_client(&mut self, index: usize, event: Event, scratch: &mut [u8]) {
        let Some(Some(client)) = self.clients.get_mut(index) else { return };
        if event.writable {
            client.send();
        }
        if event.readable {
            match client.receive(scratch) {
                Input::Nothing => {}
                Input::Bytes(bytes) => self.input.push(bytes),
                Input::End if self.config.stdin == StdinMode::Once && !self.config.terminal => self.input.close(),
                Input::End => {}
            }
        } else if event.hangup {
            client.hang_up();
        }
    }

    /// Brings every registration up to date and drops the clients that are done.
    fn register(&mut self, poller: &Poller) {
        let closes_stdin = self.config.stdin == StdinMode::Once && !self.config.terminal;
        for slot in &mut self.clients {
            if let Some(client) = slot.take_if(|client| client.is_finished())
                && closes_stdin
                && client.sends_stdin()
            {
                self.input.close();
            }
        }
        self.input.register(poller, self.base | STDIN);
        let stdin_ready = self.input.takes_bytes();
        for (index, client) in self.clients.iter_mut().enumerate() {
            if let Some(client) = client {
                client.register(poller, self.base | (CLIENTS + index as u64), stdin_ready);
            }
        }
    }
}
