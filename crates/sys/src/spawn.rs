//! Starting programs that outlive us.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// Starts the command as the leader of a new session: no terminal, no signal and no end of ours reaches it (setsid(2)).
pub fn in_new_session(command: &mut Command) -> io::Result<Child> {
    let become_leader = || rustix::process::setsid().map(drop).map_err(io::Error::from);
    // SAFETY: runs between fork and exec; setsid is one system call, which neither allocates nor locks.
    unsafe { command.pre_exec(become_leader) };
    command.spawn()
}
