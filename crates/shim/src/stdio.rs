//! Where a process's input comes from and its output goes, by the URIs of a request.

use crate::messages;
use crate::relay::{self, Relay};
use crate::{console::ConsoleSocket, logger};
use logs::poller::{Event, Poller};
use logs::pump::{Pipes, Pump, PumpConfig, StdinMode};
use rustix::fs::{Gid, Uid, fchown};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Instant;
use ttrpc::Status;

/// What a request asks for, kept for State.
#[derive(Debug, Clone, Default)]
pub struct StdioUris {
    pub stdin: String,
    pub stdout: String,
    pub stderr: String,
    pub terminal: bool,
}

/// Who owns the pipes, and whom the pipes belong to.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    pub namespace: &'a str,
    pub id: &'a str,
    pub bundle: &'a Path,
    /// Owner of the pipes' files, so that a process that is not root can open /dev/stdout again.
    pub uid: u32,
    pub gid: u32,
}

/// The ends that the process gets; `None` is /dev/null.
#[derive(Debug, Default)]
pub struct ChildEnds {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

#[derive(Debug, Default)]
pub struct Stdio {
    way: Way,
    console: Option<ConsoleSocket>,
    /// The pump's ends, until there is a process that writes to the others.
    pipes: Option<Pipes>,
    /// A size that was asked for before there was a terminal.
    size: Option<(u16, u16)>,
    ended: bool,
}

#[derive(Debug, Default)]
enum Way {
    #[default]
    Null,
    Pump(Box<Pump>),
    Relay(Box<Relay>),
}

/// Tokens of one process's descriptors are `base | slot` with a slot below this.
pub const SLOTS: u64 = logs::pump::SLOTS;

impl Stdio {
    /// Opens everything that the process needs before it is created.
    pub fn open(uris: &StdioUris, owner: Owner<'_>, poller: &Poller, base: u64) -> Result<(Self, ChildEnds), Status> {
        let mut stdio = Self::default();
        if uris.terminal {
            let name = format!("{}.pty", owner.id.chars().take(32).collect::<String>());
            let socket = ConsoleSocket::bind(owner.bundle, &name);
            stdio.console = Some(socket.map_err(failed("failed to create OCI runtime console socket"))?);
        }
        let mut ends = ChildEnds::default();
        if PumpConfig::is_pump(&uris.stdout) {
            let config = PumpConfig::parse(&uris.stdout, uris.terminal).map_err(messages::invalid)?;
            let mode = config.stdin;
            let pump = Pump::listen(config, poller, base).map_err(|error| pump_failed(&error))?;
            if !uris.terminal {
                stdio.pipes = Some(make_pipes(&mut ends, [mode != StdinMode::Absent, true, true], owner)?);
            }
            stdio.way = Way::Pump(Box::new(pump));
        } else if !uris.terminal {
            stdio.way = open_pipes(uris, owner, poller, base, &mut ends)?;
        }
        Ok((stdio, ends))
    }

    /// The path that the runtime is told to send the terminal to.
    pub fn console_path(&self) -> Option<PathBuf> {
        self.console.as_ref().map(|console| console.path().to_owned())
    }

    /// The runtime has made the process: takes the terminal that it has sent, if there is to be one, and reads the pipes. What
    /// a runtime that failed has written to them is no output of the container's.
    pub fn take_terminal(
        &mut self,
        uris: &StdioUris,
        owner: Owner<'_>,
        poller: &Poller,
        base: u64,
    ) -> Result<(), Status> {
        if let (Way::Pump(pump), Some(pipes)) = (&mut self.way, self.pipes.take()) {
            pump.connect_pipes(poller, pipes).map_err(|error| pump_failed(&error))?;
        }
        let Some(console) = self.console.take() else { return Ok(()) };
        let master = console.receive().map_err(failed("failed to retrieve console master"))?;
        if let Some((rows, columns)) = self.size {
            resize(&master, rows, columns)?;
        }
        match &mut self.way {
            Way::Pump(pump) => pump.connect_terminal(poller, master).map_err(|error| pump_failed(&error)),
            _ => {
                self.way = Way::Relay(Box::new(relay_terminal(uris, owner, poller, base, master)?));
                Ok(())
            }
        }
    }

    /// The process runs: its input may come.
    pub fn started(&mut self, poller: &Poller) {
        if let Way::Relay(relay) = &mut self.way
            && let Err(errno) = relay.open_stdin(poller)
        {
            eprintln!("failed to open stdin fifo: {errno}");
        }
    }

    pub fn resize(&mut self, rows: u16, columns: u16) -> Result<(), Status> {
        let terminal = match &self.way {
            Way::Pump(pump) => pump.terminal(),
            Way::Relay(relay) => relay.terminal(),
            Way::Null => None,
        };
        match terminal {
            Some(master) => resize(master, rows, columns),
            None => {
                self.size = Some((rows, columns));
                Ok(())
            }
        }
    }

    pub fn close_stdin(&mut self, poller: &Poller) {
        match &mut self.way {
            Way::Pump(pump) => pump.close_stdin(poller),
            Way::Relay(relay) => relay.close_stdin(),
            Way::Null => {}
        }
    }

    pub fn ready(&mut self, poller: &Poller, event: Event, scratch: &mut [u8]) {
        match &mut self.way {
            Way::Pump(pump) => pump.ready(poller, event, scratch),
            Way::Relay(relay) => relay.ready(poller, event, scratch),
            Way::Null => {}
        }
        self.report_failure();
    }

    /// The process has ended: everything that is there is passed on.
    pub fn end(&mut self, poller: &Poller, scratch: &mut [u8]) {
        self.console = None;
        self.ended = true;
        match &mut self.way {
            Way::Pump(pump) => pump.end(poller, scratch),
            Way::Relay(relay) => relay.end(poller, scratch),
            Way::Null => {}
        }
        self.report_failure();
    }

    /// After [`end`](Self::end): whether the exit can be reported.
    pub fn is_settled(&self, now: Instant) -> bool {
        match &self.way {
            Way::Pump(pump) => pump.is_settled(now),
            Way::Relay(_) | Way::Null => true,
        }
    }

    /// When to look again: at [`is_settled`](Self::is_settled), and with [`retry`](Self::retry).
    pub fn deadline(&self) -> Option<Instant> {
        match &self.way {
            Way::Pump(pump) if self.ended => pump.stall_deadline(),
            Way::Relay(relay) => relay.deadline(),
            Way::Pump(_) | Way::Null => None,
        }
    }

    /// To be called when the deadline has passed.
    pub fn retry(&mut self, poller: &Poller, now: Instant, scratch: &mut [u8]) {
        if let Way::Relay(relay) = &mut self.way {
            relay.retry(poller, now, scratch);
        }
    }

    /// Whether an attached client still waits for output.
    pub fn has_clients(&self) -> bool {
        matches!(&self.way, Way::Pump(pump) if pump.has_clients())
    }

    fn report_failure(&mut self) {
        if let Way::Pump(pump) = &mut self.way
            && let Some(error) = pump.take_failure()
        {
            eprintln!("{}", errors::chain(&error));
        }
    }
}

/// FIFOs, files and logging programs, for a process without a terminal.
fn open_pipes(
    uris: &StdioUris,
    owner: Owner<'_>,
    poller: &Poller,
    base: u64,
    ends: &mut ChildEnds,
) -> Result<Way, Status> {
    if uris.stdin.is_empty() && uris.stdout.is_empty() && uris.stderr.is_empty() {
        return Ok(Way::Null);
    }
    if is_logger(&uris.stdout) {
        let logger = logger::start(&uris.stdout, owner.namespace, owner.id);
        let (stdout, stderr) = logger.map_err(failed("failed to start the logging binary"))?;
        *ends = ChildEnds { stdin: None, stdout: Some(stdout), stderr: Some(stderr) };
        return Ok(Way::Null);
    }
    let targets = [target(&uris.stdout)?, target(&uris.stderr)?];
    let wanted = [!uris.stdin.is_empty(), targets[0].is_some(), targets[1].is_some()];
    let pipes = make_pipes(ends, wanted, owner)?;
    let mut relay = Relay::new(base);
    let register = failed("unable to copy pipes");
    if let Some(pipe) = pipes.stdin {
        relay.set_stdin(PathBuf::from(&uris.stdin), pipe);
    }
    let outputs = [(1, pipes.stdout), (2, pipes.stderr)].into_iter().zip(targets);
    let connect = || {
        for ((index, pipe), path) in outputs {
            if let (Some(pipe), Some(path)) = (pipe, path) {
                relay.connect_output(poller, index, pipe, &path)?;
            }
        }
        Ok::<_, rustix::io::Errno>(())
    };
    connect().map_err(register)?;
    Ok(Way::Relay(Box::new(relay)))
}

fn relay_terminal(
    uris: &StdioUris,
    owner: Owner<'_>,
    poller: &Poller,
    base: u64,
    master: OwnedFd,
) -> Result<Relay, Status> {
    let mut relay = Relay::new(base);
    let mut connect = || -> io::Result<()> {
        if !uris.stdin.is_empty() {
            relay.set_stdin(PathBuf::from(&uris.stdin), relay::duplicate(&master)?);
        }
        let output = relay::duplicate(&master)?;
        if is_logger(&uris.stdout) {
            let (to, _) = logger::start(&uris.stdout, owner.namespace, owner.id)?;
            relay.connect(poller, 1, output, to)?;
        } else if let Some(path) = target(&uris.stdout).map_err(|status| io::Error::other(status.message))? {
            relay.connect_output(poller, 1, output, &path)?;
        }
        Ok(())
    };
    connect().map_err(failed("failed to start console copy"))?;
    relay.set_terminal(master);
    Ok(relay)
}

/// The path behind a URI of an output, `None` for none; a file is created.
fn target(uri: &str) -> Result<Option<PathBuf>, Status> {
    if uri.is_empty() {
        return Ok(None);
    }
    let Some((scheme, path)) = uri.split_once("://") else { return Ok(Some(PathBuf::from(uri))) };
    match scheme {
        "fifo" => Ok(Some(PathBuf::from(path))),
        "file" => {
            let create = || {
                if let Some(folder) = Path::new(path).parent() {
                    std::fs::create_dir_all(folder)?;
                }
                std::fs::File::options().create(true).append(true).open(path)
            };
            create().map_err(failed("cannot open the file for output"))?;
            Ok(Some(PathBuf::from(path)))
        }
        _ => Err(messages::invalid(format!("unknown STDIO scheme {scheme}"))),
    }
}

fn is_logger(uri: &str) -> bool {
    uri.starts_with("binary://") || uri.starts_with("binary-v2://")
}

/// Pipes for those of stdin, stdout and stderr that are wanted: the process's ends into `ends`, ours come back.
fn make_pipes(ends: &mut ChildEnds, wanted: [bool; 3], owner: Owner<'_>) -> Result<Pipes, Status> {
    let pipe = |wanted: bool| -> Result<Option<(OwnedFd, OwnedFd)>, Status> {
        if !wanted {
            return Ok(None);
        }
        let pipe = pipe_with(PipeFlags::CLOEXEC).map_err(failed("failed to create pipes"))?;
        if owner.uid != 0 || owner.gid != 0 {
            let (uid, gid) = (Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)));
            fchown(&pipe.0, uid, gid).map_err(failed("failed to change the owner of a pipe"))?;
        }
        Ok(Some(pipe))
    };
    let mut pipes = Pipes::default();
    if let Some((reader, writer)) = pipe(wanted[0])? {
        (ends.stdin, pipes.stdin) = (Some(reader), Some(writer));
    }
    if let Some((reader, writer)) = pipe(wanted[1])? {
        (pipes.stdout, ends.stdout) = (Some(reader), Some(writer));
    }
    if let Some((reader, writer)) = pipe(wanted[2])? {
        (pipes.stderr, ends.stderr) = (Some(reader), Some(writer));
    }
    Ok(pipes)
}

fn resize(master: &OwnedFd, rows: u16, columns: u16) -> Result<(), Status> {
    let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(master, size).map_err(failed("cannot resize the terminal"))
}

fn pump_failed(error: &logs::pump::PumpError) -> Status {
    messages::unknown(format!("failed to create init process I/O: {}", errors::chain(error)))
}

pub fn failed<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> Status {
    move |error| messages::unknown(format!("{what}: {}", error.into()))
}
