//! Seccomp profiles in Docker's format, resolved for one container: rules that depend on capabilities, architecture or
//! kernel become plain OCI rules.
//!
//! The default profile is `seccomp/default.json`: an allow list; what is not on it fails with EPERM. A user's profile has the
//! same format (`--security-opt seccomp=…`), or the OCI's own with a flat list of architectures.

use serde::Deserialize;

use crate::ConfigError;
use crate::oci;
use crate::spec::Host;

/// Largest profile a user may hand in.
const LARGEST_PROFILE: usize = 1024 * 1024;
const DEFAULT_PROFILE: &str = include_str!("seccomp/default.json");

/// Which profile a container asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileChoice<'a> {
    Default,
    Unconfined,
    /// JSON of the user's.
    Custom(&'a str),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    #[serde(default)]
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    arch_map: Vec<Architecture>,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    listener_path: String,
    #[serde(default)]
    listener_metadata: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    syscalls: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Architecture {
    architecture: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    sub_architectures: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    /// Old profiles have one name a rule.
    #[serde(default)]
    name: String,
    #[serde(default)]
    names: Vec<String>,
    action: String,
    #[serde(default)]
    errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "null_is_empty")]
    args: Vec<oci::SyscallArg>,
    #[serde(default)]
    includes: Condition,
    #[serde(default)]
    excludes: Condition,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    #[serde(deserialize_with = "null_is_empty")]
    caps: Vec<String>,
    #[serde(deserialize_with = "null_is_empty")]
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// `"args": null` stands in profiles that Go programs wrote.
fn null_is_empty<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// The rules for a container with these capabilities on this host; `None` for an unconfined one.
pub fn resolve_profile(
    choice: ProfileChoice<'_>,
    capabilities: &[&str],
    host: &Host,
) -> Result<Option<oci::Seccomp>, ConfigError> {
    let text = match choice {
        ProfileChoice::Unconfined => return Ok(None),
        ProfileChoice::Default => DEFAULT_PROFILE,
        ProfileChoice::Custom(text) => text,
    };
    let broken = |why: String| ConfigError::SeccompProfile(why);
    if text.len() > LARGEST_PROFILE {
        return Err(broken("profile is larger than 1 MiB".to_owned()));
    }
    let profile: Profile = serde_json::from_str(text).map_err(|error| broken(error.to_string()))?;
    if !profile.architectures.is_empty() && !profile.arch_map.is_empty() {
        return Err(broken("both 'architectures' and 'archMap' are specified in the seccomp profile".to_owned()));
    }
    let mut syscalls = Vec::with_capacity(profile.syscalls.len());
    for rule in profile.syscalls {
        if !rule.name.is_empty() && !rule.names.is_empty() {
            return Err(broken("both 'name' and 'names' are specified in a rule".to_owned()));
        }
        if !applies(&rule, capabilities, host)? {
            continue;
        }
        let names = if rule.name.is_empty() { rule.names } else { vec![rule.name] };
        syscalls.push(oci::Syscall { names, action: rule.action, errno_ret: rule.errno_ret, args: rule.args });
    }
    let architectures = if profile.arch_map.is_empty() {
        profile.architectures
    } else {
        let native = profile.arch_map.into_iter().find(|known| known.architecture == host.seccomp_architecture());
        native.map_or_else(Vec::new, |native| {
            std::iter::once(native.architecture).chain(native.sub_architectures).collect()
        })
    };
    Ok(Some(oci::Seccomp {
        default_action: profile.default_action,
        default_errno_ret: profile.default_errno_ret,
        architectures,
        flags: profile.flags,
        listener_path: profile.listener_path,
        listener_metadata: profile.listener_metadata,
        syscalls,
    }))
}

/// Every include must hold (all its capabilities, one of its architectures), no exclude may.
fn applies(rule: &Rule, capabilities: &[&str], host: &Host) -> Result<bool, ConfigError> {
    let has = |cap: &String| capabilities.contains(&cap.as_str());
    let here = |arches: &[String]| arches.iter().any(|arch| arch == host.architecture);
    let excluded = here(&rule.excludes.arches)
        || rule.excludes.caps.iter().any(has)
        || kernel_at_least(rule.excludes.min_kernel.as_deref(), host)? == Some(true);
    let included = (rule.includes.arches.is_empty() || here(&rule.includes.arches))
        && rule.includes.caps.iter().all(has)
        && kernel_at_least(rule.includes.min_kernel.as_deref(), host)? != Some(false);
    Ok(included && !excluded)
}

fn kernel_at_least(wanted: Option<&str>, host: &Host) -> Result<Option<bool>, ConfigError> {
    let Some(text) = wanted.filter(|text| !text.is_empty()) else { return Ok(None) };
    let version = text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let version: (u32, u32) =
        version.ok_or_else(|| ConfigError::SeccompProfile(format!("invalid kernel version: \"{text}\"")))?;
    Ok(Some(host.kernel >= version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host { architecture: "amd64", kernel: (6, 1), ..Host::default() }
    }

    fn allowed(capabilities: &[&str], name: &str) -> Vec<oci::Syscall> {
        let profile = resolve_profile(ProfileChoice::Default, capabilities, &host()).unwrap().unwrap();
        profile.syscalls.into_iter().filter(|rule| rule.names.iter().any(|n| n == name)).collect()
    }

    #[test]
    fn the_default_profile_is_an_allow_list_for_three_abis() {
        let profile = resolve_profile(ProfileChoice::Default, &[], &host()).unwrap().unwrap();
        assert_eq!(profile.default_action, "SCMP_ACT_ERRNO");
        assert_eq!(profile.architectures, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
        let names: usize = profile.syscalls.iter().map(|rule| rule.names.len()).sum();
        assert!(names > 350, "{names}");
    }

    #[test]
    fn mounting_needs_sys_admin_and_clone3_pretends_not_to_exist_without_it() {
        assert!(allowed(&[], "mount").is_empty());
        assert_eq!(allowed(&["CAP_SYS_ADMIN"], "mount").len(), 1);
        let clone3 = allowed(&[], "clone3");
        assert_eq!((clone3[0].action.as_str(), clone3[0].errno_ret), ("SCMP_ACT_ERRNO", Some(38)));
        assert_eq!(allowed(&["CAP_SYS_ADMIN"], "clone3")[0].action, "SCMP_ACT_ALLOW");
    }

    #[test]
    fn clone_without_sys_admin_may_not_make_namespaces() {
        let clone = allowed(&[], "clone");
        assert_eq!(clone.len(), 1);
        assert_eq!((clone[0].args[0].index, clone[0].args[0].value), (0, 0x7E02_0000));
    }

    #[test]
    fn rules_of_other_architectures_and_newer_kernels_are_left_out() {
        assert!(allowed(&[], "breakpoint").is_empty());
        assert_eq!(allowed(&[], "arch_prctl").len(), 1);
        let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"name":"ptrace","action":"SCMP_ACT_ERRNO","args":null,"includes":{"minKernel":"9.0"}}]}"#;
        let profile = resolve_profile(ProfileChoice::Custom(text), &[], &host()).unwrap().unwrap();
        assert!(profile.syscalls.is_empty());
    }

    #[test]
    fn a_broken_profile_is_refused_with_the_reason() {
        for text in ["", "{}", "[1]", r#"{"defaultAction":"A","syscalls":[{"action":"B","names":"x"}]}"#] {
            let error = resolve_profile(ProfileChoice::Custom(text), &[], &host()).unwrap_err();
            assert!(error.to_string().starts_with("Decoding seccomp profile failed: "), "{error}");
        }
        assert_eq!(resolve_profile(ProfileChoice::Unconfined, &[], &host()), Ok(None));
    }
}
