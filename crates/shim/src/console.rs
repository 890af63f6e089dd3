//! The console socket: where the runtime sends the master of a new terminal (runc's docs/terminals.md).

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::fs;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// sun_path of unix(7), with its final zero.
const SUN_PATH: usize = 108;
/// The runtime sends the master before it exits, so that it is there when it is asked for; the rest is for runtimes
/// that leave it to the container's process.
const PATIENCE: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

#[derive(Debug)]
pub struct ConsoleSocket {
    listener: UnixListener,
    path: PathBuf,
    /// A folder of its own where the bundle's path is too long.
    folder: Option<PathBuf>,
}

impl ConsoleSocket {
    pub fn bind(bundle: &Path, name: &str) -> io::Result<Self> {
        let path = bundle.join(name);
        let (path, folder) = if path.as_os_str().as_bytes().len() < SUN_PATH {
            (path, None)
        } else {
            let folder = std::env::temp_dir().join(format!("pty{}-{name}", std::process::id()));
            fs::DirBuilder::new().create(&folder)?;
            (folder.join("pty.sock"), Some(folder))
        };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Self { listener: UnixListener::bind(&path)?, path, folder })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The master, once the runtime has succeeded.
    pub fn receive(self) -> io::Result<OwnedFd> {
        wait_readable(&self.listener)?;
        let (socket, _) = self.listener.accept()?;
        wait_readable(&socket)?;
        let mut name = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        recvmsg(&socket, &mut [IoSliceMut::new(&mut name)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        ancillary
            .drain()
            .find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
                _ => None,
            })
            .ok_or_else(|| io::Error::other("the runtime sent no descriptor"))
    }
}

impl Drop for ConsoleSocket {
    fn drop(&mut self) {
        // What cannot be removed goes with the bundle.
        let _ = fs::remove_file(&self.path);
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir(folder);
        }
    }
}

fn wait_readable(fd: &impl AsFd) -> io::Result<()> {
    match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&PATIENCE)) {
        Ok(0) => Err(io::Error::new(io::ErrorKind::TimedOut, "the runtime did not send the terminal")),
        Ok(_) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
