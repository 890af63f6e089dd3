//! The loop over the steps, in the child.

use crate::message::{Detail, Message};
use crate::prepared::Prepared;
use crate::steps;
use runtime_core::plan::Slot;
use sys::{Errno, file, process, socket};

/// Exit status of a child whose set-up failed; its parent has the reason.
const SETUP_FAILED: i32 = 1;
/// Exit status when the program could not be executed after `start`.
const EXEC_FAILED: i32 = 255;

/// Why a step failed.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    pub errno: Errno,
    pub detail: Detail,
    pub number: u32,
}

impl Failure {
    pub fn at(detail: Detail) -> impl Fn(Errno) -> Self {
        move |errno| Self { errno, detail, number: 0 }
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self { errno, detail: Detail::None, number: 0 }
    }
}

/// What the steps leave for later ones.
pub struct Progress {
    /// Which of the plan's hook lists is next.
    pub hook_list: usize,
    /// Index of the program's path among the candidates, and of the step that has them.
    pub program: Option<(usize, usize)>,
    pub step: usize,
    pub ready: bool,
    /// The working directory.
    pub entered: bool,
}

pub fn run(prepared: &mut Prepared) -> ! {
    // With a copy of the other end the parent's death would never be seen.
    file::close(prepared.parent_end);
    let mut progress = Progress { hook_list: 0, program: None, step: 0, ready: false, entered: false };
    let count = prepared.plan.steps.len();
    while progress.step < count {
        if let Err(failure) = steps::perform(prepared, &mut progress) {
            fail(prepared, &progress, failure);
        }
        progress.step += 1;
    }
    process::exit_now(SETUP_FAILED)
}

/// Tells the parent that something was left out at this step.
pub fn degrade(prepared: &Prepared, progress: &Progress, errno: Errno) {
    let message = Message::Degraded { step: progress.step as u32, errno: errno.0 };
    // A parent that is gone is noticed at the next wait.
    let _ = socket::send(prepared.fds.get(Slot::SYNC), &message.encode());
}

fn fail(prepared: &Prepared, progress: &Progress, failure: Failure) -> ! {
    let Failure { errno, detail, number } = failure;
    let message = Message::Failed { step: progress.step as u32, errno: errno.0, detail, number };
    let told = socket::send(prepared.fds.get(Slot::SYNC), &message.encode());
    if progress.ready && told.is_err() {
        // The runtime that created the container is gone: its program's stderr is all that is left.
        let _ = file::write(2, b"exec failed: ");
        let _ = file::write(2, brief(errno));
        let _ = file::write(2, b"\n");
        process::exit_now(EXEC_FAILED);
    }
    process::exit_now(if progress.ready { EXEC_FAILED } else { SETUP_FAILED })
}

/// The few reasons for which execve(2) fails, without allocation.
fn brief(errno: Errno) -> &'static [u8] {
    match errno.0 {
        libc::ENOEXEC => b"exec format error",
        libc::ENOENT => b"no such file or directory",
        libc::EACCES => b"permission denied",
        libc::ENOMEM => b"cannot allocate memory",
        libc::E2BIG => b"argument list too long",
        libc::EPERM => b"operation not permitted",
        libc::ELOOP => b"too many levels of symbolic links",
        libc::ETXTBSY => b"text file busy",
        _ => b"the kernel refused it",
    }
}
