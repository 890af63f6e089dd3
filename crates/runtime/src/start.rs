//! `start`: lets a created container's program run.

use crate::fd::Fd;
use crate::record::FIFO;
use crate::{Root, RuntimeError, Status, hooks};
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use sys::file::{self, AT_FDCWD, O_NONBLOCK, O_RDONLY};
use sys::process;

pub fn start(root: &Root, id: &str) -> Result<(), RuntimeError> {
    let record = root.load(id)?;
    match root.status(&record) {
        Status::Created => {}
        Status::Stopped => return Err(RuntimeError::StartStopped),
        _ => return Err(RuntimeError::StartRunning),
    }
    let path = root.folder(id)?.join(FIFO);
    let failed = |errno| RuntimeError::System { what: format!("open {}", path.display()), errno };
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| failed(sys::Errno::EINVAL))?;
    let pidfd = record.pidfd()?;
    // A reader is what the container's process waits for; not blocking, because it may have ended.
    let fifo = file::openat(AT_FDCWD, &name, O_RDONLY | O_NONBLOCK, 0).map(Fd::new).map_err(failed)?;
    loop {
        let wanted = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut polls = [wanted(fifo.raw()), wanted(pidfd.raw())];
        process::poll(&mut polls, -1).map_err(RuntimeError::system("poll"))?;
        if polls[0].revents & libc::POLLIN != 0 {
            let mut byte = [0; 1];
            if file::read(fifo.raw(), &mut byte) == Ok(1) {
                break;
            }
        }
        if polls[1].revents != 0 {
            return Err(RuntimeError::StartStopped);
        }
    }
    fs::remove_file(&path).map_err(RuntimeError::file(format!("cannot remove {}", path.display())))?;
    hooks::run("poststart", &record.hooks.poststart, &record, Status::Running).inspect_err(|_| {
        // As if it had not been started.
        let _ = process::pidfd_send_signal(pidfd.raw(), libc::SIGKILL);
    })
}
