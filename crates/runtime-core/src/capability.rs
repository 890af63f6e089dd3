//! Capability names and numbers (capabilities(7)).

/// Names by number.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The highest capability that has a name.
pub const HIGHEST: u32 = NAMES.len() as u32 - 1;

pub fn number(name: &str) -> Option<u32> {
    NAMES.iter().position(|known| *known == name).map(|index| index as u32)
}

pub fn names() -> &'static [&'static str] {
    &NAMES
}

/// The capabilities of a list as bits, and the names that no kernel has.
pub fn bits<'a>(names: impl IntoIterator<Item = &'a String>) -> (u64, Vec<&'a str>) {
    let mut set = 0;
    let mut unknown = Vec::new();
    for name in names {
        match number(name) {
            Some(bit) => set |= 1 << bit,
            None => unknown.push(name.as_str()),
        }
    }
    (set, unknown)
}

/// The names of a set, for messages.
pub fn list(set: u64) -> String {
    let names: Vec<&str> =
        NAMES.iter().enumerate().filter(|(bit, _)| set & (1 << bit) != 0).map(|(_, name)| *name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_kernels_numbers() {
        assert_eq!(number("CAP_SYS_ADMIN"), Some(21));
        assert_eq!(number("CAP_CHECKPOINT_RESTORE"), Some(40));
        assert_eq!(number("CAP_FLY"), None);
        assert_eq!(list(1 | 1 << 24), "CAP_CHOWN, CAP_SYS_RESOURCE");
    }
}
