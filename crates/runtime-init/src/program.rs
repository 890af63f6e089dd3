//! The program itself, and the hooks that run inside the container.

use crate::child::{Failure, Progress};
use crate::message::{Detail, HOOK_SIGNALLED};
use crate::prepared::{HOME_ROOM, Prepared};
use crate::steps::Outcome;
use runtime_core::plan::{HookPlace, Slot, Step};
use std::ffi::CString;
use sys::file::{self, AT_FDCWD, O_RDONLY};
use sys::process::{self, Clone, Exited};
use sys::{Errno, signal};

/// How much of the container's /etc/passwd is searched for the user.
const PASSWD_ROOM: usize = 8192;

/// The first candidate that may be executed. As with a shell, a file without the right to run it is remembered, in case no
/// better one follows.
pub fn find(candidates: &[CString]) -> Result<usize, Errno> {
    let mut reason = Errno::ENOENT;
    for (index, candidate) in candidates.iter().enumerate() {
        match executable(candidate) {
            Ok(()) => return Ok(index),
            Err(Errno::EACCES) => reason = Errno::EACCES,
            Err(Errno::EISDIR) if candidates.len() == 1 => reason = Errno::EISDIR,
            Err(_) => {}
        }
    }
    Err(reason)
}

fn executable(path: &CString) -> Result<(), Errno> {
    let fd = file::openat(AT_FDCWD, path, file::O_PATH, 0)?;
    let stat = file::fstat(fd);
    file::close(fd);
    if stat?.st_mode & file::S_IFMT == file::S_IFDIR {
        return Err(Errno::EISDIR);
    }
    match file::may_execute(path) {
        // A filter that is in force already may know nothing of faccessat2(2): execve(2) will tell.
        Err(Errno::EPERM | Errno::ENOSYS) => Ok(()),
        other => other,
    }
}

/// Looks the user's folder up in the container's own /etc/passwd and writes it over the environment's last string.
pub fn find_home(uid: u32, prepared: &mut Prepared) {
    if !prepared.env_without_home {
        return;
    }
    let mut passwd = [0; PASSWD_ROOM];
    let length = read_passwd(&mut passwd).unwrap_or(0);
    let home = passwd.get(..length).and_then(|text| home_of(text, uid)).unwrap_or(b"/");
    let home = if home.len() + 6 > HOME_ROOM { b"/" } else { home };
    prepared.env.overwrite_last(b"HOME=", home);
}

fn read_passwd(buffer: &mut [u8]) -> Result<usize, Errno> {
    let fd = file::openat(AT_FDCWD, c"/etc/passwd", O_RDONLY | file::O_NONBLOCK, 0)?;
    let answer = match file::fstat(fd) {
        Ok(stat) if stat.st_mode & file::S_IFMT == file::S_IFREG => file::read(fd, buffer),
        Ok(_) => Err(Errno::EINVAL),
        Err(errno) => Err(errno),
    };
    file::close(fd);
    answer
}

/// passwd(5): name:password:uid:gid:comment:home:shell.
fn home_of(passwd: &[u8], uid: u32) -> Option<&[u8]> {
    for line in passwd.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        let number =
            fields.nth(2).and_then(|field| std::str::from_utf8(field).ok()).and_then(|text| text.parse::<u32>().ok());
        if number == Some(uid) {
            return fields.nth(2).filter(|home| !home.is_empty() && !home.contains(&0));
        }
    }
    None
}

/// Does not return unless the program could not be executed.
pub fn execute(prepared: &Prepared, progress: &Progress) -> Errno {
    let Some((candidate, step)) = progress.program else { return Errno::ENOENT };
    let Some(Step::FindProgram { candidates }) = prepared.plan.steps.get(step) else { return Errno::ENOENT };
    let Some(path) = candidates.get(candidate) else { return Errno::ENOENT };
    process::exec(path, &prepared.args, &prepared.env)
}

/// Runs the hooks one after the other with the container's state on stdin. The first that fails ends the start.
pub fn run_hooks(prepared: &mut Prepared, progress: &mut Progress) -> Outcome {
    let Some(Step::RunHooks { hooks, place, .. }) = prepared.plan.steps.get(progress.step) else { return Ok(()) };
    let Some(arrays) = prepared.hooks.get(progress.hook_list) else { return Ok(()) };
    progress.hook_list += 1;
    let state = prepared.fds.get(Slot::HOOK_STATE);
    if *place == HookPlace::Rootfs {
        file::fchdir(prepared.fds.get(Slot::ROOT))?;
    }
    for (index, (hook, arrays)) in hooks.iter().zip(arrays).enumerate() {
        file::rewind(state)?;
        let child = match process::clone_process(0, None)? {
            Clone::Parent { child } => child,
            Clone::Child => {
                let _ = file::dup2(state, 0);
                let _ = signal::reset();
                let env = if hook.inherits_env { &prepared.env } else { &arrays.env };
                process::exec(&hook.path, &arrays.args, env);
                process::exit_now(127)
            }
        };
        let status = wait_hook(child, hook.timeout_ms)?;
        if status != 0 {
            let number = (index as u32) << 16 | status;
            return Err(Failure { errno: Errno::EPERM, detail: Detail::HookExit, number });
        }
    }
    Ok(())
}

/// Zero, its exit code, or [`HOOK_SIGNALLED`] and a signal.
fn wait_hook(child: i32, timeout_ms: Option<u32>) -> Result<u32, Failure> {
    let Some(timeout) = timeout_ms else { return end_of_hook(child) };
    let pidfd = process::pidfd_open(child)?;
    let mut wait = [libc::pollfd { fd: pidfd, events: libc::POLLIN, revents: 0 }];
    let ended = process::poll(&mut wait, i32::try_from(timeout).unwrap_or(i32::MAX))?;
    file::close(pidfd);
    if ended == 0 {
        let _ = process::kill(child, libc::SIGKILL);
        let _ = process::wait(child, false);
        return Err(Failure { errno: Errno::ETIMEDOUT, detail: Detail::HookTimeout, number: 0 });
    }
    end_of_hook(child)
}

fn end_of_hook(child: i32) -> Result<u32, Failure> {
    Ok(match process::wait(child, false)? {
        Some(Exited { signal: Some(signal), .. }) => HOOK_SIGNALLED | signal.unsigned_abs(),
        Some(exited) => exited.code.unsigned_abs(),
        None => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_of_a_user_is_found_by_its_number() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nbad line\nnobody:x:65534:65534::/nonexistent:/bin/false\n";
        assert_eq!(home_of(passwd, 0), Some(&b"/root"[..]));
        assert_eq!(home_of(passwd, 65534), Some(&b"/nonexistent"[..]));
        assert_eq!(home_of(passwd, 7), None);
    }
}
