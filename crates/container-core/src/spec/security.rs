//! `--security-opt`, and the paths of /proc and /sys that a container must not read or write.

use super::{AppArmor, Host};
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
    no_new_privileges: Option<bool>,
    seccomp: Option<String>,
    apparmor: Option<String>,
    /// SELinux: `disable`, `user:…`, `role:…`, `type:…`, `level:…`, `filetype:…`, `nested`.
    labels: Vec<String>,
}

impl SecurityOptions {
    /// `no-new-privileges[=true]`, `seccomp=unconfined|builtin|JSON`, `apparmor=PROFILE`, `label=…`; `=` or, as of old, `:`.
    pub fn parse(options: &[String]) -> Result<Self, ConfigError> {
        let mut parsed = Self::default();
        for option in options {
            let wrong = |stage| ConfigError::SecurityOption { stage, option: option.clone() };
            match option.as_str() {
                "no-new-privileges" => parsed.no_new_privileges = Some(true),
                "disable" => parsed.labels.push("disable".to_owned()),
                _ => {
                    let split = if option.contains('=') { option.split_once('=') } else { option.split_once(':') };
                    let (key, value) = split.ok_or_else(|| wrong(1))?;
                    parsed.take(key, value).ok_or_else(|| wrong(2))?;
                }
            }
        }
        Ok(parsed)
    }

    fn take(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "no-new-privileges" => self.no_new_privileges = Some(go_bool(value)?),
            "seccomp" if !value.is_empty() => self.seccomp = Some(value.to_owned()),
            "apparmor" => self.apparmor = Some(value.to_owned()),
            "label" => self.labels.push(value.to_owned()),
            _ => return None,
        }
        Some(())
    }

    /// Options that this host cannot keep: an error where its security module is there and ours does not drive it, a warning
    /// where it is not.
    pub fn check(&self, host: &Host) -> Result<Vec<String>, ConfigError> {
        let mut warnings = Vec::new();
        let confines = self.apparmor.as_deref().filter(|profile| !matches!(*profile, "" | "unconfined"));
        if let (Some(profile), AppArmor::Off) = (confines, &host.apparmor) {
            warnings.push(format!("AppArmor is not enabled on this host. Profile {profile} discarded."));
        }
        if self.labels.iter().any(|label| label != "disable") {
            if host.selinux {
                return Err(ConfigError::NotBuilt("--security-opt label with SELinux".to_owned()));
            }
            warnings.push("SELinux is not enabled on this host. Label options discarded.".to_owned());
        }
        Ok(warnings)
    }

    pub fn no_new_privileges(&self, host: &Host) -> bool {
        self.no_new_privileges.unwrap_or(host.policy.no_new_privileges)
    }

    /// Empty: none is asked of the runtime.
    pub fn apparmor_profile(&self, privileged: bool, host: &Host) -> String {
        let AppArmor::On { default_profile } = &host.apparmor else { return String::new() };
        match (self.apparmor.as_deref(), privileged) {
            (Some(profile), _) if !profile.is_empty() => profile.to_owned(),
            (_, true) => "unconfined".to_owned(),
            _ => default_profile.clone().unwrap_or_default(),
        }
    }

    /// For `inspect`: what the container was given or, on a host with AppArmor, what it has.
    pub fn shown_apparmor_profile(&self, privileged: bool, host: &Host) -> String {
        let asked = self.apparmor.clone().unwrap_or_default();
        if asked.is_empty() { self.apparmor_profile(privileged, host) } else { asked }
    }

    /// A privileged container is unconfined unless a profile was named.
    pub fn seccomp_profile<'a>(&'a self, privileged: bool, host: &'a Host) -> ProfileChoice<'a> {
        let daemon = host.policy.seccomp_profile.as_deref().filter(|_| !privileged);
        match self.seccomp.as_deref().or(daemon) {
            None if privileged => ProfileChoice::Unconfined,
            None | Some("builtin") => ProfileChoice::Default,
            Some("unconfined") => ProfileChoice::Unconfined,
            Some(profile) => ProfileChoice::Custom(profile),
        }
    }
}

/// Go's strconv.ParseBool.
fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// The lists that a container without wishes of its own is shown with, `None` for a privileged one.
pub fn default_paths(privileged: bool) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let list = |paths: &[&str]| (!privileged).then(|| paths.iter().map(|path| (*path).to_owned()).collect());
    (list(&MASKED), list(&READ_ONLY))
}

/// Masked and read-only paths. A privileged container has none, whatever it asked for.
pub fn paths(host: &HostConfig) -> (Vec<String>, Vec<String>) {
    if host.privileged {
        return (Vec::new(), Vec::new());
    }
    let (masked, read_only) = default_paths(false);
    let list = |own: &Option<Vec<String>>, default: Option<Vec<String>>| own.clone().or(default).unwrap_or_default();
    (list(&host.masked_paths, masked), list(&host.readonly_paths, read_only))
}
