//! The wire to docker-netd: one connection, one line each way, everything said again to a new instance.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use network_core::netd::{MAX_LINE_BYTES, Reply, Request, Sandbox};

use crate::error::Error;

/// An answer takes microseconds; a `sync` of thousands of sandboxes some hundred milliseconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// How long a docker-netd that is being started may take to listen.
const START_LIMIT: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(2);

pub(crate) struct NetdClient {
    socket: PathBuf,
    program: Option<PathBuf>,
    connection: Mutex<Option<Connection>>,
}

struct Connection {
    reader: BufReader<UnixStream>,
    instance: String,
}

impl NetdClient {
    pub(crate) fn new(socket: PathBuf, program: Option<PathBuf>) -> Self {
        Self { socket, program, connection: Mutex::new(None) }
    }

    /// Says everything. What that is, is asked when nobody else speaks: an older list, said after a newer statement, would
    /// take that back.
    pub(crate) fn say_all(&self, all: impl Fn() -> Vec<Sandbox>) -> Result<Reply, Error> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let request = Request::Sync { sandboxes: all() };
        self.say_locked(&mut connection, &request, all)
    }

    /// Says one thing. `all` is what a docker-netd that knows nothing has to hear first; it includes the sandbox meant.
    pub(crate) fn say(&self, request: &Request, all: impl Fn() -> Vec<Sandbox>) -> Result<Reply, Error> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        self.say_locked(&mut connection, request, all)
    }

    fn say_locked(
        &self,
        connection: &mut Option<Connection>,
        request: &Request,
        all: impl Fn() -> Vec<Sandbox>,
    ) -> Result<Reply, Error> {
        if let Some(open) = connection.as_mut()
            && let Ok(reply) = open.exchange(request)
        {
            return Ok(reply);
        }
        // It died, or this is the first word. Requests state what shall be, so that saying one twice is harmless.
        let known = connection.take().map(|connection| connection.instance);
        let mut fresh = self.connect()?;
        if known.as_ref() != Some(&fresh.instance) && !matches!(request, Request::Sync { .. }) {
            let sync = Request::Sync { sandboxes: all() };
            fresh.exchange(&sync).map_err(|source| Error::Netd { action: "bring up to date", source })?;
        }
        let reply = fresh.exchange(request).map_err(|source| Error::Netd { action: "talk to", source })?;
        *connection = Some(fresh);
        Ok(reply)
    }

    /// A second connection, on which nothing is said: it ends when that docker-netd does.
    pub(crate) fn watch(&self) -> io::Result<UnixStream> {
        UnixStream::connect(&self.socket)
    }

    /// Asks one that runs to end; it refuses while it serves a sandbox.
    pub(crate) fn end(&self) -> Result<(), Error> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        *connection = None;
        let Ok(stream) = UnixStream::connect(&self.socket) else { return Ok(()) };
        let ended = Connection::open(stream).and_then(|mut open| open.exchange(&Request::Exit));
        ended.map(drop).map_err(|source| Error::Netd { action: "end", source })
    }

    fn connect(&self) -> Result<Connection, Error> {
        let failed = |source| Error::Netd { action: "reach", source };
        let deadline = Instant::now() + START_LIMIT;
        let mut started = false;
        loop {
            let source = match UnixStream::connect(&self.socket) {
                Ok(stream) => match Connection::open(stream) {
                    Ok(connection) => return Ok(connection),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if !started && let Some(program) = &self.program {
                self.start(program)?;
                started = true;
            }
            if Instant::now() >= deadline {
                return Err(failed(source));
            }
            // No event tells that another process listens; the wait is bounded and short.
            std::thread::sleep(RETRY);
        }
    }

    /// In a session of its own, so that it outlives this daemon; its lock file keeps a second one from staying.
    fn start(&self, program: &std::path::Path) -> Result<(), Error> {
        let failed = |source: io::Error| Error::Netd { action: "start", source };
        let pid_file = self.socket.with_extension("pid");
        let mut command = Command::new(program);
        command.arg("--socket").arg(&self.socket).arg("--pid-file").arg(pid_file).stdin(Stdio::null());
        let mut child = sys::spawn::in_new_session(&mut command).map_err(failed)?;
        // Reaped when it ends before we do; it sleeps in waitpid until then.
        let reaper = std::thread::Builder::new().name("netd-reaper".to_owned()).stack_size(64 * 1024);
        reaper.spawn(move || child.wait()).map_err(failed)?;
        Ok(())
    }
}

impl Connection {
    fn open(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        let mut connection = Self { reader: BufReader::new(stream), instance: String::new() };
        match connection.exchange(&Request::Hello)? {
            Reply::Hello { instance, .. } => connection.instance = instance,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "no greeting")),
        }
        Ok(connection)
    }

    fn exchange(&mut self, request: &Request) -> io::Result<Reply> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.reader.get_mut().write_all(&line)?;
        let mut answer = Vec::new();
        io::Read::take(&mut self.reader, MAX_LINE_BYTES as u64).read_until(b'\n', &mut answer)?;
        if answer.last() != Some(&b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_slice(&answer)?)
    }
}
