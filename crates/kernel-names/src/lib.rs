//! What the kernel's manual pages call capabilities, resource limits and signals, with the kernel's numbers.
//!
//! Tables alone: which of the names a command line or an API takes, in which spelling, is for its own crate to say.

/// Names by number, of Linux 5.10 to 6.x (capabilities(7)).
#[rustfmt::skip]
pub const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
    "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW",
    "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD",
    "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
    "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
];

/// A resource that processes have limits of (getrlimit(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceLimit {
    /// `RLIMIT_NOFILE`: the kernel's and the OCI's name.
    pub constant: &'static str,
    /// `nofile`: the name on a command line.
    pub ulimit: &'static str,
}

const fn limit(constant: &'static str, ulimit: &'static str) -> ResourceLimit {
    ResourceLimit { constant, ulimit }
}

/// By number.
pub const RESOURCE_LIMITS: [ResourceLimit; 16] = [
    limit("RLIMIT_CPU", "cpu"),
    limit("RLIMIT_FSIZE", "fsize"),
    limit("RLIMIT_DATA", "data"),
    limit("RLIMIT_STACK", "stack"),
    limit("RLIMIT_CORE", "core"),
    limit("RLIMIT_RSS", "rss"),
    limit("RLIMIT_NPROC", "nproc"),
    limit("RLIMIT_NOFILE", "nofile"),
    limit("RLIMIT_MEMLOCK", "memlock"),
    limit("RLIMIT_AS", "as"),
    limit("RLIMIT_LOCKS", "locks"),
    limit("RLIMIT_SIGPENDING", "sigpending"),
    limit("RLIMIT_MSGQUEUE", "msgqueue"),
    limit("RLIMIT_NICE", "nice"),
    limit("RLIMIT_RTPRIO", "rtprio"),
    limit("RLIMIT_RTTIME", "rttime"),
];

impl ResourceLimit {
    /// By the name on a command line.
    pub fn by_ulimit(name: &str) -> Option<Self> {
        RESOURCE_LIMITS.into_iter().find(|limit| limit.ulimit == name)
    }

    /// Docker lets containers have limits of all but the address space.
    pub fn is_for_containers(self) -> bool {
        self.ulimit != "as"
    }
}

/// Names without `SIG` from number 1 on (signal(7), the numbering that x86-64 and aarch64 have in common).
#[rustfmt::skip]
pub const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// The real-time signals that a program may use: the first two belong to the C library's threads.
pub const REAL_TIME_SIGNALS: std::ops::RangeInclusive<u32> = 34..=64;

/// The number of a signal, by a name in capitals and without `SIG`.
pub fn signal_number(name: &str) -> Option<u32> {
    let same = match name {
        "IOT" => "ABRT",
        "CLD" => "CHLD",
        "POLL" => "IO",
        name => name,
    };
    (1..).zip(SIGNALS).find(|(_, known)| *known == same).map(|(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_kernel_s_numbers() {
        assert_eq!(CAPABILITIES[21], "CAP_SYS_ADMIN");
        assert_eq!(RESOURCE_LIMITS[7].constant, "RLIMIT_NOFILE");
        for (name, number) in [("HUP", 1), ("IOT", 6), ("KILL", 9), ("CLD", 17), ("POLL", 29), ("SYS", 31)] {
            assert_eq!(signal_number(name), Some(number), "{name}");
        }
        assert_eq!(signal_number("SIGHUP"), None);
    }

    #[test]
    fn a_command_line_s_limits_are_the_constants_in_small_letters() {
        for limit in RESOURCE_LIMITS {
            assert_eq!(limit.constant, format!("RLIMIT_{}", limit.ulimit.to_uppercase()));
            assert_eq!(ResourceLimit::by_ulimit(limit.ulimit), Some(limit));
        }
        let kept: Vec<&str> =
            RESOURCE_LIMITS.into_iter().filter(|limit| !limit.is_for_containers()).map(|limit| limit.ulimit).collect();
        assert_eq!(kept, ["as"]);
    }
}
