//! Our own runtime, performed by a copy of this process instead of a program: what `docker-runc` does, without executing
//! it.
//!
//! The copy goes on as the runtime does: it clones the container's process, follows it, and ends; the process becomes the
//! shim's child. Of the shim's descriptors it keeps none. A copy must not be made of a program that a container could
//! overwrite (CVE-2019-5736), which is `runtime::protect`'s to say.

use crate::stdio::ChildEnds;
use crate::work::Work;
use errors::chain;
use runtime::create::{self, CreateRequest, Mode};
use runtime::delete::{self, Force};
use runtime::exec::{self, ExecRequest, ProcessSource};
use runtime::{Notes, Root, RuntimeError, bundle, kill, list, pause, start, update};
use rustix::fs::{MemfdFlags, Mode as FileMode, OFlags, memfd_create, open};
use rustix::pipe::{PipeFlags, pipe_with};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use sys::file::close_range_or_each;
use sys::process::{self, Clone};

/// Bytes of a report that are read.
const REPORT_LIMIT: u64 = 16 << 20;
/// The first descriptor behind the standard streams.
const FIRST: i32 = 3;

/// What came of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Why it failed, as `docker-runc` says it.
    pub error: Option<String>,
    pub warnings: Vec<String>,
    /// The processes of the container, where those were asked for.
    pub pids: Vec<i32>,
}

/// Where the copy leaves its report.
#[derive(Debug)]
pub struct ReportFile(File);

impl ReportFile {
    /// What stands there when the copy has ended; `None` for one that was ended before it could write.
    pub fn read(&mut self) -> Option<Report> {
        let mut text = Vec::new();
        self.0.rewind().and_then(|()| (&self.0).take(REPORT_LIMIT).read_to_end(&mut text)).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

/// A pipe through which each copy says, by its number, that its report stands. All that is left for it then is to end, which
/// takes the kernel longer than the news of it may wait.
#[derive(Debug)]
pub struct Announcements {
    read: OwnedFd,
    write: OwnedFd,
}

impl Announcements {
    pub fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { read, write })
    }

    /// The copies that have said so since the last time.
    pub fn take(&self) -> Vec<i32> {
        let mut pids = Vec::new();
        let mut pid = [0; size_of::<i32>()];
        // What is written in one piece comes in one piece (pipe(7)).
        while rustix::io::read(&self.read, &mut pid) == Ok(pid.len()) {
            pids.push(i32::from_ne_bytes(pid));
        }
        pids
    }
}

impl AsFd for Announcements {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

/// Begins the work in a copy of this process and answers its number. `ends` become the streams of the container's process.
pub fn begin(
    root: &Root,
    id: &str,
    work: &Work,
    ends: ChildEnds,
    announcements: &Announcements,
) -> io::Result<(i32, ReportFile)> {
    let file = File::from(memfd_create("report", MemfdFlags::CLOEXEC)?);
    match process::fork().map_err(io::Error::from)? {
        Clone::Parent { child } => Ok((child, ReportFile(file))),
        Clone::Child => {
            // Nothing of the serving process may go on here, whatever happens.
            let worked =
                catch_unwind(AssertUnwindSafe(|| be_runtime(root, id, work, ends, &file, &announcements.write)));
            process::exit_now(worked.unwrap_or(2))
        }
    }
}

fn be_runtime(root: &Root, id: &str, work: &Work, ends: ChildEnds, mut file: &File, announce: &OwnedFd) -> i32 {
    runtime::protect::keep_own_name();
    let mut notes = Notes::default();
    let (error, pids) = match leave_descriptors(ends, [file.as_raw_fd(), announce.as_raw_fd()]) {
        Err(error) => (Some(error.to_string()), Vec::new()),
        Ok(()) => match perform(root, id, work, &mut notes) {
            Ok(pids) => (None, pids),
            Err(message) => (Some(message), Vec::new()),
        },
    };
    let report = Report { error, warnings: notes.warnings, pids };
    let written = serde_json::to_vec(&report).map(|text| file.write_all(&text));
    // Where this fails, the end of this process says the same.
    let _ = rustix::io::write(announce, &process::pid().to_ne_bytes());
    i32::from(report.error.is_some() || !matches!(written, Ok(Ok(()))))
}

/// The streams become those of the container's process, and everything else of the shim's is closed.
fn leave_descriptors(ends: ChildEnds, mut kept: [RawFd; 2]) -> io::Result<()> {
    let null = || open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, FileMode::empty());
    let or_null = |end: Option<OwnedFd>| end.map_or_else(null, Ok);
    let ChildEnds { stdin, stdout, stderr } = ends;
    let ends = [or_null(stdin)?, or_null(stdout)?, or_null(stderr)?];
    rustix::stdio::dup2_stdin(&ends[0])?;
    rustix::stdio::dup2_stdout(&ends[1])?;
    rustix::stdio::dup2_stderr(&ends[2])?;
    // They are closed with everything else.
    for end in ends {
        let _ = end.into_raw_fd();
    }
    kept.sort_unstable();
    let mut first = FIRST;
    for kept in kept {
        if kept > first {
            close_range_or_each(first, kept - 1)?;
        }
        first = kept + 1;
    }
    Ok(close_range_or_each(first, i32::MAX)?)
}

/// As `docker-runc` does it, with its words for what fails.
fn perform(root: &Root, id: &str, work: &Work, notes: &mut Notes) -> Result<Vec<i32>, String> {
    let done = |answer: Result<(), RuntimeError>| answer.map(|()| Vec::new()).map_err(|error| chain(&error));
    match work {
        Work::Create { bundle, pid_file, console, no_pivot_root, no_new_keyring } => {
            let request = CreateRequest {
                id: id.to_owned(),
                bundle: bundle.clone(),
                console_socket: console.clone(),
                pid_file: Some(pid_file.clone()),
                no_pivot: *no_pivot_root,
                no_new_keyring: *no_new_keyring,
                ..CreateRequest::default()
            };
            let created = create::create(root, &request, Mode::Create, notes);
            created.map(|_| Vec::new()).map_err(|error| format!("runc create failed: {}", chain(&error)))
        }
        Work::Start => done(start::start(root, id)),
        Work::Exec { process, pid_file, console } => {
            let request = ExecRequest {
                id: id.to_owned(),
                process: ProcessSource::File(process.clone()),
                console_socket: console.clone(),
                pid_file: Some(pid_file.clone()),
                detach: true,
                ..ExecRequest::default()
            };
            let begun = exec::exec(root, &request, notes);
            begun.map(|_| Vec::new()).map_err(|error| format!("exec failed: {}", chain(&error)))
        }
        Work::Delete { force } => done(delete::delete(root, id, if *force { Force::Yes } else { Force::No }, notes)),
        Work::Kill { all, signal } => done(kill::kill(root, id, *signal, *all)),
        Work::Pause => done(pause::pause(root, id)),
        Work::Resume => done(pause::resume(root, id)),
        Work::Update { resources } => {
            let resources = bundle::read_bounded(resources).and_then(|text| update::parse_resources(&text));
            done(resources.and_then(|resources| update::update(root, id, &resources, notes)))
        }
        Work::Processes => list::processes(root, id).map_err(|error| chain(&error)),
    }
}
