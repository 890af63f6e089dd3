//! How a process is scheduled: from the specification's words to what the kernel takes (runtime-spec config.md, scheduler,
//! I/O priority; config-linux.md, personality, memory policy).

use super::{Plan, Step};
use crate::SpecError;
use crate::spec::{IoPriority, MemoryPolicy, Personality, Process};

/// sched_setattr(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scheduler {
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

const OTHER: u32 = 0;
const FIFO: u32 = 1;
const ROUND_ROBIN: u32 = 2;
const BATCH: u32 = 3;
const DEADLINE: u32 = 6;
const POLICIES: [(&str, u32); 7] = [
    ("SCHED_OTHER", OTHER),
    ("SCHED_FIFO", FIFO),
    ("SCHED_RR", ROUND_ROBIN),
    ("SCHED_BATCH", BATCH),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", DEADLINE),
];
const FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 1),
    ("SCHED_FLAG_RECLAIM", 2),
    ("SCHED_FLAG_DL_OVERRUN", 4),
    ("SCHED_FLAG_KEEP_POLICY", 8),
    ("SCHED_FLAG_KEEP_PARAMS", 16),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 32),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 64),
];
const IO_CLASSES: [(&str, u32); 3] = [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];
const MEMORY_MODES: [(&str, u32); 7] = [
    ("MPOL_DEFAULT", 0),
    ("MPOL_PREFERRED", 1),
    ("MPOL_BIND", 2),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];
const MEMORY_FLAGS: [(&str, u32); 3] =
    [("MPOL_F_NUMA_BALANCING", 1 << 13), ("MPOL_F_RELATIVE_NODES", 1 << 14), ("MPOL_F_STATIC_NODES", 1 << 15)];
/// Processors and memory nodes beyond this are nobody's.
const MAX_NUMBER: usize = 8192;

fn invalid<T>(message: String) -> Result<T, SpecError> {
    Err(SpecError::Invalid(message))
}

fn named<T: Copy>(what: &str, name: &str, known: &[(&str, T)]) -> Result<T, SpecError> {
    match known.iter().find(|(word, _)| *word == name) {
        Some((_, value)) => Ok(*value),
        None => invalid(format!("invalid {what} {name:?}")),
    }
}

pub fn scheduler(wanted: &crate::spec::Scheduler) -> Result<Scheduler, SpecError> {
    let policy = named("scheduler policy", &wanted.policy, &POLICIES)?;
    if matches!(policy, OTHER | BATCH) && !(-20..=19).contains(&wanted.nice) {
        return invalid(format!("invalid scheduler.nice: {} when scheduler policy is OTHER or BATCH", wanted.nice));
    }
    let real_time = matches!(policy, FIFO | ROUND_ROBIN);
    let priority = match u32::try_from(wanted.priority) {
        Ok(priority @ 0..=99) if priority == 0 || real_time => priority,
        Ok(0..=99) => {
            return invalid("scheduler.priority can only be specified for SchedFIFO or SchedRR policy".into());
        }
        _ => return invalid(format!("invalid scheduler.priority {}", wanted.priority)),
    };
    if policy != DEADLINE && (wanted.runtime, wanted.deadline, wanted.period) != (0, 0, 0) {
        return invalid("scheduler runtime/deadline/period can only be specified for SchedDeadline policy".into());
    }
    let flag = |flags: u64, name: &String| named("scheduler flag", name, &FLAGS).map(|flag| flags | flag);
    Ok(Scheduler {
        policy,
        flags: wanted.flags.iter().try_fold(0, flag)?,
        nice: wanted.nice,
        priority,
        runtime: wanted.runtime,
        deadline: wanted.deadline,
        period: wanted.period,
    })
}

/// Class and priority.
pub fn io_priority(wanted: &IoPriority) -> Result<(u32, u32), SpecError> {
    let class = named("ioPriority.class", &wanted.class, &IO_CLASSES)?;
    match u32::try_from(wanted.priority) {
        Ok(priority @ 0..=7) => Ok((class, priority)),
        _ => invalid(format!("invalid ioPriority.priority {}: it is between 0 and 7", wanted.priority)),
    }
}

/// The argument of personality(2).
pub fn personality(wanted: &Personality) -> Result<u64, SpecError> {
    if !wanted.flags.is_empty() {
        return Err(SpecError::Unsupported("linux.personality.flags".into()));
    }
    named("personality domain", &wanted.domain, &[("LINUX", 0), ("LINUX32", 8)])
}

/// Mode with its flags, and the nodes.
pub fn memory_policy(wanted: &MemoryPolicy) -> Result<(u32, Vec<u64>), SpecError> {
    let mode = named("memoryPolicy.mode", &wanted.mode, &MEMORY_MODES)?;
    let flag = |flags: u32, name: &String| named("memoryPolicy flag", name, &MEMORY_FLAGS).map(|flag| flags | flag);
    Ok((wanted.flags.iter().try_fold(mode, flag)?, mask("memoryPolicy.nodes", &wanted.nodes)?))
}

/// `0-2,7` as bits; empty for an empty text.
pub fn mask(what: &str, list: &str) -> Result<Vec<u64>, SpecError> {
    let mut mask: Vec<u64> = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>()) else {
            return invalid(format!("{what}: {part:?} is neither a number nor a range"));
        };
        if first > last || last >= MAX_NUMBER {
            return invalid(format!("{what}: {part:?} is no range of numbers below {MAX_NUMBER}"));
        }
        for number in first..=last {
            if mask.len() <= number / 64 {
                mask.resize(number / 64 + 1, 0);
            }
            mask[number / 64] |= 1 << (number % 64);
        }
    }
    Ok(mask)
}

/// What a process has for itself.
pub(super) fn push(plan: &mut Plan, process: &Process) -> Result<(), SpecError> {
    if let Some(wanted) = &process.scheduler {
        plan.push(Step::SetScheduler(scheduler(wanted)?));
    }
    if let Some(wanted) = &process.io_priority {
        let (class, priority) = io_priority(wanted)?;
        plan.push(Step::SetIoPriority { class, priority });
    }
    Ok(())
}

/// What all processes of a container have.
pub(super) fn push_shared(plan: &mut Plan, personality: Option<u64>, memory_policy: Option<(u32, Vec<u64>)>) {
    if let Some(persona) = personality {
        plan.push(Step::SetPersonality(persona));
    }
    if let Some((mode, nodes)) = memory_policy {
        plan.push(Step::SetMemoryPolicy { mode, nodes });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_become_bits() {
        assert_eq!(mask("x", "0-2,65").expect("valid"), [0b111, 0b10]);
        assert_eq!(mask("x", "").expect("valid"), [0_u64; 0]);
        for bad in ["a", "3-1", "-1", "9000"] {
            assert!(mask("x", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_scheduler_has_only_what_its_policy_knows() {
        let wanted = |policy: &str, nice, priority, runtime| crate::spec::Scheduler {
            policy: policy.into(),
            nice,
            priority,
            runtime,
            ..Default::default()
        };
        let found = scheduler(&wanted("SCHED_BATCH", 19, 0, 0)).expect("valid");
        assert_eq!((found.policy, found.nice), (3, 19));
        assert!(scheduler(&wanted("SCHED_OTHER", 30, 0, 0)).is_err());
        assert!(scheduler(&wanted("SCHED_OTHER", 0, 5, 0)).is_err());
        assert!(scheduler(&wanted("SCHED_FIFO", 0, 5, 7)).is_err());
        assert!(scheduler(&wanted("SCHED_NONE", 0, 0, 0)).is_err());
    }

    #[test]
    fn priorities_and_personalities_are_checked() {
        let io = |class: &str, priority| io_priority(&IoPriority { class: class.into(), priority });
        assert_eq!(io("IOPRIO_CLASS_BE", 4).expect("valid"), (2, 4));
        assert!(io("IOPRIO_CLASS_BE", 8).is_err() && io("IOPRIO_CLASS_X", 1).is_err());
        let wanted = Personality { domain: "LINUX32".into(), flags: Vec::new() };
        assert_eq!(personality(&wanted).expect("valid"), 8);
        assert!(personality(&Personality { flags: vec!["X".into()], ..wanted }).is_err());
    }
}
