//! The serving process: one thread that waits for the next event and hands it to its part.

use crate::arguments::Arguments;
use crate::connections::{self, Connections};
use crate::container::Container;
use crate::operation::Operations;
use crate::outcome::Outcome;
use crate::process::{Process, Reply};
use crate::publisher::{Publisher, Route};
use crate::{Error, failed_to};
use containerd_api::types::Mount;
use logs::poller::{Event, Interest, Poller};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::fs::{Mode, OFlags, open};
use std::fs;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use ttrpc::Status;

/// The buffer for all reading: what a pipe holds by default.
const SCRATCH: usize = 64 << 10;
/// How long a shut-down shim stays for events that nobody takes, and for clients that take nothing.
const FAREWELL: Duration = Duration::from_secs(5);

const LISTENER: u64 = 1;
const SIGNALS: u64 = 2;
const PUBLISHER: u64 = 3;
const MEMORY: u64 = 4;
pub const GATE: u64 = 5;
const REPORTS: u64 = 6;
/// Processes' tokens are multiples of their number of slots, above these.
const FIRST_BASE: u64 = 1 << 16;

#[derive(Debug)]
pub struct Shim {
    pub arguments: Arguments,
    pub poller: Poller,
    pub connections: Connections,
    pub publisher: Publisher,
    pub container: Option<Container>,
    pub rootfs_mounts: Vec<Mount>,
    pub operations: Operations,
    /// Ends of this round whose processes are not known yet.
    pub newcomers: Vec<(i32, Outcome)>,
    pub scratch: Vec<u8>,
    pub memory: Option<cgroup::OomWatch>,
    signals: SignalFd,
    next_base: u64,
    /// Deleted processes with clients that still take output.
    departed: Vec<Process>,
    farewell: Option<Instant>,
    /// The container was there and is deleted: nothing is left to serve but the goodbye.
    pub emptied: bool,
}

/// Serves until Shutdown, in a copy of the process that `start` is.
pub fn serve(arguments: Arguments, bundle: &Path, socket: PathBuf, listener: UnixListener) -> Result<(), Error> {
    detach(bundle)?;
    let mut shim = Shim::new(arguments, listener)?;
    let result = shim.run();
    // Left behind it would only be refused; a new shim of the same id replaces it.
    let _ = fs::remove_file(socket);
    result
}

/// Leaves everything of the starting process behind: its session, its folder, its stdio.
fn detach(bundle: &Path) -> Result<(), Error> {
    // Fails if this is a session already, which is as well.
    let _ = rustix::process::setsid();
    rustix::process::chdir(bundle).map_err(failed_to("work in the bundle"))?;
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(failed_to("open /dev/null"))?;
    rustix::stdio::dup2_stdin(&null).map_err(failed_to("leave stdin"))?;
    rustix::stdio::dup2_stdout(&null).map_err(failed_to("leave stdout"))?;
    // containerd's log FIFO in the bundle; for both directions, so that opening and writing never wait for a reader.
    let log = open("log", OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).unwrap_or(null);
    rustix::stdio::dup2_stderr(&log).map_err(failed_to("leave stderr"))?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(failed_to("become a subreaper"))
}

impl Shim {
    fn new(arguments: Arguments, listener: UnixListener) -> Result<Self, Error> {
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGPIPE] {
            mask.add(signal);
        }
        mask.thread_block().map_err(failed_to("block signals"))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&mask, flags).map_err(failed_to("take signals as events"))?;
        let poller = Poller::new().map_err(failed_to("make an epoll set"))?;
        poller.add(&signals, SIGNALS, Interest::READ).map_err(failed_to("watch signals"))?;
        let connections =
            Connections::new(listener, &poller, LISTENER).map_err(failed_to("watch the listening socket"))?;
        let operations = Operations::new().map_err(failed_to("make the pipe for reports"))?;
        let watched = poller.add(operations.announcements(), REPORTS, Interest::READ);
        watched.map_err(failed_to("watch the pipe for reports"))?;
        let publisher = Publisher::new(arguments.namespace.clone(), route(&arguments), PUBLISHER);
        Ok(Self {
            arguments,
            poller,
            connections,
            publisher,
            container: None,
            rootfs_mounts: Vec::new(),
            operations,
            newcomers: Vec::new(),
            scratch: vec![0; SCRATCH],
            memory: None,
            signals,
            next_base: FIRST_BASE,
            departed: Vec::new(),
            farewell: None,
            emptied: false,
        })
    }

    fn run(&mut self) -> Result<(), Error> {
        let mut events = Vec::new();
        loop {
            // One time for what is due and for what will be, so that nothing falls in between.
            let now = Instant::now();
            self.advance(now);
            if self.is_done(now) {
                return Ok(());
            }
            let timeout = self.deadline(now).map(|deadline| deadline.saturating_duration_since(now));
            self.poller.wait(&mut events, timeout).map_err(failed_to("wait for events"))?;
            for event in &events {
                self.handle(*event);
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event.token {
            LISTENER => {
                self.connections.accept(&self.poller);
                self.publisher.retry_now(&self.poller);
            }
            SIGNALS => self.take_signals(),
            PUBLISHER => self.publisher.ready(&self.poller, event),
            MEMORY => self.memory_ready(event),
            GATE => self.gate_ready(),
            REPORTS => self.take_reports(),
            token if token & connections::TOKEN != 0 => {
                for (reply, request) in self.connections.ready(&self.poller, event) {
                    self.call(reply, request);
                }
            }
            token => self.handle_stdio(token & !(crate::stdio::SLOTS - 1), event),
        }
    }

    fn handle_stdio(&mut self, base: u64, event: Event) {
        let processes = self.container.iter_mut().flat_map(Container::processes).chain(&mut self.departed);
        for process in processes.filter(|process| process.base == base) {
            process.stdio.ready(&self.poller, event, &mut self.scratch);
        }
    }

    /// Watches for the kernel's killer from now on.
    pub fn watch_memory(&mut self, watch: Option<cgroup::OomWatch>) {
        // Without it nothing is told, and nothing else is lost.
        self.memory = watch.filter(|watch| self.poller.add(watch, MEMORY, Interest::READ).is_ok());
    }

    fn memory_ready(&mut self, event: Event) {
        self.check_memory();
        if event.hangup {
            self.memory = None;
        }
    }

    fn take_signals(&mut self) {
        let (mut child, mut end) = (false, false);
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match Signal::try_from(signal.ssi_signo as i32) {
                Ok(Signal::SIGCHLD) => child = true,
                Ok(Signal::SIGTERM | Signal::SIGINT) => end = true,
                _ => {}
            }
        }
        if child {
            self.reap();
        }
        // Whoever ends us would end the container's only witness: refused as long as there is one.
        if end && self.container.is_none() {
            self.shut_down();
        }
    }

    pub fn respond(&mut self, reply: Reply, result: Result<Vec<u8>, Status>) {
        self.connections.respond(&self.poller, reply, result);
    }

    /// Tokens for the descriptors of a new process.
    pub fn next_base(&mut self) -> u64 {
        self.next_base += crate::stdio::SLOTS;
        self.next_base
    }

    /// Drops a deleted process, as soon as its clients have what it wrote.
    pub fn let_go(&mut self, process: Process) {
        if process.stdio.has_clients() {
            self.departed.push(process);
        }
    }

    pub fn shut_down(&mut self) {
        self.farewell.get_or_insert(Instant::now() + FAREWELL);
    }

    fn is_done(&self, now: Instant) -> bool {
        let Some(farewell) = self.farewell else { return false };
        let idle = self.publisher.is_empty() && !self.connections.has_unsent();
        self.departed.is_empty() && (idle || farewell <= now)
    }

    fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let processes = self.container.iter_mut().flat_map(Container::processes).chain(&mut self.departed);
        // One that has passed was acted on already: a stalled client keeps its own in the past.
        let stdio: Vec<_> =
            processes.filter_map(|process| process.stdio.deadline()).filter(|deadline| *deadline > now).collect();
        stdio.into_iter().chain(self.publisher.deadline()).chain(self.farewell).min()
    }

    /// What is due by time alone.
    fn advance(&mut self, now: Instant) {
        self.publisher.advance(&self.poller, now);
        let processes = self.container.iter_mut().flat_map(Container::processes).chain(&mut self.departed);
        for process in processes {
            process.stdio.retry(&self.poller, now, &mut self.scratch);
        }
        self.settle(now);
        // Whoever deleted the container died before it could say Shutdown; nobody else knows of this shim.
        if self.emptied && self.container.is_none() && self.connections.is_empty() {
            self.farewell.get_or_insert(now + FAREWELL);
        }
        self.departed.retain(|process| process.stdio.has_clients() && !process.stdio.is_settled(now));
    }
}

fn route(arguments: &Arguments) -> Route {
    match std::env::var_os("TTRPC_ADDRESS").filter(|address| !address.is_empty()) {
        Some(address) => {
            let address = PathBuf::from(address);
            Route::Ttrpc(address.strip_prefix("unix://").map_or(address.clone(), PathBuf::from))
        }
        None => match &arguments.publish_binary {
            Some(binary) => Route::Command { binary: binary.clone(), address: arguments.address.clone() },
            None => Route::Nowhere,
        },
    }
}

impl From<io::Error> for Error {
    fn from(source: io::Error) -> Self {
        Self::System { what: "go on", source }
    }
}
