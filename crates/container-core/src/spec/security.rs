//! `--security-opt`, and the paths of /proc and /sys that a container must not read or write.

use crate::config::HostConfig;
use crate::error::ConfigError;
use crate::seccomp::ProfileChoice;

/// Docker's list: what would tell about the host or other containers (CVE-2025-31133 is why the runtime checks each mask).
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What the options come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecurityOptions {
    pub no_new_privileges: bool,
    seccomp: Option<String>,
}

impl SecurityOptions {
    /// `no-new-privileges[=true]`, `seccomp=unconfined|builtin|JSON`; `=` or, as of old, `:`.
    pub fn parse(options: &[String]) -> Result<Self, ConfigError> {
        let mut parsed = Self::default();
        for option in options {
            let wrong = || ConfigError::SecurityOption(option.clone());
            let (key, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
            match (key, value) {
                ("no-new-privileges", "" | "true" | "1") => parsed.no_new_privileges = true,
                ("no-new-privileges", "false" | "0") => parsed.no_new_privileges = false,
                ("seccomp", "") => return Err(wrong()),
                ("seccomp", profile) => parsed.seccomp = Some(profile.to_owned()),
                // No security module is driven yet, so that no profile and no label is what a container has anyway.
                ("apparmor", "unconfined") | ("label", "disable") => {}
                ("apparmor" | "label", _) => return Err(ConfigError::NotBuilt(format!("--security-opt {option}"))),
                _ => return Err(wrong()),
            }
        }
        Ok(parsed)
    }

    /// A privileged container is unconfined unless a profile was named.
    pub fn profile(&self, privileged: bool) -> ProfileChoice<'_> {
        match self.seccomp.as_deref() {
            None if privileged => ProfileChoice::Unconfined,
            None | Some("builtin") => ProfileChoice::Default,
            Some("unconfined") => ProfileChoice::Unconfined,
            Some(profile) => ProfileChoice::Custom(profile),
        }
    }
}

/// Masked and read-only paths.
pub fn paths(host: &HostConfig) -> (Vec<String>, Vec<String>) {
    let defaults =
        |list: &[&str]| if host.privileged { Vec::new() } else { list.iter().map(|p| (*p).to_owned()).collect() };
    let masked = host.masked_paths.clone().unwrap_or_else(|| defaults(&MASKED));
    let read_only = host.readonly_paths.clone().unwrap_or_else(|| defaults(&READ_ONLY));
    (masked, read_only)
}
