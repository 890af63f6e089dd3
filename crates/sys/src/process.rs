//! Processes: clone3(2), namespaces, identities, limits, exec, wait, pidfds.

use crate::errno::{check_fd, check_unit};
use crate::{Errno, Result};
use std::ffi::{CStr, CString};
use std::os::fd::RawFd;
use std::ptr;

pub use libc::{
    CLONE_FS, CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWTIME, CLONE_NEWUSER,
    CLONE_NEWUTS,
};

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// A null-terminated array of C strings, ready for execve(2) before the process is cloned.
#[derive(Debug)]
pub struct StringArray {
    pointers: Vec<*const libc::c_char>,
    _strings: Vec<CString>,
    scratch: Vec<u8>,
}

impl StringArray {
    pub fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
        Self { pointers, _strings: strings, scratch: Vec::new() }
    }

    /// The same with one more string behind the others, that can be overwritten later with up to `room` bytes.
    pub fn with_room(strings: Vec<CString>, initial: &[u8], room: usize) -> Self {
        let mut scratch = vec![0_u8; room + 1];
        for (to, from) in scratch.iter_mut().take(room).zip(initial) {
            *to = *from;
        }
        let mut array = Self::new(strings);
        array.pointers.insert(array.pointers.len() - 1, scratch.as_mut_ptr().cast_const().cast());
        array.scratch = scratch;
        array
    }

    /// Overwrites the string with room: `first` and `second`, cut where they do not fit.
    pub fn overwrite_last(&mut self, first: &[u8], second: &[u8]) {
        let room = self.scratch.len().saturating_sub(1);
        let bytes = first.iter().chain(second).copied().take(room).chain([0]);
        for (to, from) in self.scratch.iter_mut().zip(bytes) {
            *to = from;
        }
        // The vector was borrowed anew: the pointer is taken anew as well.
        let length = self.pointers.len();
        if let Some(last) = length.checked_sub(2).and_then(|index| self.pointers.get_mut(index)) {
            *last = self.scratch.as_ptr().cast();
        }
    }
}

/// Who returned from a clone.
#[derive(Debug, PartialEq, Eq)]
pub enum Clone {
    Parent { child: i32 },
    Child,
}

/// Clones this process like fork(2), into new namespaces and, on cgroup v2, straight into a cgroup.
///
/// The caller must have one thread: the child goes on with a copy of its memory.
pub fn clone_process(namespaces: i32, cgroup: Option<RawFd>) -> Result<Clone> {
    let mut args =
        CloneArgs { flags: namespaces as u32 as u64, exit_signal: libc::SIGCHLD as u64, ..Default::default() };
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = fd as u64;
    }
    // SAFETY: no stack and no CLONE_VM are asked for, so the child has a copy of everything, as after fork(2).
    let pid = check_fd(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) })?;
    Ok(if pid == 0 { Clone::Child } else { Clone::Parent { child: pid } })
}

/// Copies this process (fork(2)), with the C library's own memory of which process it is.
///
/// The caller must have one thread: the child goes on with a copy of its memory, locks of others included.
pub fn fork() -> Result<Clone> {
    // SAFETY: no memory is passed; the child has a copy of everything.
    let pid = check_fd(unsafe { libc::fork() }.into())?;
    Ok(if pid == 0 { Clone::Child } else { Clone::Parent { child: pid } })
}

/// Who returned from the clone of a sibling.
#[derive(Debug, PartialEq, Eq)]
pub enum Sibling {
    Parent { pidfd: RawFd },
    Child,
}

/// Clones a child of this process's parent, so that this one can go. Its end is told as this process's would be.
pub fn clone_sibling(namespaces: i32) -> Result<Sibling> {
    let mut pidfd: RawFd = -1;
    let flags = namespaces as u32 as u64 | (libc::CLONE_PARENT | libc::CLONE_PIDFD) as u64;
    let args = CloneArgs { flags, pidfd: &raw mut pidfd as u64, ..Default::default() };
    // SAFETY: no stack and no CLONE_VM are asked for, so the child has a copy of everything, as after fork(2); the place
    // for the descriptor outlives the call.
    let pid = check_fd(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) })?;
    Ok(if pid == 0 { Sibling::Child } else { Sibling::Parent { pidfd } })
}

pub fn setns(fd: RawFd, kind: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    check_unit(unsafe { libc::setns(fd, kind) }.into())
}

pub fn unshare(flags: i32) -> Result<()> {
    // SAFETY: no memory is passed; CLONE_VM and the like are the caller's own thread only.
    check_unit(unsafe { libc::unshare(flags) }.into())
}

pub fn pid() -> i32 {
    // SAFETY: always succeeds.
    unsafe { libc::getpid() }
}

pub fn uid() -> u32 {
    // SAFETY: always succeeds.
    unsafe { libc::geteuid() }
}

pub fn gid() -> u32 {
    // SAFETY: always succeeds.
    unsafe { libc::getegid() }
}

pub fn session_leader() -> Result<()> {
    // SAFETY: no memory is passed.
    check_unit(unsafe { libc::setsid() }.into())
}

/// setgroups(2) by system call: the C library's wrapper would synchronise threads.
pub fn set_groups(groups: &[u32]) -> Result<()> {
    // SAFETY: the slice outlives the call and its length is given.
    check_unit(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })
}

pub fn set_gid(gid: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    check_unit(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })
}

pub fn set_uid(uid: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    check_unit(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })
}

pub fn set_rlimit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    set_rlimit_of(0, resource, soft, hard)
}

/// The limit of another process; 0 is this one.
pub fn set_rlimit_of(pid: i32, resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    let old: *mut libc::rlimit64 = ptr::null_mut();
    // SAFETY: the structure outlives the call; the old value is not asked for.
    check_unit(unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource, &raw const limit, old) })
}

pub fn umask(mask: u32) -> u32 {
    // SAFETY: always succeeds.
    unsafe { libc::umask(mask) }
}

pub fn set_hostname(name: &[u8]) -> Result<()> {
    // SAFETY: the bytes outlive the call and their length is given.
    check_unit(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }.into())
}

pub fn set_domainname(name: &[u8]) -> Result<()> {
    // SAFETY: the bytes outlive the call and their length is given.
    check_unit(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }.into())
}

fn prctl(option: i32, a: u64, b: u64) -> Result<i32> {
    // SAFETY: only options without pointers are used in this module.
    check_fd(unsafe { libc::prctl(option, a, b, 0_u64, 0_u64) }.into())
}

/// Whether /proc/PID of this process may be read and traced by others of its user.
pub fn set_dumpable(on: bool) -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, on.into(), 0).map(|_| ())
}

pub fn set_no_new_privileges() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(|_| ())
}

pub fn set_keep_capabilities(on: bool) -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, on.into(), 0).map(|_| ())
}

/// Orphans below this process become its children.
pub fn set_child_subreaper() -> Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0).map(|_| ())
}

pub fn set_parent_death_signal(signal: i32) -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal as u64, 0).map(|_| ())
}

/// The name that ps shows, at most 15 bytes.
pub fn set_name(name: &CStr) -> Result<()> {
    prctl(libc::PR_SET_NAME, name.as_ptr() as u64, 0).map(|_| ())
}

/// Replaces this process; answers only the reason why it did not.
pub fn exec(path: &CStr, args: &StringArray, env: &StringArray) -> Errno {
    // SAFETY: both arrays end in null and point into strings that they own.
    unsafe { libc::execve(path.as_ptr(), args.pointers.as_ptr(), env.pointers.as_ptr()) };
    Errno::last()
}

/// The same for a program by descriptor (execveat(2)).
pub fn exec_fd(fd: RawFd, args: &StringArray, env: &StringArray) -> Errno {
    // SAFETY: both arrays end in null and point into strings that they own; the path is a static C string.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd,
            c"".as_ptr(),
            args.pointers.as_ptr(),
            env.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Errno::last()
}

/// Ends the process at once: no destructors, no flushing.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(code) }
}

/// What became of a child, as a shell would number it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exited {
    pub pid: i32,
    /// The exit code, or 128 and the signal.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

/// Waits for one child (`-1`: any). `None`: with `nohang`, none has ended yet.
pub fn wait(pid: i32, nohang: bool) -> Result<Option<Exited>> {
    let mut status = 0;
    let flags = if nohang { libc::WNOHANG } else { 0 };
    loop {
        // SAFETY: status is writable.
        match check_fd(unsafe { libc::waitpid(pid, &raw mut status, flags) }.into()) {
            Err(Errno::EINTR) => {}
            Ok(0) => return Ok(None),
            Ok(pid) if libc::WIFSIGNALED(status) => {
                return Ok(Some(Exited {
                    pid,
                    code: 128 + libc::WTERMSIG(status),
                    signal: Some(libc::WTERMSIG(status)),
                }));
            }
            Ok(pid) => return Ok(Some(Exited { pid, code: libc::WEXITSTATUS(status), signal: None })),
            Err(errno) => return Err(errno),
        }
    }
}

pub fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    check_unit(unsafe { libc::kill(pid, signal) }.into())
}

pub fn pidfd_open(pid: i32) -> Result<RawFd> {
    // SAFETY: no memory is passed.
    check_fd(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// A copy of a descriptor of another process (pidfd_getfd(2)).
pub fn pidfd_getfd(pidfd: RawFd, fd: RawFd) -> Result<RawFd> {
    // SAFETY: no memory is passed.
    check_fd(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, fd, 0) })
}

pub fn pidfd_send_signal(pidfd: RawFd, signal: i32) -> Result<()> {
    let info: *const libc::siginfo_t = ptr::null();
    // SAFETY: a null siginfo is allowed: the kernel fills one in as for kill(2).
    check_unit(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd, signal, info, 0) })
}

/// Waits until one of the descriptors is ready. Returns how many are; negative `timeout_ms` waits for ever.
pub fn poll(fds: &mut [libc::pollfd], timeout_ms: i32) -> Result<usize> {
    loop {
        // SAFETY: the slice is writable and its length is given.
        match check_fd(unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as u64, timeout_ms) }.into()) {
            Err(Errno::EINTR) => {}
            other => return other.map(|count| count as usize),
        }
    }
}

/// Brings the loopback link of this network namespace up (netdevice(7)).
pub fn loopback_up() -> Result<()> {
    // SAFETY: no memory is passed.
    let socket = check_fd(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into())?;
    // SAFETY: ifreq is plain data; zero is a valid value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING | libc::IFF_LOOPBACK) as libc::c_short;
    // SAFETY: the structure outlives the call.
    let answer = check_unit(unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw const request) }.into());
    crate::file::close(socket);
    answer
}
