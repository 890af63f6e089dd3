//! Architectures and their system call numbers.

use crate::SpecError;

/// Names and numbers of all system calls, one a line, sorted by name; from the kernel's headers.
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
            Self::X86_64 => 0,
            Self::X86 => 1,
            Self::X32 => 2,
            Self::Aarch64 => 3,
            Self::Arm => 4,
        }
    }

    /// What is added to the table's number.
    pub fn base(self) -> u32 {
        if self == Self::X32 { X32_BIT } else { 0 }
    }
}

/// A system call's numbers; one row serves all architectures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    name: &'static [u8],
    /// By column of the table.
    columns: [u32; COLUMNS],
}

impl Numbers {
    /// `None`: no architecture has such a system call.
    pub fn of(name: &str) -> Option<&'static Self> {
        let found = SYSTEM_CALLS.binary_search_by(|row| row.name.cmp(name.as_bytes()));
        found.ok().map(|index| &SYSTEM_CALLS[index])
    }

    /// `None`: this architecture has no such system call.
    pub fn on(&self, arch: Arch) -> Option<u32> {
        let number = self.columns[arch.column()];
        (number != NONE).then(|| number + arch.base())
    }
}

const COLUMNS: usize = 5;
/// A cell without a number.
const NONE: u32 = u32::MAX;

/// The table, read by the compiler.
static SYSTEM_CALLS: [Numbers; count_rows(TABLE)] = rows(TABLE);

const fn is_row(line: &[u8]) -> bool {
    !line.is_empty() && line[0] != b'#'
}

/// A line without its end, and what follows it.
const fn next_line(text: &[u8]) -> (&[u8], &[u8]) {
    split_before(text, b'\n')
}

const fn split_before(text: &[u8], separator: u8) -> (&[u8], &[u8]) {
    let mut at = 0;
    while at < text.len() && text[at] != separator {
        at += 1;
    }
    let (before, rest) = text.split_at(at);
    (before, if rest.is_empty() { rest } else { rest.split_at(1).1 })
}

const fn count_rows(table: &str) -> usize {
    let (mut rest, mut count) = (table.as_bytes(), 0);
    while !rest.is_empty() {
        let (line, behind) = next_line(rest);
        count += is_row(line) as usize;
        rest = behind;
    }
    count
}

const fn rows<const COUNT: usize>(table: &'static str) -> [Numbers; COUNT] {
    let mut rows = [Numbers { name: b"", columns: [NONE; COLUMNS] }; COUNT];
    let (mut rest, mut row) = (table.as_bytes(), 0);
    while !rest.is_empty() {
        let (line, behind) = next_line(rest);
        if is_row(line) {
            rows[row] = read_row(line);
            row += 1;
        }
        rest = behind;
    }
    rows
}

const fn read_row(line: &'static [u8]) -> Numbers {
    let (name, mut cells) = split_before(line, b'\t');
    let mut columns = [NONE; COLUMNS];
    let mut column = 0;
    while column < COLUMNS {
        let (cell, behind) = split_before(cells, b'\t');
        columns[column] = read_cell(cell);
        cells = behind;
        column += 1;
    }
    Numbers { name, columns }
}

/// A number, or `-`.
const fn read_cell(cell: &[u8]) -> u32 {
    if cell.len() == 1 && cell[0] == b'-' {
        return NONE;
    }
    assert!(!cell.is_empty(), "the table has a row that is too short");
    let (mut number, mut at) = (0, 0);
    while at < cell.len() {
        assert!(cell[at].is_ascii_digit(), "the table has a cell that is no number");
        number = number * 10 + (cell[at] - b'0') as u32;
        at += 1;
    }
    number
}

/// The calls that old 32-bit x86 programs make through socketcall(2) and ipc(2), by their sub-number.
pub fn multiplexed(name: &str) -> Option<(&'static str, u64)> {
    let sub = match name {
        "socket" => 1,
        "bind" => 2,
        "connect" => 3,
        "listen" => 4,
        "accept" => 5,
        "getsockname" => 6,
        "getpeername" => 7,
        "socketpair" => 8,
        "send" => 9,
        "recv" => 10,
        "sendto" => 11,
        "recvfrom" => 12,
        "shutdown" => 13,
        "setsockopt" => 14,
        "getsockopt" => 15,
        "sendmsg" => 16,
        "recvmsg" => 17,
        "accept4" => 18,
        "recvmmsg" => 19,
        "sendmmsg" => 20,
        _ => return ipc(name).map(|sub| ("ipc", sub)),
    };
    Some(("socketcall", sub))
}

fn ipc(name: &str) -> Option<u64> {
    Some(match name {
        "semop" => 1,
        "semget" => 2,
        "semctl" => 3,
        "semtimedop" => 4,
        "msgsnd" => 11,
        "msgrcv" => 12,
        "msgget" => 13,
        "msgctl" => 14,
        "shmat" => 21,
        "shmdt" => 22,
        "shmget" => 23,
        "shmctl" => 24,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_read_whole() {
        assert!(SYSTEM_CALLS.is_sorted_by(|before, after| before.name < after.name));
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let cells: Vec<&str> = line.split('\t').collect();
            let numbers = Numbers::of(cells[0]).expect("in the table");
            for (arch, cell) in
                [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm].into_iter().zip(&cells[1..])
            {
                let expected = cell.parse::<u32>().ok().map(|number| number + arch.base());
                assert_eq!(numbers.on(arch), expected, "{line} on {arch:?}");
            }
        }
        assert_eq!(Numbers::of("no_such_call"), None);
    }
}
