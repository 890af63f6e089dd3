//! Moves network devices of the host into the container (runtime-spec config-linux.md, network devices).
//!
//! Their permanent addresses go with them, which the kernel would drop; they are up afterwards. Nothing brings them back: the
//! kernel returns those of hardware when the namespace ends.

use crate::RuntimeError;
use crate::fd::Fd;
use crate::launch::open_path;
use netlink::{Batch, PeerPlace, Prefix, Route};
use runtime_core::spec::NetDevice;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use sys::file::O_RDONLY;
use sys::process::{self, CLONE_NEWNET};

/// Moves all of them into the namespace of this process.
pub fn hand_over(devices: &BTreeMap<String, NetDevice>, pid: i32) -> Result<(), RuntimeError> {
    if devices.is_empty() {
        return Ok(());
    }
    let outside = Route::open()?;
    let namespace = open_namespace(&format!("/proc/{pid}/ns/net"))?;
    let inside = open_inside(&namespace)?;
    for (name, device) in devices {
        let new = if device.name.is_empty() { name } else { &device.name };
        hand_over_one(&outside, &inside, &namespace, name, new)?;
    }
    Ok(())
}

fn hand_over_one(
    outside: &Route,
    inside: &Route,
    namespace: &OwnedFd,
    name: &str,
    new: &str,
) -> Result<(), RuntimeError> {
    let missing = || RuntimeError::InvalidArgument(format!("network device {name:?} does not exist on the host"));
    let link = outside.link_by_name(name)?.ok_or_else(missing)?;
    let addresses: Vec<Prefix> = outside.lasting_addresses(link.index)?;
    let there: BTreeSet<u32> = inside.links()?.into_iter().map(|link| link.index).collect();
    let mut batch = Batch::new();
    let place = PeerPlace { namespace: namespace.as_fd(), name: new, mac: [0; 6] };
    batch.move_link(link.index, &place);
    outside.perform(&batch)?;
    // By what has come: the kernel may have chosen its number, and of a template its name.
    let moved = inside.links()?.into_iter().find(|link| !there.contains(&link.index));
    let moved = moved.ok_or_else(|| RuntimeError::Start(format!("network device {name:?} is gone after its move")))?;
    let mut batch = Batch::new();
    for prefix in addresses {
        batch.add_address(moved.index, prefix);
    }
    batch.set_up(moved.index);
    Ok(inside.perform(&batch)?)
}

fn open_namespace(path: &str) -> Result<OwnedFd, RuntimeError> {
    std::fs::File::open(path).map(OwnedFd::from).map_err(RuntimeError::file(format!("open {path}")))
}

/// A socket speaks to the namespace in which it was opened: this process is there for that long.
fn open_inside(namespace: &OwnedFd) -> Result<Route, RuntimeError> {
    let own: Fd = open_path("/proc/self/ns/net", O_RDONLY)?;
    let enter = |fd| process::setns(fd, CLONE_NEWNET);
    enter(std::os::fd::AsRawFd::as_raw_fd(namespace))
        .map_err(RuntimeError::system("setns to the network namespace"))?;
    let opened = Route::open();
    enter(own.raw()).map_err(RuntimeError::system("return from the network namespace"))?;
    Ok(opened?)
}
