//! How the kernel schedules a process: policy, processors, I/O priority, memory nodes, personality.

use crate::Result;
use crate::errno::check_unit;

const IOPRIO_WHO_PROCESS: i32 = 1;
const IOPRIO_CLASS_SHIFT: u32 = 13;

/// What sched_setattr(2) takes.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchedulerAttributes {
    size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// Sets this process's policy.
pub fn set_scheduler(attributes: SchedulerAttributes) -> Result<()> {
    let attributes = SchedulerAttributes { size: size_of::<SchedulerAttributes>() as u32, ..attributes };
    // SAFETY: the structure outlives the call and says its own size.
    check_unit(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) })
}

/// Sets this process's I/O class and priority (ioprio_set(2)).
pub fn set_io_priority(class: u32, priority: u32) -> Result<()> {
    let value = class << IOPRIO_CLASS_SHIFT | priority;
    // SAFETY: no memory is passed.
    check_unit(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) })
}

/// Binds this process to processors, one bit each.
pub fn set_affinity(mask: &[u64]) -> Result<()> {
    // SAFETY: the mask outlives the call and its size in bytes is given.
    check_unit(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(mask), mask.as_ptr()) })
}

/// Sets the execution domain (personality(2)).
pub fn set_personality(persona: u64) -> Result<()> {
    // SAFETY: no memory is passed.
    check_unit(unsafe { libc::personality(persona) }.into())
}

/// Sets where this process's memory comes from (set_mempolicy(2)). `mode` includes the flags.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<()> {
    let pointer = if nodes.is_empty() { std::ptr::null() } else { nodes.as_ptr() };
    // The kernel takes the number of bits, and one more.
    let bits = if nodes.is_empty() { 0 } else { size_of_val(nodes) * 8 + 1 };
    // SAFETY: the mask outlives the call; the last bit that is counted is never read.
    check_unit(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, bits) })
}
