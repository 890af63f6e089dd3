//! Classes of caches and memory bandwidth in a resctrl file system (runtime-spec config-linux.md, IntelRdt; resctrl.rst).
//!
//! A class is a folder; who is in its `tasks` has what its `schemata` say. [`plan`] decides before anything is made,
//! [`Class::admit`] makes and fills, [`Class::remove`] takes away what was the container's own.

use crate::RuntimeError;
use runtime_core::spec::IntelRdt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The class of a container; kept in its record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    folder: PathBuf,
    /// It is the container's alone and goes with it.
    own: bool,
    /// Its folder is to be made.
    #[serde(skip)]
    new: bool,
    #[serde(skip)]
    lines: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    monitor: Option<PathBuf>,
}

/// Where resctrl is mounted, by the text of /proc/self/mountinfo.
pub fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    let point = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        (after.split(' ').next() == Some("resctrl")).then(|| before.split(' ').nth(4).map(PathBuf::from))?
    };
    mountinfo.lines().find_map(point)
}

/// `root`: the mounted file system, if there is one.
pub fn plan(wanted: &IntelRdt, root: Option<&Path>, id: &str) -> Result<Class, RuntimeError> {
    let Some(root) = root else {
        return Err(RuntimeError::InvalidArgument("intelRdt is set, but no resctrl file system is mounted".into()));
    };
    let folder = match wanted.clos_id.as_str() {
        "" => root.join(id),
        "/" => root.to_path_buf(),
        name => root.join(name),
    };
    let lines: Vec<String> = [&wanted.l3_cache_schema, &wanted.mem_bw_schema]
        .into_iter()
        .chain(&wanted.schemata)
        .filter(|line| !line.is_empty())
        .cloned()
        .collect();
    let own = wanted.clos_id.is_empty();
    let exists = folder.is_dir();
    if exists && own {
        return Err(RuntimeError::InvalidArgument(format!("intelRdt: {} exists already", folder.display())));
    }
    if exists {
        let now = read(&folder.join("schemata"))?;
        if let Some(line) = lines.iter().find(|line| !is_in_force(line, &now)) {
            let place = folder.display();
            return Err(RuntimeError::InvalidArgument(format!(
                "intelRdt: {line:?} does not match the schemata of {place}"
            )));
        }
    } else if !own && lines.is_empty() {
        return Err(RuntimeError::InvalidArgument(format!("intelRdt: there is no class {:?}", wanted.clos_id)));
    }
    let monitor = wanted.enable_monitoring.then(|| folder.join("mon_groups").join(id));
    let new = !exists;
    Ok(Class { folder, own, new, lines: if new { lines } else { Vec::new() }, monitor })
}

impl Class {
    /// Makes what is missing and puts the process in.
    pub fn admit(&self, pid: i32) -> Result<(), RuntimeError> {
        if self.new {
            make(&self.folder)?;
        }
        if !self.lines.is_empty() {
            write(&self.folder.join("schemata"), &format!("{}\n", self.lines.join("\n")))?;
        }
        write(&self.folder.join("tasks"), &pid.to_string())?;
        let Some(monitor) = &self.monitor else { return Ok(()) };
        make(monitor)?;
        write(&monitor.join("tasks"), &pid.to_string())
    }

    pub fn remove(&self) -> Result<(), RuntimeError> {
        let own = self.own.then_some(&self.folder);
        for folder in self.monitor.iter().chain(own) {
            match fs::remove_dir(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(RuntimeError::file(format!("cannot remove {}", folder.display()))(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn make(folder: &Path) -> Result<(), RuntimeError> {
    fs::create_dir(folder).map_err(RuntimeError::file(format!("intelRdt: cannot make {}", folder.display())))
}

fn read(file: &Path) -> Result<String, RuntimeError> {
    fs::read_to_string(file).map_err(RuntimeError::file(format!("intelRdt: cannot read {}", file.display())))
}

/// The kernel says what is wrong with a schema in `info/last_cmd_status`; here its number has to do.
fn write(file: &Path, text: &str) -> Result<(), RuntimeError> {
    let opened = fs::OpenOptions::new().write(true).open(file);
    let written = opened.and_then(|mut opened| io::Write::write_all(&mut opened, text.as_bytes()));
    written.map_err(RuntimeError::file(format!("intelRdt: cannot write {:?} to {}", text.trim_end(), file.display())))
}

/// `L3:0=7f0;1=1f`: the resource, and a value for each of its domains.
fn parse(line: &str) -> Option<(&str, BTreeMap<&str, String>)> {
    let (resource, values) = line.trim().split_once(':')?;
    let mut domains = BTreeMap::new();
    for pair in values.split(';') {
        let (domain, value) = pair.split_once('=')?;
        domains.insert(domain.trim(), value.trim().trim_start_matches('0').to_ascii_lowercase());
    }
    Some((resource.trim(), domains))
}

fn is_in_force(line: &str, schemata: &str) -> bool {
    let Some((resource, wanted)) = parse(line) else { return false };
    let set = schemata.lines().filter_map(parse).find(|(name, _)| *name == resource);
    set.is_some_and(|(_, set)| wanted.iter().all(|(domain, value)| set.get(domain) == Some(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel lays it out, with plain files.
    fn tree(classes: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (name, schemata) in classes {
            let folder = root.path().join(name);
            fs::create_dir_all(folder.join("mon_groups")).expect("a folder");
            fs::write(folder.join("tasks"), "").expect("a file");
            fs::write(folder.join("schemata"), schemata).expect("a file");
        }
        root
    }

    fn wanted(clos_id: &str, lines: &[&str]) -> IntelRdt {
        let schemata = lines.iter().map(ToString::to_string).collect();
        IntelRdt { clos_id: clos_id.into(), schemata, ..IntelRdt::default() }
    }

    #[test]
    fn resctrl_is_found_where_it_is_mounted() {
        let table = "30 23 0:26 / /sys rw - sysfs sysfs rw\n31 30 0:27 / /sys/fs/resctrl rw - resctrl resctrl rw,cdp\n";
        assert_eq!(mount_point(table), Some("/sys/fs/resctrl".into()));
        assert_eq!(mount_point("30 23 0:26 / /resctrl rw - tmpfs resctrl rw\n"), None);
        let error = plan(&wanted("a", &[]), None, "id").expect_err("not mounted");
        assert_eq!(error.to_string(), "intelRdt is set, but no resctrl file system is mounted");
    }

    #[test]
    fn a_class_that_is_there_is_used_and_stays() {
        let root = tree(&[("gold", "    L3:0=7f0;1=01F\n    MB:0= 20;1= 70\n")]);
        let class = plan(&wanted("gold", &["L3:0=7F0;1=1f", "MB:1=70"]), Some(root.path()), "id").expect("it matches");
        class.admit(7).expect("admitted");
        assert_eq!(fs::read_to_string(root.path().join("gold/tasks")).expect("read"), "7");
        assert!(
            fs::read_to_string(root.path().join("gold/schemata")).expect("read").starts_with("    L3"),
            "untouched"
        );
        class.remove().expect("nothing to do");
        assert!(root.path().join("gold").is_dir());
        for (line, id) in [("L3:0=f", "gold"), ("L2:0=f", "gold"), ("", "silver")] {
            let lines = if line.is_empty() { vec![] } else { vec![line] };
            assert!(plan(&wanted(id, &lines), Some(root.path()), "id").is_err(), "{line} {id}");
        }
    }

    #[test]
    fn a_class_of_its_own_is_made_and_goes_with_the_container() {
        let root = tree(&[]);
        let mut asked = wanted("", &["MB:0=20"]);
        (asked.l3_cache_schema, asked.enable_monitoring) = ("L3:0=f".into(), true);
        let class = plan(&asked, Some(root.path()), "id").expect("valid");
        // The kernel fills a new folder; plain files stand for it.
        assert!(class.new && class.own);
        assert_eq!(class.lines, ["L3:0=f", "MB:0=20"]);
        fs::create_dir_all(root.path().join("id/mon_groups/id")).expect("a folder");
        fs::remove_dir(root.path().join("id/mon_groups/id")).expect("the class's own");
        fs::remove_dir(root.path().join("id/mon_groups")).expect("the kernel's");
        class.remove().expect("removed");
        assert!(!root.path().join("id").exists());
        class.remove().expect("gone already");
    }
}
