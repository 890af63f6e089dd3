//! Device nodes and the links of /dev (runtime-spec config-linux.md, default devices; runtime-linux.md, dev symbolic links).

use super::mounts::Context;
use super::namespaces::CLONE_NEWUSER;
use super::{Entry, InRoot, Plan, Step, mounts, paths};
use crate::SpecError;
use crate::error::c_string;
use crate::spec::Device;
use std::ffi::CString;

const S_IFCHR: u32 = 0o020_000;
const S_IFBLK: u32 = 0o060_000;
const S_IFIFO: u32 = 0o010_000;

/// (name, major, minor)
const DEFAULT_NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

pub(super) fn push(plan: &mut Plan, context: &Context) -> Result<(), SpecError> {
    if !mounts::owns_dev(context.spec) {
        return Ok(());
    }
    let in_user_namespace = context.namespaces.own(CLONE_NEWUSER);
    let mut entries = Vec::new();
    // It is a link to the container's own terminals, whoever asks for a node.
    let is_terminals = |device: &&Device| paths::absolute(&device.path) == "/dev/ptmx";
    let wanted: Vec<&Device> = context.spec.linux.devices.iter().filter(|device| !is_terminals(device)).collect();
    for (name, major, minor) in DEFAULT_NODES {
        let path = format!("/dev/{name}");
        if !wanted.iter().any(|device| paths::absolute(&device.path) == path) {
            let node = Node { mode: S_IFCHR | 0o666, device: (major, minor), uid: 0, gid: 0 };
            entries.push(node.entry(c_string("device", name)?, &path, in_user_namespace)?);
        }
    }
    let mut elsewhere = Vec::new();
    for device in wanted {
        let path = paths::absolute(&device.path);
        let (directory, name) = InRoot::split(&path)?;
        let entry = parse(device)?.entry(name, &path, in_user_namespace)?;
        if directory.path.as_c_str() == c"dev" {
            entries.push(entry);
        } else {
            elsewhere.push(Step::Populate { directory, entries: vec![entry] });
        }
    }
    for (name, target) in LINKS {
        entries.push(Entry::Link { name: c_string("link", name)?, target: c_string("link", target)? });
    }
    plan.push(Step::Populate { directory: InRoot::new("/dev")?, entries });
    plan.steps.extend(elsewhere);
    Ok(())
}

struct Node {
    mode: u32,
    device: (u32, u32),
    uid: u32,
    gid: u32,
}

impl Node {
    fn entry(self, name: CString, path: &str, bound: bool) -> Result<Entry, SpecError> {
        if bound {
            return Ok(Entry::BoundNode { name, source: c_string("device", path)? });
        }
        Ok(Entry::Node { name, mode: self.mode, device: self.device, uid: self.uid, gid: self.gid })
    }
}

fn parse(device: &Device) -> Result<Node, SpecError> {
    let kind = match device.kind.as_str() {
        "c" | "u" => S_IFCHR,
        "b" => S_IFBLK,
        "p" => S_IFIFO,
        other => return Err(SpecError::Invalid(format!("device {:?} has the unknown type {other:?}", device.path))),
    };
    let number = |value: i64| {
        u32::try_from(value).map_err(|_| SpecError::Invalid(format!("device {:?} has no valid number", device.path)))
    };
    let numbers = if kind == S_IFIFO { (0, 0) } else { (number(device.major)?, number(device.minor)?) };
    Ok(Node {
        mode: kind | device.file_mode.unwrap_or(0o666) & 0o7777,
        device: numbers,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
    })
}
