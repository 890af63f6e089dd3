//! Words that values of flags are made of.

pub const CAPABILITIES: &[&str] = &[
    "ALL",
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

pub const DETACH_KEYS: &[&str] = &["ctrl-"];
pub const EVENT_FILTERS: &[&str] =
    &["container=", "daemon=", "event=", "image=", "label=", "network=", "node=", "scope=", "type=", "volume="];
pub const IPC: &[&str] = &["container:", "host", "none", "private", "shareable"];
pub const LOG_DRIVERS: &[&str] = &["fluentd", "gelf", "journald", "json-file", "local", "none", "syslog"];
pub const LOG_LEVELS: &[&str] = &["debug", "info", "warn", "error", "fatal", "panic"];
pub const OBJECT_TYPES: &[&str] =
    &["config", "container", "image", "network", "node", "plugin", "secret", "service", "task", "volume"];
pub const PID: &[&str] = &["container:", "host"];
pub const PLATFORMS: &[&str] = &[
    "linux/386",
    "linux/amd64",
    "linux/arm",
    "linux/arm/v5",
    "linux/arm/v6",
    "linux/arm/v7",
    "linux/arm64",
    "linux/arm64/v8",
    "linux/ppc64le",
    "linux/s390x",
    "linux/riscv64",
    "windows/amd64",
    "wasip1/wasm",
];
pub const PULL: &[&str] = &["always", "missing", "never"];
pub const RESTART: &[&str] = &["no", "always", "on-failure", "unless-stopped"];
pub const SECURITY: &[&str] = &["apparmor=", "label=", "no-new-privileges", "seccomp=", "systempaths=unconfined"];
pub const SIGNALS: &[&str] = &[
    "ABRT", "ALRM", "BUS", "CHLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "KILL", "PIPE", "PROF", "PWR", "QUIT",
    "RTMAX", "RTMIN", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2",
    "VTALRM", "WINCH", "XCPU", "XFSZ",
];
pub const STREAMS: &[&str] = &["stderr", "stdin", "stdout"];
pub const ULIMITS: &[&str] = &[
    "as=",
    "core=",
    "cpu=",
    "data=",
    "fsize=",
    "locks=",
    "memlock=",
    "msgqueue=",
    "nice=",
    "nofile=",
    "nproc=",
    "rss=",
    "rtprio=",
    "rttime=",
    "sigpending=",
    "stack=",
];

/// Options of a log driver; those that all have when it is not known.
pub fn log_options(driver: &str) -> Vec<&'static str> {
    let common = ["max-buffer-size=", "mode=", "env=", "env-regex=", "labels=", "labels-regex=", "tag="];
    let own: &[&str] = match driver {
        "json-file" | "local" => &["compress=", "max-file=", "max-size="],
        "syslog" => &[
            "syslog-address=",
            "syslog-facility=",
            "syslog-format=",
            "syslog-tls-ca-cert=",
            "syslog-tls-cert=",
            "syslog-tls-key=",
            "syslog-tls-skip-verify=",
        ],
        "gelf" => &[
            "gelf-address=",
            "gelf-compression-level=",
            "gelf-compression-type=",
            "gelf-tcp-max-reconnect=",
            "gelf-tcp-reconnect-delay=",
        ],
        "fluentd" => &[
            "fluentd-address=",
            "fluentd-async=",
            "fluentd-buffer-limit=",
            "fluentd-max-retries=",
            "fluentd-request-ack=",
            "fluentd-retry-wait=",
            "fluentd-sub-second-precision=",
        ],
        _ => &[],
    };
    common.iter().chain(own).copied().collect()
}
