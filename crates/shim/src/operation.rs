//! What the runtime is doing at the moment: one child process each, whose end brings the next step.

use crate::inside::{self, Announcements, Report, ReportFile};
use crate::outcome::Outcome;
use crate::process::Reply;
use crate::stdio::ChildEnds;
use crate::work::Work;
use crate::{messages, runtime::Runtime};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use ttrpc::Status;

/// Bytes of a command's output that are looked at.
const OUTPUT_LIMIT: u64 = 1 << 20;
/// Ends of unknown processes that are remembered while the runtime is starting one.
const MAX_EARLY: usize = 4096;
/// What is told of a process whose end was not remembered, as containerd tells it of one that it knows nothing of.
const UNKNOWN_STATUS: u32 = 255;

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

/// Where the streams of what does the work lead.
#[derive(Debug)]
pub enum Streams {
    /// To those of the container's process that is being made.
    Process(ChildEnds),
    /// Into memory, for us.
    Captured,
}

#[derive(Debug)]
pub struct Operation {
    pub kind: Kind,
    pub reply: Option<Reply>,
    said: Said,
}

/// What the runtime leaves behind when it is done.
#[derive(Debug)]
enum Said {
    /// Of a program: its log from there on, and its stdout and stderr.
    Program { log_position: u64, output: Option<File> },
    /// Of our own.
    Inside { file: ReportFile, report: Option<Report> },
}

impl Operation {
    /// Why it failed, in the runtime's words.
    pub fn failure(&mut self, runtime: &Runtime, status: u32) -> String {
        let words = match &mut self.said {
            Said::Program { log_position, output } => runtime.last_error(*log_position).unwrap_or_else(|| {
                let output = output.as_mut().map(read).unwrap_or_default();
                String::from_utf8_lossy(&output).trim().to_owned()
            }),
            Said::Inside { report, .. } => report.as_ref().and_then(|report| report.error.clone()).unwrap_or_default(),
        };
        if words.is_empty() { format!("{} ended with status {status}", runtime.binary().display()) } else { words }
    }

    /// Takes what our own runtime has reported, if it has, and answers the status that this stands for.
    fn read_report(&mut self) -> Option<u32> {
        let Said::Inside { file, report } = &mut self.said else { return None };
        *report = file.read();
        let report = report.as_ref()?;
        for warning in &report.warnings {
            eprintln!("{warning}");
        }
        Some(report.error.is_some().into())
    }

    /// The numbers that [`Work::Processes`] answers.
    pub fn pids(&mut self) -> Result<Vec<i32>, serde_json::Error> {
        match &mut self.said {
            Said::Program { output, .. } => {
                let output = output.as_mut().map(read).unwrap_or_default();
                Ok(serde_json::from_slice::<Option<Vec<i32>>>(&output)?.unwrap_or_default())
            }
            Said::Inside { report, .. } => Ok(report.as_ref().map(|report| report.pids.clone()).unwrap_or_default()),
        }
    }
}

/// All operations that run, by the numbers of the processes that do them.
#[derive(Debug)]
pub struct Operations {
    running: HashMap<i32, Operation>,
    announcements: Announcements,
    /// Copies that have reported and are ending.
    ending: HashSet<i32>,
    early: Vec<(i32, Outcome)>,
    /// There were more than are remembered.
    forgotten: bool,
}

/// Whose end it was.
#[derive(Debug)]
pub enum Ended {
    Operation(Operation),
    /// Of a copy that had reported before.
    Reported,
    /// None of an operation's.
    Other,
}

impl Operations {
    pub fn new() -> std::io::Result<Self> {
        let announcements = Announcements::new()?;
        Ok(Self { running: HashMap::new(), announcements, ending: HashSet::new(), early: Vec::new(), forgotten: false })
    }

    /// Readable when an operation has reported.
    pub fn announcements(&self) -> &Announcements {
        &self.announcements
    }

    /// Begins the work on a container.
    pub fn begin(
        &mut self,
        runtime: &Runtime,
        id: &str,
        work: &Work,
        streams: Streams,
        kind: Kind,
        reply: Option<Reply>,
    ) -> Result<(), Status> {
        let failed = |error: std::io::Error| {
            messages::unknown(format!("cannot run the OCI runtime {}: {error}", runtime.binary().display()))
        };
        let (pid, said) = match runtime.inside() {
            Some(root) => {
                let ends = match streams {
                    Streams::Process(ends) => ends,
                    Streams::Captured => ChildEnds::default(),
                };
                let (pid, file) = inside::begin(root, id, work, ends, &self.announcements).map_err(failed)?;
                (pid, Said::Inside { file, report: None })
            }
            None => {
                let mut command = runtime.command(id, work);
                let output = match streams {
                    Streams::Process(ends) => {
                        connect(&mut command, ends);
                        None
                    }
                    Streams::Captured => Some(capture(&mut command)?),
                };
                let log_position = runtime.log_position();
                let child = sys::spawn::with_nothing_blocked(&mut command).spawn().map_err(failed)?;
                (child.id() as i32, Said::Program { log_position, output })
            }
        };
        self.running.insert(pid, Operation { kind, reply, said });
        Ok(())
    }

    /// The operations that have reported, with the status that their process ends with.
    pub fn reported(&mut self) -> Vec<(Operation, u32)> {
        let mut done = Vec::new();
        for pid in self.announcements.take() {
            // Until the copy has ended, the process that it made is no child of this one, as `recall` then has to know.
            if self.forgotten {
                continue;
            }
            let Some(mut operation) = self.running.remove(&pid) else { continue };
            match operation.read_report() {
                Some(status) => {
                    self.ending.insert(pid);
                    done.push((operation, status));
                }
                // Its end will say what became of it.
                None => {
                    self.running.insert(pid, operation);
                }
            }
        }
        done
    }

    /// What a process that has ended did.
    pub fn finish(&mut self, pid: i32) -> Ended {
        if self.ending.remove(&pid) {
            return Ended::Reported;
        }
        let Some(mut operation) = self.running.remove(&pid) else { return Ended::Other };
        operation.read_report();
        Ended::Operation(operation)
    }

    /// Remembers the end of a process that the runtime may be about to tell us of.
    pub fn remember(&mut self, pid: i32, outcome: Outcome) {
        if !self.is_starting() {
            return;
        }
        if self.early.len() < MAX_EARLY {
            self.early.push((pid, outcome));
        } else {
            self.forgotten = true;
        }
    }

    /// The end of a process that came before its number was known.
    pub fn recall(&mut self, pid: i32) -> Option<Outcome> {
        let found = self.early.iter().position(|(early, _)| *early == pid).map(|index| self.early.remove(index).1);
        let found = found.or_else(|| (self.forgotten && !is_child(pid)).then(|| Outcome::now(UNKNOWN_STATUS)));
        if !self.is_starting() {
            self.early = Vec::new();
            self.forgotten = false;
        }
        found
    }

    fn is_starting(&self) -> bool {
        self.running.values().any(|operation| matches!(operation.kind, Kind::Create | Kind::StartExec(_)))
    }
}

/// Whether there is such a child, one that has ended and was not reaped included.
fn is_child(pid: i32) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Pid::from_raw(pid).is_some_and(|pid| waitid(WaitId::Pid(pid), options).is_ok())
}

/// What a program has written into a file in memory: what cannot be read is taken as not written.
fn read(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = file.rewind().and_then(|()| file.take(OUTPUT_LIMIT).read_to_end(&mut bytes));
    if read.is_ok() { bytes } else { Vec::new() }
}

fn connect(command: &mut Command, ends: ChildEnds) {
    if let Some(stdin) = ends.stdin {
        command.stdin(stdin);
    }
    if let Some(stdout) = ends.stdout {
        command.stdout(stdout);
    }
    if let Some(stderr) = ends.stderr {
        command.stderr(stderr);
    }
}

fn capture(command: &mut Command) -> Result<File, Status> {
    let failed = |error: std::io::Error| messages::unknown(format!("cannot keep the runtime's output: {error}"));
    let file = File::from(memfd_create("runtime-output", MemfdFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?);
    command.stdout(Stdio::from(file.try_clone().map_err(failed)?));
    command.stderr(Stdio::from(file.try_clone().map_err(failed)?));
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_among_more_than_are_remembered_is_told_all_the_same() {
        let mut operations = Operations::new().expect("operations");
        let said = Said::Program { log_position: 0, output: None };
        operations.running.insert(1, Operation { kind: Kind::Create, reply: None, said });
        let orphans = 1_000_000..;
        for pid in orphans.take(MAX_EARLY) {
            operations.remember(pid, Outcome::now(0));
        }
        let mut living = Command::new("sleep").arg("1000").spawn().expect("sleep");
        let mut ended = Command::new("true").spawn().expect("true");
        ended.wait().expect("wait");
        let (living_pid, ended_pid) = (living.id() as i32, ended.id() as i32);
        assert!(operations.recall(ended_pid).is_none(), "nothing was forgotten yet");
        operations.remember(ended_pid, Outcome::now(3));
        assert_eq!(operations.recall(1_000_000).map(|outcome| outcome.status), Some(0));
        assert!(operations.recall(living_pid).is_none());
        assert_eq!(operations.recall(ended_pid).map(|outcome| outcome.status), Some(UNKNOWN_STATUS));
        living.kill().and_then(|()| living.wait()).expect("kill");
    }
}
