//! What a test could leave behind, listed before and after it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::host::Host;

const CGROUPS: &str = "/sys/fs/cgroup";
/// What the groups of a daemon on roots of its own begin with.
const OWN_PREFIX: &str = "docker-";

pub struct Traces(BTreeSet<String>);

impl Traces {
    pub fn take(host: &Host) -> Result<Self> {
        let mut traces = BTreeSet::new();
        for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
            let place = line.split(' ').nth(4).unwrap_or_default();
            traces.insert(format!("mount {place}"));
        }
        for line in host.command("ip", &["-oneline", "link"])?.lines() {
            let name = line.split(':').nth(1).unwrap_or_default().trim();
            traces.insert(format!("link {name}"));
        }
        for line in host.command("nft", &["list", "tables"])?.lines() {
            traces.insert(format!("nftables {line}"));
        }
        control_groups(&mut traces)?;
        descendants(std::process::id(), &mut traces)?;
        Ok(Self(traces))
    }

    /// What is here and was not there.
    pub fn beyond(&self, before: &Self) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }
}

/// Groups of daemons on roots of their own, in every hierarchy that is mounted.
fn control_groups(traces: &mut BTreeSet<String>) -> Result<()> {
    for hierarchy in folders(Path::new(CGROUPS))? {
        for group in folders(&hierarchy)? {
            if group.file_name().is_some_and(|name| name.to_string_lossy().starts_with(OWN_PREFIX)) {
                traces.insert(format!("control group {}", group.display()));
            }
        }
    }
    Ok(())
}

fn folders(path: &Path) -> Result<Vec<std::path::PathBuf>> {
    let Ok(entries) = fs::read_dir(path) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Everything below this process: orphans are reparented to it.
fn descendants(pid: u32, traces: &mut BTreeSet<String>) -> Result<()> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in listed.split_whitespace() {
        let command = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default().replace('\0', " ");
        let own = command.starts_with("nft ") || command.starts_with("ip ");
        if !own && !command.is_empty() {
            traces.insert(format!("process {child} {command}"));
        }
        descendants(child.parse()?, traces)?;
    }
    Ok(())
}
