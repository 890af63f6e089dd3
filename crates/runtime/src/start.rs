//! `start`: lets a created container's program run.

use crate::record::FIFO;
use crate::{Root, RuntimeError, Status, hooks};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use sys::file::O_NONBLOCK;
use sys::process;

/// The FIFO at whose other end the process of a created container waits for a reader.
#[derive(Debug)]
pub struct Gate {
    fifo: File,
    path: PathBuf,
}

impl Gate {
    /// Opens it, which lets the process through. That the container is created, and not started, is the caller's to know.
    pub fn open(root: &Root, id: &str) -> Result<Self, RuntimeError> {
        let path = root.folder(id)?.join(FIFO);
        // Not blocking, because the process may have ended.
        let fifo = File::options().read(true).custom_flags(O_NONBLOCK).open(&path);
        let fifo = fifo.map_err(RuntimeError::file(format!("open {}", path.display())))?;
        Ok(Self { fifo, path })
    }

    /// Whether the process has come through, which it says with a byte: readable until this was asked.
    pub fn is_passed(&self) -> bool {
        matches!((&self.fifo).read(&mut [0; 1]), Ok(1))
    }

    /// From now on the container counts as started.
    pub fn remove(self) -> Result<(), RuntimeError> {
        let failed = RuntimeError::file(format!("cannot remove {}", self.path.display()));
        fs::remove_file(&self.path).map_err(failed)
    }
}

impl AsFd for Gate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fifo.as_fd()
    }
}

pub fn start(root: &Root, id: &str) -> Result<(), RuntimeError> {
    let record = root.load(id)?;
    match root.status(&record) {
        Status::Created => {}
        Status::Stopped => return Err(RuntimeError::StartStopped),
        _ => return Err(RuntimeError::StartRunning),
    }
    let pidfd = record.pidfd()?;
    let gate = Gate::open(root, id)?;
    loop {
        let wanted = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut polls = [wanted(gate.as_fd().as_raw_fd()), wanted(pidfd.raw())];
        process::poll(&mut polls, -1).map_err(RuntimeError::system("poll"))?;
        if polls[0].revents & libc::POLLIN != 0 && gate.is_passed() {
            break;
        }
        if polls[1].revents != 0 {
            return Err(RuntimeError::StartStopped);
        }
    }
    gate.remove()?;
    hooks::run("poststart", &record.hooks.poststart, &record, Status::Running).inspect_err(|_| {
        // As if it had not been started.
        let _ = process::pidfd_send_signal(pidfd.raw(), libc::SIGKILL);
    })
}
