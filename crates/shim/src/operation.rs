//! What the runtime is doing at the moment: one child process each, whose end brings the next step.

use crate::outcome::Outcome;
use crate::process::Reply;
use crate::{messages, runtime::Runtime};
use rustix::fs::{MemfdFlags, memfd_create};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use ttrpc::Status;

/// Bytes of a command's output that are looked at.
const OUTPUT_LIMIT: u64 = 1 << 20;
/// Ends of unknown processes that are remembered while the runtime is starting one.
const MAX_EARLY: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Create,
    /// The container was created, but what came after failed with this.
    Discard(Status),
    Start,
    StartExec(String),
    Delete,
    Pause,
    Resume,
    Update,
    Kill,
    /// What init left behind outside a PID namespace of its own.
    KillLeftovers,
    Processes,
}

#[derive(Debug)]
pub struct Operation {
    pub kind: Kind,
    pub reply: Option<Reply>,
    /// The runtime's log before this command.
    log_position: u64,
    output: Option<File>,
}

impl Operation {
    /// What the command wrote to its stdout and stderr.
    pub fn output(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(file) = &mut self.output {
            // A file in memory: what cannot be read is taken as not written.
            let read = file.rewind().and_then(|()| file.take(OUTPUT_LIMIT).read_to_end(&mut bytes));
            if read.is_err() {
                bytes.clear();
            }
        }
        bytes
    }

    /// Why the command failed, in the runtime's words.
    pub fn failure(&mut self, runtime: &Runtime, status: u32) -> String {
        if let Some(message) = runtime.last_error(self.log_position) {
            return message;
        }
        let output = self.output();
        let text = String::from_utf8_lossy(&output);
        match text.trim() {
            "" => format!("{} ended with status {status}", runtime.binary().display()),
            text => text.to_owned(),
        }
    }
}

/// All commands that run, by their process numbers.
#[derive(Debug, Default)]
pub struct Operations {
    running: HashMap<i32, Operation>,
    early: Vec<(i32, Outcome)>,
}

impl Operations {
    /// Starts a command. `captured` keeps its output, which must not be connected then.
    pub fn spawn(
        &mut self,
        runtime: &Runtime,
        mut command: Command,
        kind: Kind,
        reply: Option<Reply>,
        captured: bool,
    ) -> Result<(), Status> {
        let output = if captured { Some(capture(&mut command)?) } else { None };
        let log_position = runtime.log_position();
        let child = command.spawn().map_err(|error| {
            messages::unknown(format!("cannot run the OCI runtime {}: {error}", runtime.binary().display()))
        })?;
        self.running.insert(child.id() as i32, Operation { kind, reply, log_position, output });
        Ok(())
    }

    pub fn finish(&mut self, pid: i32) -> Option<Operation> {
        self.running.remove(&pid)
    }

    /// Remembers the end of a process that the runtime may be about to tell us of.
    pub fn remember(&mut self, pid: i32, outcome: Outcome) {
        if self.is_starting() && self.early.len() < MAX_EARLY {
            self.early.push((pid, outcome));
        }
    }

    /// The end of a process that came before its number was known.
    pub fn recall(&mut self, pid: i32) -> Option<Outcome> {
        let found = self.early.iter().position(|(early, _)| *early == pid).map(|index| self.early.remove(index).1);
        if !self.is_starting() {
            self.early = Vec::new();
        }
        found
    }

    fn is_starting(&self) -> bool {
        self.running.values().any(|operation| matches!(operation.kind, Kind::Create | Kind::StartExec(_)))
    }
}

fn capture(command: &mut Command) -> Result<File, Status> {
    let failed = |error: std::io::Error| messages::unknown(format!("cannot keep the runtime's output: {error}"));
    let file = File::from(memfd_create("runtime-output", MemfdFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?);
    command.stdout(Stdio::from(file.try_clone().map_err(failed)?));
    command.stderr(Stdio::from(file.try_clone().map_err(failed)?));
    Ok(file)
}
