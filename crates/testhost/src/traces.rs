//! What a test could leave behind, listed before and after it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::host::Host;

const CGROUPS: &str = "/sys/fs/cgroup";

#[derive(Debug, Clone, Default)]
pub struct Traces(BTreeSet<String>);

impl Traces {
    /// Everything that is here.
    pub fn take(host: &Host) -> Result<Self> {
        let mut traces = Self::of_containers(host)?;
        for line in host.command("ip", &["-oneline", "link"])?.lines() {
            let name = line.split(':').nth(1).unwrap_or_default().trim();
            // The far end of a veth pair is shown behind an @; it differs from one look to the next.
            let name = name.split('@').next().unwrap_or_default();
            traces.0.insert(format!("link {name}"));
        }
        for line in host.command("nft", &["list", "tables"])?.lines() {
            traces.0.insert(format!("nftables {line}"));
            elements(host, line, &mut traces.0)?;
        }
        processes(&mut traces.0)?;
        Ok(traces)
    }

    /// What only containers make: gone with the last of them while the daemons run.
    pub fn of_containers(host: &Host) -> Result<Self> {
        let mut traces = BTreeSet::new();
        for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
            let place = line.split(' ').nth(4).unwrap_or_default();
            traces.insert(format!("mount {place}"));
        }
        for folder in host.container_folders() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                // What the runtime keeps for all containers; an id has no colon.
                if entry.file_name().as_encoded_bytes().starts_with(b":") {
                    continue;
                }
                traces.insert(format!("file {}", entry.path().display()));
            }
        }
        for group in host.container_groups() {
            traces.insert(format!("control group {}", group.display()));
        }
        descriptors(host, &mut traces);
        Ok(Self(traces))
    }

    /// What is here and was not there.
    pub fn beyond(&self, before: &Self) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }

    /// What is in both of them counts as having been there.
    pub fn add(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    pub fn no_process(&self) -> bool {
        !self.0.iter().any(|trace| trace.starts_with("process "))
    }

    /// Drops the processes: they are told apart by id, and a daemon's next life has another.
    pub fn without_processes(mut self) -> Self {
        self.0.retain(|trace| !trace.starts_with("process "));
        self
    }
}

/// The folders of a hierarchy's groups below one that a test's daemon made, the deepest first.
pub fn groups_below(parent: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for hierarchy in fs::read_dir(CGROUPS).into_iter().flatten().flatten() {
        collect_groups(&hierarchy.path().join(parent), &mut found);
    }
    found
}

fn collect_groups(group: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_groups(&entry.path(), found);
            found.push(entry.path());
        }
    }
}

/// What a table's sets and maps hold.
fn elements(host: &Host, table: &str, traces: &mut BTreeSet<String>) -> Result<()> {
    let words: Vec<&str> = table.split(' ').collect();
    let listed = host.command("nft", &[&["-j", "list"], words.as_slice()].concat())?;
    let listed: serde_json::Value = serde_json::from_str(&listed)?;
    for object in listed["nftables"].as_array().into_iter().flatten() {
        let set = if object["set"].is_null() { &object["map"] } else { &object["set"] };
        for element in set["elem"].as_array().into_iter().flatten() {
            traces.insert(format!("nftables {table} {} {element}", set["name"]));
        }
    }
    Ok(())
}

/// What the daemons hold open of containers: files and folders of theirs, deleted ones too, and namespaces.
fn descriptors(host: &Host, traces: &mut BTreeSet<String>) {
    const DAEMONS: [&str; 3] = ["dockerd", "docker-containerd", "docker-netd"];
    let own = host.path("").display().to_string();
    let own_network = fs::read_link("/proc/self/ns/net").unwrap_or_default();
    let folders: Vec<String> = host.container_folders().iter().map(|folder| format!("{}/", folder.display())).collect();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let line = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        let program = line.split('\0').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        if !DAEMONS.contains(&program) || !line.contains(&own) {
            continue;
        }
        for fd in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            let Ok(target) = fs::read_link(fd.path()) else { continue };
            if target == own_network {
                continue;
            }
            let target = target.to_string_lossy();
            if folders.iter().any(|folder| target.starts_with(folder)) || target.starts_with("net:[") {
                traces.insert(format!("descriptor of {program}: {target}"));
            }
        }
    }
}

/// Every process of this test's own process namespace but its first and the test itself; what was only not yet reaped is none.
fn processes(traces: &mut BTreeSet<String>) -> Result<()> {
    let own = std::process::id();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default().replace('\0', " ");
        if pid != 1 && pid != own && !command.is_empty() {
            traces.insert(format!("process {pid} {command}"));
        }
    }
    Ok(())
}
