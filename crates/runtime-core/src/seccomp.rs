//! Seccomp profiles (runtime-spec config-linux.md, seccomp) compiled to classic BPF.
//!
//! The answers are libseccomp's: rules of one system call are alternatives, conditional ones are tried in their order before the
//! unconditional one; an architecture that the profile does not list is killed; a system call newer than every one that
//! the profile names answers ENOSYS, so that C libraries fall back. The shape is not: numbers with the same answer form
//! ranges, and a binary tree over their borders finds one in about seven comparisons.

pub mod arch;
pub mod assemble;
pub mod rules;

pub use arch::Arch;
pub use assemble::Instruction;

use crate::SpecError;
use crate::spec::Seccomp;

/// A compiled profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub program: Vec<Instruction>,
    /// SECCOMP_FILTER_FLAG_*.
    pub flags: u64,
}

/// Who answers calls with SCMP_ACT_NOTIFY, and what it is told besides (config-linux.md, seccomp).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Listener {
    pub path: String,
    pub metadata: String,
}

pub fn listener(profile: &Seccomp) -> Option<Listener> {
    let listener = Listener { path: profile.listener_path.clone(), metadata: profile.listener_metadata.clone() };
    let notifies = profile.syscalls.iter().any(|rule| rule.action == "SCMP_ACT_NOTIFY");
    (notifies && !listener.path.is_empty()).then_some(listener)
}

/// The kernel's limit (BPF_MAXINSNS).
pub const MAX_INSTRUCTIONS: usize = 4096;

const FLAG_TSYNC: u64 = 1;
const FLAG_LOG: u64 = 2;
const FLAG_SPEC_ALLOW: u64 = 4;
const FLAG_WAIT_KILLABLE_RECV: u64 = 32;
/// The answer of the installation is the listener's descriptor.
pub const FLAG_NEW_LISTENER: u64 = 8;

/// Compiles a profile for the architectures that it lists, and always for the host's own.
pub fn compile(profile: &Seccomp, host: Arch) -> Result<Filter, SpecError> {
    let mut architectures = vec![host];
    for name in &profile.architectures {
        let arch = Arch::from_name(name)?;
        if !architectures.contains(&arch) {
            architectures.push(arch);
        }
    }
    let tables = rules::resolve(profile, &architectures)?;
    let program = assemble::program(&tables);
    if program.len() > MAX_INSTRUCTIONS {
        return Err(SpecError::Seccomp(format!(
            "the profile needs {} instructions, the kernel takes {MAX_INSTRUCTIONS}",
            program.len()
        )));
    }
    let mut flags = flags(profile)?;
    if listener(profile).is_some() {
        // One thread has nothing to bring in line, and the two answers exclude each other.
        flags = flags & !FLAG_TSYNC | FLAG_NEW_LISTENER;
    }
    Ok(Filter { program, flags })
}

fn flags(profile: &Seccomp) -> Result<u64, SpecError> {
    // Without a word from the profile, speculation is left alone: since Linux 5.16 that is the kernel's default too.
    let Some(list) = &profile.flags else { return Ok(FLAG_SPEC_ALLOW) };
    list.iter().try_fold(0, |flags, name| {
        Ok(flags
            | match name.as_str() {
                "SECCOMP_FILTER_FLAG_TSYNC" => FLAG_TSYNC,
                "SECCOMP_FILTER_FLAG_LOG" => FLAG_LOG,
                "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => FLAG_SPEC_ALLOW,
                "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => FLAG_WAIT_KILLABLE_RECV,
                other => return Err(SpecError::Seccomp(format!("unknown flag {other}"))),
            })
    })
}

#[cfg(test)]
mod tests;
