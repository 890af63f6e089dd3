//! Which hierarchies the host mounts where, from /proc/self/mountinfo and /proc/PID/cgroup (cgroups(7), proc(5)).

use crate::CgroupError;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// One v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// `cpu`, `cpuacct`; or `name=systemd` alone.
    pub controllers: Vec<String>,
    pub mount_point: PathBuf,
    /// Where in the hierarchy the asking process is, seen from the mount point.
    pub own: String,
}

/// The v2 hierarchy: the only one, or on a hybrid host the one beside v1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unified {
    pub mount_point: PathBuf,
    pub own: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    pub v1: Vec<Hierarchy>,
    pub v2: Option<Unified>,
}

impl Layout {
    pub fn detect() -> Result<Self, CgroupError> {
        Self::of_process("self")
    }

    /// `process`: a pid or `self`.
    pub fn of_process(process: &str) -> Result<Self, CgroupError> {
        let own = PathBuf::from(format!("/proc/{process}/cgroup"));
        let membership = std::fs::read_to_string(&own).map_err(CgroupError::read(&own))?;
        let table = Path::new("/proc/self/mountinfo");
        let mounts = File::open(table).map_err(CgroupError::read(table))?;
        Self::read(BufReader::new(mounts), &membership).map_err(CgroupError::read(table))
    }

    /// Reads of the table of mounts what it needs: the host's own come first, and those of a thousand containers behind them.
    fn read(mountinfo: impl BufRead, membership: &str) -> io::Result<Self> {
        let own = Membership::parse(membership);
        let mut layout = Self::default();
        for line in mountinfo.split(b'\n') {
            if let Some(mount) = MountLine::parse(&String::from_utf8_lossy(&line?)) {
                layout.add(&mount, &own);
            }
            if layout.v1.len() == own.hierarchies && layout.v2.is_some() == own.is_in_unified {
                break;
            }
        }
        Ok(layout)
    }

    fn add(&mut self, mount: &MountLine<'_>, own: &Membership<'_>) {
        match mount.kind {
            "cgroup2" if self.v2.is_none() => {
                let own = below(own.unified, mount.root);
                self.v2 = Some(Unified { mount_point: mount.point.into(), own });
            }
            "cgroup" => {
                let controllers = mount.controllers();
                let known = |hierarchy: &Hierarchy| hierarchy.controllers == controllers;
                let Some(first) = controllers.first() else { return };
                if self.v1.iter().any(known) {
                    return;
                }
                let own = below(own.by_controller.get(first.as_str()).copied().unwrap_or("/"), mount.root);
                self.v1.push(Hierarchy { controllers, mount_point: mount.point.into(), own });
            }
            _ => {}
        }
    }

    pub fn is_v2_only(&self) -> bool {
        self.v1.is_empty() && self.v2.is_some()
    }
}

impl Hierarchy {
    /// The last part of the mount point: `cpu,cpuacct`.
    pub fn folder(&self) -> String {
        self.mount_point.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// A process's path seen from a mount whose root is a part of the hierarchy (a cgroup folder bound into a container).
fn below(path: &str, mount_root: &str) -> String {
    if mount_root == "/" {
        return path.to_string();
    }
    match path.strip_prefix(mount_root) {
        Some("") => "/".into(),
        Some(rest) if rest.starts_with('/') => rest.into(),
        _ => "/".into(),
    }
}

/// The fields of one line that matter: `id parent dev ROOT POINT options… - TYPE source SUPEROPTIONS`.
struct MountLine<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> MountLine<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let mut after = after.split(' ');
        Some(Self {
            root: before.next()?,
            point: before.next()?,
            kind: after.next()?,
            options: after.nth(1).unwrap_or(""),
        })
    }

    /// Among the super options are the controllers; the others are known.
    fn controllers(&self) -> Vec<String> {
        let plain = |option: &&str| {
            !matches!(*option, "rw" | "ro" | "xattr" | "clone_children" | "noprefix" | "seclabel" | "none")
                && !option.starts_with("release_agent=")
        };
        let mut found: Vec<String> = self.options.split(',').filter(plain).map(str::to_string).collect();
        // A named hierarchy may be mounted with controllers; its name is then no controller of its own.
        if found.len() > 1 {
            found.retain(|option| !option.starts_with("name="));
        }
        found
    }
}

#[derive(Default)]
struct Membership<'a> {
    by_controller: BTreeMap<&'a str, &'a str>,
    /// Of v1.
    hierarchies: usize,
    unified: &'a str,
    is_in_unified: bool,
}

impl<'a> Membership<'a> {
    /// `N:controllers:PATH`; `0::PATH` for v2.
    fn parse(text: &'a str) -> Self {
        let mut found = Self { unified: "/", ..Self::default() };
        for line in text.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
            if controllers.is_empty() {
                (found.unified, found.is_in_unified) = (path, true);
            } else {
                found.hierarchies += 1;
            }
            for controller in controllers.split(',').filter(|name| !name.is_empty()) {
                found.by_controller.insert(controller, path);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:4 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    fn read(mountinfo: &str, membership: &str) -> Layout {
        Layout::read(mountinfo.as_bytes(), membership).expect("bytes can be read")
    }

    #[test]
    fn a_hybrid_host_has_both_versions() {
        let layout = read(HYBRID, "4:memory:/a/b\n2:cpu,cpuacct:/\n1:name=systemd:/s\n0::/u\n");
        assert!(!layout.is_v2_only());
        let names: Vec<String> = layout.v1.iter().map(Hierarchy::folder).collect();
        assert_eq!(names, ["cpu,cpuacct", "memory", "systemd"]);
        assert_eq!(layout.v1[1].own, "/a/b");
        assert_eq!(layout.v1[2].controllers, ["name=systemd"]);
        assert_eq!(layout.v2.as_ref().map(|v2| v2.own.as_str()), Some("/u"));
    }

    #[test]
    fn a_stock_host_of_today_has_v2_only() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        let layout = read(mounts, "0::/user.slice\n");
        assert!(layout.is_v2_only());
    }

    #[test]
    fn the_table_is_read_until_all_hierarchies_are_found() {
        let mut rest = io::Cursor::new([HYBRID, "90 23 0:50 / /a rw - overlay overlay rw\n", "91\n"].concat());
        let layout = Layout::read(&mut rest, "4:memory:/\n2:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n").expect("read");
        assert_eq!((layout.v1.len(), rest.position()), (3, HYBRID.len() as u64));
        // One that is mounted nowhere is looked for to the end.
        rest.set_position(0);
        Layout::read(&mut rest, "5:misc:/\n4:memory:/\n2:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n").expect("read");
        assert_eq!(rest.position(), rest.get_ref().len() as u64);
    }

    #[test]
    fn a_bound_part_of_a_hierarchy_is_its_own_root() {
        let mounts = "35 31 0:32 /docker/x /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let layout = read(mounts, "4:memory:/docker/x/y\n");
        assert_eq!(layout.v1[0].own, "/y");
    }
}
