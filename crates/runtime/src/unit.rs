//! The systemd unit of a container: made before its first process is, changed with its limits, ended with it.
//!
//! A scope needs a process to begin with and ends with its last one. A placeholder is that process until the container's own is
//! in the unit's control group: so the container is born there as in every other group.

use crate::RuntimeError;
use crate::fd::Fd;
use runtime_core::cgroup_values::Version;
use runtime_core::device_rules::Rule;
use runtime_core::spec::Spec;
use runtime_core::spec_resources::Resources;
use runtime_core::unit::{self, Drivers, Unit, Wanted};
use sys::process::{self, Clone};
use sys::{file, socket};
use systemd::{Instance, Manager};

/// A user without root has a service manager of its own.
fn instance(owner: u32) -> Instance {
    if owner == 0 { Instance::System } else { Instance::User }
}

/// The container's unit, and the path of its control group.
pub fn plan(spec: &Spec, id: &str) -> Result<(Unit, String), RuntimeError> {
    let owner = process::uid();
    let slice = if owner == 0 { "system.slice" } else { "user.slice" };
    let unit = Unit::parse(&spec.linux.cgroups_path, id, slice)?;
    let group = unit.control_group(&Manager::connect(instance(owner))?.control_group()?);
    Ok((unit, group))
}

/// Makes the unit. Whoever has the placeholder keeps the unit alive.
pub fn start(
    unit: &Unit,
    spec: &Spec,
    id: &str,
    rules: &[Rule],
    version: Version,
) -> Result<Placeholder, RuntimeError> {
    let drivers = Drivers::parse(&std::fs::read_to_string("/proc/devices").unwrap_or_default());
    let wanted = Wanted {
        id,
        resources: &spec.linux.resources,
        rules,
        annotations: &spec.annotations,
        version,
        drivers: &drivers,
    };
    let properties = unit::first_properties(unit, &wanted)?;
    let placeholder = Placeholder::new()?;
    Manager::connect(instance(process::uid()))?.start(unit, properties, placeholder.pid)?;
    Ok(placeholder)
}

pub fn update(unit: &Unit, owner: u32, resources: &Resources, version: Version) -> Result<(), RuntimeError> {
    let properties = unit::resource_properties(resources, version)?;
    if properties.is_empty() {
        return Ok(());
    }
    Ok(Manager::connect(instance(owner))?.set_properties(unit, &properties)?)
}

pub fn stop(unit: &Unit, owner: u32) -> Result<(), RuntimeError> {
    Ok(Manager::connect(instance(owner))?.stop(unit)?)
}

/// A process that waits until it is let go, or its parent ends.
#[derive(Debug)]
pub struct Placeholder {
    pid: i32,
    hold: Option<Fd>,
}

impl Placeholder {
    fn new() -> Result<Self, RuntimeError> {
        let (ours, theirs) = socket::packet_pair().map_err(RuntimeError::system("socketpair"))?;
        match process::fork().map_err(RuntimeError::system("fork"))? {
            Clone::Parent { child } => {
                file::close(theirs);
                Ok(Self { pid: child, hold: Some(Fd::new(ours)) })
            }
            Clone::Child => {
                // Its own copy of the other end would keep it waiting for ever.
                file::close(ours);
                let _ = file::read(theirs, &mut [0]);
                process::exit_now(0)
            }
        }
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        self.hold = None;
        let _ = process::wait(self.pid, false);
    }
}
