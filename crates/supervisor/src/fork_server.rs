//! Shims of our own program without executing it for each: a process of it, kept for that, leaves a copy behind whenever
//! it is asked to (the shim's `fork-server`).
//!
//! It is started with the first shim, and again when its program or the runtime's, which it performs, is another one than
//! it was, as after an upgrade. It is
//! executed from a read-only mount of the program's file that is attached nowhere: so nothing of a container can overwrite
//! the program (CVE-2019-5736), and its shims may perform our runtime themselves. Its end is the end of its socket, ours
//! included; its shims go on.
//!
//! Invariant: whatever goes wrong with it, the shim is started by its program, as any other one is.

use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::process::Stdio;

use containerd_api::Any;
use containerd_api::prost::Message;
use serde::{Deserialize, Serialize};
use sys::program::Version;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::runtimes::{OWN_RUNTIME, OWN_SHIM};
use crate::shim_program::{Bootstrap, Daemon, START_LIMIT};

/// Bytes of an answer.
const ANSWER_LIMIT: u64 = 64 << 10;
/// A shim's command line is written over that of the fork server: so long an id fits.
const ROOM_FOR_ID: usize = 80;

/// What the shim's program reads (`shim::fork_server`).
#[derive(Debug, Serialize)]
struct Start<'a> {
    namespace: &'a str,
    id: &'a str,
    bundle: &'a Path,
    options: Vec<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Started {
    Address(String),
    Error(String),
}

#[derive(Debug, Default)]
pub struct ForkServer {
    /// One start at a time: each takes some tenths of a millisecond.
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    programs: Programs,
    socket: BufReader<UnixStream>,
    /// Ended and reaped by the runtime when it is dropped.
    _process: tokio::process::Child,
}

/// What a fork server does the work of: the shim's program and the runtime's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Programs {
    shim: Version,
    runtime: Option<Version>,
}

impl Programs {
    fn of(shim: &Path) -> Option<Self> {
        Some(Self { shim: Version::of(shim)?, runtime: Version::of(&shim.with_file_name(OWN_RUNTIME)) })
    }
}

impl ForkServer {
    /// Starts the shim of a bundle. `None`: not in this way.
    pub async fn start(
        &self,
        program: &Path,
        bundle: &Bundle,
        daemon: &Daemon,
        options: Option<&Any>,
    ) -> Option<Bootstrap> {
        let is_own = program.parent() == daemon.executable.parent() && program.file_name()? == OWN_SHIM;
        // Core scheduling is a matter of whole processes: each shim makes its own cookie.
        if !is_own || std::env::var_os("SCHED_CORE").is_some_and(|value| !value.is_empty()) {
            return None;
        }
        let programs = Programs::of(program)?;
        let options = options.map(Message::encode_to_vec).unwrap_or_default();
        let wanted = Start { namespace: &bundle.namespace, id: &bundle.id, bundle: &bundle.path, options };
        let mut running = self.running.lock().await;
        // Put back after an answer alone: half of one must not be taken for the next.
        let mut server = match running.take().filter(|server| server.programs == programs) {
            Some(server) => server,
            None => spawn(program, programs, daemon).inspect_err(|error| warn(&errors::chain(error))).ok()?,
        };
        match tokio::time::timeout(START_LIMIT, server.ask(&wanted)).await {
            Ok(Ok(answer)) => {
                *running = Some(server);
                match answer {
                    Started::Address(address) => Some(Bootstrap::version_2(&address)),
                    Started::Error(message) => {
                        warn(&message);
                        None
                    }
                }
            }
            Ok(Err(error)) => {
                warn(&error.to_string());
                None
            }
            Err(_) => {
                warn("it does not answer in time");
                None
            }
        }
    }
}

fn warn(error: &str) {
    tracing::warn!(error, "shims are started one by one: their fork server fails");
}

impl Running {
    async fn ask(&mut self, wanted: &Start<'_>) -> std::io::Result<Started> {
        let mut line = serde_json::to_vec(wanted)?;
        line.push(b'\n');
        self.socket.get_mut().write_all(&line).await?;
        let mut answer = Vec::new();
        if (&mut self.socket).take(ANSWER_LIMIT).read_until(b'\n', &mut answer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_slice(&answer)?)
    }
}

fn spawn(program: &Path, programs: Programs, daemon: &Daemon) -> Result<Running> {
    let failed = |error: std::io::Error| Error::io(format!("cannot start the shim {program:?}"))(error);
    let (ours, theirs) = StdUnixStream::pair().map_err(failed)?;
    ours.set_nonblocking(true).map_err(failed)?;
    // Where the kernel makes no such mount, shims leave the work to the runtime's program, which knows its own ways.
    let protected =
        CString::new(program.as_os_str().as_bytes()).ok().and_then(|path| sys::mount::readonly_clone(&path).ok());
    let mut command = match &protected {
        Some(file) => Command::new(format!("/proc/self/fd/{}", file.as_raw_fd())),
        None => Command::new(program),
    };
    command.arg0(program).args(["-namespace", "-", "-id", &".".repeat(ROOM_FOR_ID)]);
    command.arg("-address").arg(&daemon.address).arg("-publish-binary").arg(&daemon.executable).arg("fork-server");
    command.env("TTRPC_ADDRESS", &daemon.ttrpc_address).env("GRPC_ADDRESS", &daemon.address);
    // One that was stopped must not wake up and start what was started otherwise; its shims are processes of their own.
    command.current_dir("/").process_group(0).kill_on_drop(true);
    command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs))).stdout(Stdio::null()).stderr(Stdio::inherit());
    let process = command.spawn().map_err(failed)?;
    let socket = BufReader::new(UnixStream::from_std(ours).map_err(failed)?);
    Ok(Running { programs, socket, _process: process })
}
