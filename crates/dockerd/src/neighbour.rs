//! The programs that dockerd starts and that outlive it: docker-containerd and docker-netd.
//!
//! A neighbour has a session of its own and is found again through its pid file and its socket. One that dies is started
//! anew. This daemon never needs to be its parent: it watches through a pidfd either way.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

/// How long a new neighbour may take to answer on its socket.
const START_LIMIT: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(5);
/// How long one that another daemon started just before may take to answer.
const UNRECORDED_LIMIT: Duration = Duration::from_secs(2);
/// Between a death and the next start, doubling up to the second.
const RESTART_MIN: Duration = Duration::from_millis(50);
const RESTART_MAX: Duration = Duration::from_secs(10);
/// A neighbour that lived that long starts again without delay.
const HEALTHY: Duration = Duration::from_secs(30);
/// How long a neighbour may take to stop on SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How to start one, and how to find it again.
#[derive(Debug, Clone)]
pub struct Neighbour {
    pub name: &'static str,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub pid_file: PathBuf,
    pub socket: PathBuf,
}

/// One that runs and answers.
pub struct Running {
    pid: Pid,
    pidfd: AsyncFd<OwnedFd>,
}

impl Neighbour {
    /// The one that a former daemon left running, or a new one; returns when its socket answers.
    pub async fn ensure(&self) -> Result<Running> {
        let adopted = match self.adopt().await? {
            Some(running) => Some(running),
            None => self.adopt_unrecorded().await?,
        };
        if let Some(running) = adopted {
            self.check_arguments(&running)?;
            tracing::info!(name = self.name, pid = running.pid.as_raw_nonzero(), "found running");
            return Ok(running);
        }
        match self.start().await {
            Ok(running) => Ok(running),
            // A former daemon may have started one and died before it could say so: that one holds what ours needed.
            Err(error) => match tokio::time::timeout(UNRECORDED_LIMIT, self.wait_for_unrecorded()).await {
                Ok(adopted) => adopted,
                Err(_) => Err(error),
            },
        }
    }

    /// One that keeps another root for its state would show and end containers of other users (`--userns-remap`), or none.
    fn check_arguments(&self, running: &Running) -> Result<()> {
        let pid = running.pid.as_raw_nonzero();
        let command_line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = command_line.split(|byte| *byte == 0).collect();
        let root_of = |words: &[&[u8]]| {
            let at = words.iter().position(|word| *word == b"--root")?;
            let root = PathBuf::from(String::from_utf8_lossy(words.get(at + 1)?).into_owned());
            Some(root.canonicalize().unwrap_or(root))
        };
        let ours: Vec<&[u8]> = self.arguments.iter().map(String::as_bytes).collect();
        match (root_of(&words), root_of(&ours)) {
            (Some(theirs), Some(ours)) if theirs != ours => bail!(
                "{} (process {pid}) still serves {}, not {}: stop it first, or start with the former options",
                self.name,
                theirs.display(),
                ours.display()
            ),
            _ => Ok(()),
        }
    }

    /// Keeps one running for ever.
    pub async fn keep(self, mut running: Running) {
        let mut delay = RESTART_MIN;
        loop {
            let since = Instant::now();
            running.ended().await;
            tracing::warn!(name = self.name, pid = running.pid.as_raw_nonzero(), "died, starting it again");
            if since.elapsed() > HEALTHY {
                delay = RESTART_MIN;
            }
            running = loop {
                match self.ensure().await {
                    Ok(running) => break running,
                    Err(error) => tracing::error!(name = self.name, error = format!("{error:#}"), "cannot start"),
                }
                sleep(delay).await;
                delay = (delay * 2).min(RESTART_MAX);
            };
        }
    }

    /// Ends the one that the pid file names, if there is one.
    pub async fn stop(&self) {
        let Some(pid) = self.recorded_pid() else { return };
        let Ok(running) = Running::open(pid) else { return };
        running.signal(Signal::TERM);
        if tokio::time::timeout(STOP_LIMIT, running.ended()).await.is_err() {
            running.signal(Signal::KILL);
            running.ended().await;
        }
    }

    async fn adopt(&self) -> Result<Option<Running>> {
        let Some(pid) = self.recorded_pid() else { return Ok(None) };
        let Ok(running) = Running::open(pid) else { return Ok(None) };
        if self.answers(&running).await {
            return Ok(Some(running));
        }
        tracing::warn!(name = self.name, pid = pid.as_raw_nonzero(), "runs but does not answer, ending it");
        running.signal(Signal::KILL);
        running.ended().await;
        Ok(None)
    }

    /// The one that listens on the socket, where the pid file does not name it.
    async fn adopt_unrecorded(&self) -> Result<Option<Running>> {
        let Some(pid) = self.listener().await else { return Ok(None) };
        let Ok(running) = Running::open(pid) else { return Ok(None) };
        self.record(pid)?;
        Ok(Some(running))
    }

    async fn wait_for_unrecorded(&self) -> Result<Running> {
        loop {
            if let Some(running) = self.adopt_unrecorded().await? {
                return Ok(running);
            }
            sleep(POLL).await;
        }
    }

    /// The pid in the pid file, if that process is this program.
    fn recorded_pid(&self) -> Option<Pid> {
        let number = fs::read_to_string(&self.pid_file).ok()?.trim().parse().ok()?;
        self.if_program(number)
    }

    fn record(&self, pid: Pid) -> Result<()> {
        let text = pid.as_raw_nonzero().to_string();
        fs::write(&self.pid_file, text).with_context(|| self.pid_file.display().to_string())
    }

    /// Whoever listens on the socket (unix(7), SO_PEERCRED), if that process is this program.
    async fn listener(&self) -> Option<Pid> {
        let stream = UnixStream::connect(&self.socket).await.ok()?;
        self.if_program(stream.peer_cred().ok()?.pid()?)
    }

    /// The process of this number, if it is this program with this socket: pids are used again.
    fn if_program(&self, number: i32) -> Option<Pid> {
        let command_line = fs::read(format!("/proc/{number}/cmdline")).ok()?;
        let mut words = command_line.split(|b| *b == 0);
        let is_program = words.next().is_some_and(|word| word.ends_with(self.name.as_bytes()));
        let socket = self.socket.as_os_str().as_encoded_bytes();
        (is_program && words.any(|word| word == socket)).then(|| Pid::from_raw(number))?
    }

    async fn start(&self) -> Result<Running> {
        for file in [&self.socket, &self.pid_file] {
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            }
        }
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null());
        // What the service manager says and wants to hear is between it and this process.
        for name in ["NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", "WATCHDOG_USEC"] {
            command.env_remove(name);
        }
        let child = sys::spawn::in_new_session(&mut command)
            .with_context(|| format!("failed to start {}", self.program.display()))?;
        let pid = Pid::from_child(&child);
        crate::descriptors::restore_limit(pid);
        let running = Running::open(pid)?;
        self.record(pid)?;
        if !self.answers(&running).await {
            running.signal(Signal::KILL);
            running.ended().await;
            bail!("{} did not answer on {}", self.name, self.socket.display());
        }
        tracing::info!(name = self.name, pid = child.id(), "started");
        Ok(running)
    }

    /// Waits until it listens on its socket; gives up when the process ends or the time is over.
    async fn answers(&self, running: &Running) -> bool {
        let connected = async {
            while self.listener().await != Some(running.pid) {
                sleep(POLL).await;
            }
        };
        tokio::select! {
            () = connected => true,
            () = running.ended() => false,
            () = sleep(START_LIMIT) => false,
        }
    }
}

impl Running {
    fn open(pid: Pid) -> Result<Self> {
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for descriptors that close too early; an OwnedFd does not"
        )]
        let pidfd = AsyncFd::new(pidfd)?;
        Ok(Self { pid, pidfd })
    }

    /// Returns when the process has ended, and reaps it if it is a child of ours.
    async fn ended(&self) {
        // A pidfd becomes readable when its process ends; an error means that it is gone as well.
        let _ = self.pidfd.readable().await;
        let _ = rustix::process::waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }

    fn signal(&self, signal: Signal) {
        // It may have ended a moment ago.
        let _ = rustix::process::pidfd_send_signal(self.pidfd.get_ref(), signal);
    }
}
