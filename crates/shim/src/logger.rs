//! `binary://` and `binary-v2://`: a program of the caller's that reads a process's output from descriptors 3 and 4 and
//! says by closing descriptor 5 that it is ready (containerd's core/runtime/v2/README.md, logging).

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

/// How long a logger may take to be ready; the shim serves nothing meanwhile, as nothing runs yet.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// Starts the program; the writing ends of its pipes come back, for the process's stdout and stderr.
pub fn start(uri: &str, namespace: &str, id: &str) -> io::Result<(OwnedFd, OwnedFd)> {
    let (must_speak, rest) = match (uri.strip_prefix("binary-v2://"), uri.strip_prefix("binary://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a URI of a logging binary")),
    };
    let (program, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (stdout_reader, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stderr_reader, stderr) = pipe_with(PipeFlags::CLOEXEC)?;
    let (ready, ready_writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let mut command = Command::new(percent_decode(program));
    // As containerd passes them: each key, then its value.
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        command.arg(percent_decode(key));
        if !value.is_empty() {
            command.arg(percent_decode(value));
        }
    }
    command.env("CONTAINER_ID", id).env("CONTAINER_NAMESPACE", namespace);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    sys::child_fds::pass(&mut command, [(stdout_reader, 3), (stderr_reader, 4), (ready_writer, 5)]);
    // Reaped with every other child; the descriptors' owner goes with the command.
    sys::spawn::with_nothing_blocked(&mut command).spawn()?;
    drop(command);
    wait_ready(&ready, must_speak)?;
    Ok((stdout, stderr))
}

fn wait_ready(ready: &OwnedFd, must_speak: bool) -> io::Result<()> {
    if poll(&mut [PollFd::new(ready, PollFlags::IN)], Some(&PATIENCE))? == 0 {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "the logging binary did not become ready"));
    }
    let mut byte = [0];
    if rustix::io::read(ready, &mut byte)? == 0 && must_speak {
        return Err(io::Error::other("logging binary did not call ready (it may have crashed or exited prematurely)"));
    }
    Ok(())
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = tail.get(..2).filter(|_| byte == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &tail[2..];
            }
            None => {
                bytes.push(if byte == b'+' { b' ' } else { byte });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
