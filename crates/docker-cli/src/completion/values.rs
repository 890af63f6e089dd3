//! Words that values of flags are made of.

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
pub const STREAMS: &[&str] = &["stderr", "stdin", "stdout"];

/// Every capability, and the word for all of them.
pub fn capabilities() -> Vec<&'static str> {
    std::iter::once("ALL").chain(kernel_names::CAPABILITIES).collect()
}

/// Every signal, and the ends of the real-time ones, in the order of the alphabet.
pub fn signals() -> Vec<&'static str> {
    let mut names: Vec<&str> = kernel_names::SIGNALS.into_iter().chain(["RTMAX", "RTMIN"]).collect();
    names.sort_unstable();
    names
}

/// Every resource that has a limit, in the order of the alphabet.
pub fn ulimits() -> Vec<String> {
    let mut names: Vec<String> =
        kernel_names::RESOURCE_LIMITS.iter().map(|limit| format!("{}=", limit.ulimit)).collect();
    names.sort();
    names
}

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
