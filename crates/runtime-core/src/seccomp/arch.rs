//! Architectures and their system call numbers.

use crate::SpecError;
use std::collections::HashMap;

/// Names and numbers of all system calls, one a line; from the kernel's headers.
const TABLE: &str = include_str!("syscalls.tsv");

/// The bit that tells x32 from x86_64.
pub const X32_BIT: u32 = 0x4000_0000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
}

impl Arch {
    pub fn from_name(name: &str) -> Result<Self, SpecError> {
        Ok(match name {
            "SCMP_ARCH_X86_64" => Self::X86_64,
            "SCMP_ARCH_X86" => Self::X86,
            "SCMP_ARCH_X32" => Self::X32,
            "SCMP_ARCH_AARCH64" => Self::Aarch64,
            "SCMP_ARCH_ARM" => Self::Arm,
            other => return Err(SpecError::Unsupported(format!("seccomp architecture {other}"))),
        })
    }

    /// The machine that this program was compiled for.
    pub fn host() -> Self {
        if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 }
    }

    /// AUDIT_ARCH_* as seccomp_data has it.
    pub fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    fn column(self) -> usize {
        match self {
            Self::X86_64 => 1,
            Self::X86 => 2,
            Self::X32 => 3,
            Self::Aarch64 => 4,
            Self::Arm => 5,
        }
    }

    /// What is added to the table's number.
    pub fn base(self) -> u32 {
        if self == Self::X32 { X32_BIT } else { 0 }
    }
}

/// The rows of the table by name; one row serves all architectures.
pub struct Numbers(HashMap<&'static str, &'static str>);

impl Numbers {
    pub fn load() -> Self {
        Self(TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('\t')).collect())
    }

    /// `None`: this architecture has no such system call.
    pub fn get(&self, name: &str, arch: Arch) -> Option<u32> {
        let number: u32 = self.0.get(name)?.split('\t').nth(arch.column() - 1)?.parse().ok()?;
        Some(number + arch.base())
    }
}

/// The calls that old 32-bit x86 programs make through socketcall(2) and ipc(2), by their sub-number.
pub fn multiplexed(name: &str) -> Option<(&'static str, u64)> {
    const SOCKETCALL: [&str; 20] = [
        "socket",
        "bind",
        "connect",
        "listen",
        "accept",
        "getsockname",
        "getpeername",
        "socketpair",
        "send",
        "recv",
        "sendto",
        "recvfrom",
        "shutdown",
        "setsockopt",
        "getsockopt",
        "sendmsg",
        "recvmsg",
        "accept4",
        "recvmmsg",
        "sendmmsg",
    ];
    const IPC: [(&str, u64); 12] = [
        ("semop", 1),
        ("semget", 2),
        ("semctl", 3),
        ("semtimedop", 4),
        ("msgsnd", 11),
        ("msgrcv", 12),
        ("msgget", 13),
        ("msgctl", 14),
        ("shmat", 21),
        ("shmdt", 22),
        ("shmget", 23),
        ("shmctl", 24),
    ];
    if let Some(index) = SOCKETCALL.iter().position(|known| *known == name) {
        return Some(("socketcall", index as u64 + 1));
    }
    IPC.iter().find(|(known, _)| *known == name).map(|(_, number)| ("ipc", *number))
}
