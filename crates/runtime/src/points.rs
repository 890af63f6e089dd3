//! What the parent does while the child waits for it.

use crate::launch::Wish;
use crate::record::Record;
use crate::{RuntimeError, Status, hooks, idmaps, net_devices, notify};
use runtime_core::plan::{Point, Step};
use runtime_core::spec::{Linux, Spec, TimeOffset};
use std::fs;
use sys::process;

/// A container's parent, as far as its child has wishes.
pub struct Parent<'a> {
    pub record: &'a Record,
    pub spec: &'a Spec,
    /// Limits that the child may not set itself.
    pub limits: &'a [Step],
    /// What could not be done and need not.
    pub degraded: Vec<String>,
}

impl Parent<'_> {
    pub fn fulfil(&mut self, wish: Wish) -> Result<(), RuntimeError> {
        let (record, linux) = (self.record, &self.spec.linux);
        match wish {
            Wish::Point(Point::IdMaps) => {
                set_limits(record.pid, self.limits, &mut self.degraded)?;
                idmaps::write(record.pid, &linux.uid_mappings, &linux.gid_mappings)
            }
            Wish::Point(Point::TimeOffsets) => write_time_offsets(record.pid, linux),
            Wish::Point(Point::Handover) => {
                if let Some(class) = &record.resctrl {
                    class.admit(record.pid)?;
                }
                net_devices::hand_over(&linux.net_devices, record.pid)
            }
            Wish::Point(Point::RuntimeHooks) => {
                let hooks = &self.spec.hooks;
                hooks::run("prestart", &hooks.prestart, record, Status::Creating)?;
                hooks::run("createRuntime", &hooks.create_runtime, record, Status::Creating)
            }
            Wish::Listener(listener) => notify::send(record, Status::Creating, record.pid, &listener),
        }
    }
}

/// Limits of a process in a user namespace of its own, which has no right to set them itself.
fn set_limits(pid: i32, limits: &[Step], degraded: &mut Vec<String>) -> Result<(), RuntimeError> {
    for limit in limits {
        match limit {
            Step::SetRlimit { name, resource, soft, hard } => {
                let what = format!("error setting rlimit type {name}");
                process::set_rlimit_of(pid, *resource, *soft, *hard).map_err(RuntimeError::system(what))?;
            }
            Step::WriteProc { what, path, value, lenient } => {
                let path = path.to_string_lossy().replacen("self", &pid.to_string(), 1);
                match fs::write(format!("/proc/{path}"), value.to_bytes()) {
                    Err(error) if *lenient && error.kind() == std::io::ErrorKind::PermissionDenied => {
                        degraded.push(format!("left out: {what} {}: {error}", value.to_string_lossy()));
                    }
                    other => other.map_err(RuntimeError::file(format!("cannot set {what}: write /proc/{path}")))?,
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// time_namespaces(7), /proc/PID/timens_offsets.
fn write_time_offsets(pid: i32, linux: &Linux) -> Result<(), RuntimeError> {
    let line = |(clock, offset): (&String, &TimeOffset)| format!("{clock} {} {}\n", offset.secs, offset.nanosecs);
    let text: String = linux.time_offsets.iter().map(line).collect();
    let path = format!("/proc/{pid}/timens_offsets");
    fs::write(&path, text).map_err(RuntimeError::file(format!("cannot write {path}")))
}
