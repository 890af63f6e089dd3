//! A profile resolved to numbers: for each architecture a sorted table from system call to answer.

use super::arch::{Arch, Numbers, multiplexed};
use crate::SpecError;
use crate::spec::{Seccomp, SyscallArgument, SyscallRule};
use std::collections::BTreeMap;

const RET_KILL_PROCESS: u32 = 0x8000_0000;
pub const RET_KILL_THREAD: u32 = 0;
const RET_TRAP: u32 = 0x0003_0000;
const RET_ERRNO: u32 = 0x0005_0000;
/// To whoever listens (seccomp_unotify(2)).
pub const RET_USER_NOTIF: u32 = 0x7fc0_0000;
const RET_TRACE: u32 = 0x7ff0_0000;
const RET_LOG: u32 = 0x7ffc_0000;
const RET_ALLOW: u32 = 0x7fff_0000;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
/// The kernel's MAX_ERRNO.
const MAX_ERRNO: u32 = 4095;
const MAX_RULES: usize = 16_384;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    MaskedEqual { mask: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    pub index: u32,
    pub comparison: Comparison,
    pub value: u64,
}

/// The answer for one system call: the first branch whose conditions all hold, else the last word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub branches: Vec<(Vec<Condition>, u32)>,
    pub otherwise: u32,
}

/// What one architecture's numbers are answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub arch: Arch,
    pub answers: BTreeMap<u32, Answer>,
    pub default: u32,
    /// Numbers above this are newer than the profile and get their own answer.
    pub newest: Option<(u32, u32)>,
}

pub fn resolve(profile: &Seccomp, architectures: &[Arch]) -> Result<Vec<Table>, SpecError> {
    let default = action(&profile.default_action, profile.default_errno_ret)?;
    check_notify(profile)?;
    if profile.syscalls.iter().map(|rule| rule.names.len()).sum::<usize>() > MAX_RULES {
        return Err(SpecError::Seccomp(format!("more than {MAX_RULES} rules")));
    }
    let mut tables: Vec<Table> = architectures
        .iter()
        .map(|arch| Table { arch: *arch, answers: BTreeMap::new(), default, newest: None })
        .collect();
    let mut newest = vec![0; tables.len()];
    for rule in &profile.syscalls {
        let answer = action(&rule.action, rule.errno_ret)?;
        let alternatives = alternatives(rule)?;
        for name in &rule.names {
            let numbers = Numbers::of(name);
            for (table, newest) in tables.iter_mut().zip(&mut newest) {
                if let Some(number) = numbers.and_then(|numbers| numbers.on(table.arch)) {
                    *newest = (*newest).max(number);
                    add(table, number, &alternatives, answer);
                }
                if table.arch == Arch::X86
                    && rule.args.is_empty()
                    && let Some(number) = add_multiplexed(table, name, answer)
                {
                    *newest = (*newest).max(number);
                }
            }
        }
    }
    // An EPERM for a call that the profile's author did not know stops C libraries from falling back to the older one.
    let refuses = !matches!(default & 0xffff_0000, RET_ALLOW | RET_LOG | RET_TRACE);
    for (table, newest) in tables.iter_mut().zip(newest) {
        table.newest = (refuses && newest > table.arch.base()).then_some((newest, RET_ERRNO | ENOSYS));
    }
    Ok(tables)
}

/// The process between clone and exec hands its listener over by write(2), before anyone can answer.
fn check_notify(profile: &Seccomp) -> Result<(), SpecError> {
    if profile.default_action == "SCMP_ACT_NOTIFY" {
        return Err(SpecError::Seccomp("SCMP_ACT_NOTIFY cannot be used as default action".into()));
    }
    let notified = |rule: &&SyscallRule| rule.action == "SCMP_ACT_NOTIFY";
    if profile.syscalls.iter().filter(notified).any(|rule| rule.names.iter().any(|name| name == "write")) {
        return Err(SpecError::Seccomp("SCMP_ACT_NOTIFY cannot be used for the write syscall".into()));
    }
    if profile.listener_path.is_empty() && profile.syscalls.iter().any(|rule| notified(&rule)) {
        return Err(SpecError::Seccomp("SCMP_ACT_NOTIFY needs a listenerPath".into()));
    }
    Ok(())
}

/// socketcall(2) and ipc(2) reach the same calls; their arguments are in memory, so only rules without conditions carry over.
/// Answers the number that got a rule, if one did.
fn add_multiplexed(table: &mut Table, name: &str, answer: u32) -> Option<u32> {
    let (call, sub) = multiplexed(name)?;
    let number = Numbers::of(call)?.on(table.arch)?;
    let condition = Condition { index: 0, comparison: Comparison::Equal, value: sub };
    add(table, number, &[vec![condition]], answer);
    Some(number)
}

fn add(table: &mut Table, number: u32, alternatives: &[Vec<Condition>], answer: u32) {
    let default = table.default;
    // A rule that says what happens anyway changes nothing (libseccomp refuses it, runtimes skip it).
    if answer == default {
        return;
    }
    let entry = table.answers.entry(number).or_insert(Answer { branches: Vec::new(), otherwise: default });
    for conditions in alternatives {
        if !conditions.is_empty() {
            entry.branches.push((conditions.clone(), answer));
        } else if entry.otherwise == default {
            entry.otherwise = answer;
        }
    }
}

/// The conditions of a rule: all together, unless two look at the same argument: then each is a rule of its own, as
/// runtimes have always read profiles.
fn alternatives(rule: &SyscallRule) -> Result<Vec<Vec<Condition>>, SpecError> {
    let conditions = rule.args.iter().map(condition).collect::<Result<Vec<_>, _>>()?;
    let mut seen = 0_u32;
    let mut repeated = false;
    for condition in &conditions {
        repeated |= seen & 1 << condition.index != 0;
        seen |= 1 << condition.index;
    }
    Ok(if repeated { conditions.into_iter().map(|condition| vec![condition]).collect() } else { vec![conditions] })
}

fn condition(argument: &SyscallArgument) -> Result<Condition, SpecError> {
    if argument.index > 5 {
        return Err(SpecError::Seccomp(format!("a system call has no argument {}", argument.index)));
    }
    let (comparison, value) = match argument.op.as_str() {
        "SCMP_CMP_NE" => (Comparison::NotEqual, argument.value),
        "SCMP_CMP_LT" => (Comparison::Less, argument.value),
        "SCMP_CMP_LE" => (Comparison::LessOrEqual, argument.value),
        "SCMP_CMP_EQ" => (Comparison::Equal, argument.value),
        "SCMP_CMP_GE" => (Comparison::GreaterOrEqual, argument.value),
        "SCMP_CMP_GT" => (Comparison::Greater, argument.value),
        "SCMP_CMP_MASKED_EQ" => (Comparison::MaskedEqual { mask: argument.value }, argument.value_two & argument.value),
        other => return Err(SpecError::Seccomp(format!("unknown comparison {other:?}"))),
    };
    Ok(Condition { index: argument.index, comparison, value })
}

fn action(name: &str, number: Option<u32>) -> Result<u32, SpecError> {
    let carries_number = matches!(name, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE");
    if number.is_some() && !carries_number {
        return Err(SpecError::Seccomp(format!("errnoRet has no meaning for {name}")));
    }
    let number = number.unwrap_or(EPERM);
    if carries_number && number > MAX_ERRNO {
        return Err(SpecError::Seccomp(format!("{number} is no error number")));
    }
    Ok(match name {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => RET_KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => RET_KILL_PROCESS,
        "SCMP_ACT_TRAP" => RET_TRAP,
        "SCMP_ACT_ERRNO" => RET_ERRNO | number,
        "SCMP_ACT_TRACE" => RET_TRACE | number,
        "SCMP_ACT_ALLOW" => RET_ALLOW,
        "SCMP_ACT_LOG" => RET_LOG,
        "SCMP_ACT_NOTIFY" => RET_USER_NOTIF,
        other => return Err(SpecError::Seccomp(format!("unknown action {other:?}"))),
    })
}
