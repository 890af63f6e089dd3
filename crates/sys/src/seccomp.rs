//! Installing a seccomp filter (seccomp(2)).

use crate::Result;
use crate::errno::check_fd;
use std::os::fd::RawFd;

pub const FLAG_TSYNC: u64 = 1;
pub const FLAG_LOG: u64 = 2;
pub const FLAG_SPEC_ALLOW: u64 = 4;
pub const FLAG_NEW_LISTENER: u64 = 8;
pub const FLAG_WAIT_KILLABLE_RECV: u64 = 32;

const SET_MODE_FILTER: u32 = 1;

/// One instruction of classic BPF as the kernel lays it out.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub jump_true: u8,
    pub jump_false: u8,
    pub operand: u32,
}

/// Installs the filter; with FLAG_NEW_LISTENER the answer is the notification descriptor, else 0.
pub fn install(program: &[Instruction], flags: u64) -> Result<RawFd> {
    #[repr(C)]
    struct Program {
        length: u16,
        filter: *const Instruction,
    }
    let length = u16::try_from(program.len()).map_err(|_| crate::Errno::EINVAL)?;
    let program = Program { length, filter: program.as_ptr() };
    // SAFETY: the program outlives the call, its length is given and its layout is struct sock_filter's.
    check_fd(unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, &raw const program) })
}
