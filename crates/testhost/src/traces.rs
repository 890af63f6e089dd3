//! What a test could leave behind, listed before and after it.

use std::collections::BTreeSet;
use std::fs;

use anyhow::Result;

use crate::host::Host;

const CGROUPS: &str = "/sys/fs/cgroup";
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
        control_groups(host, &mut traces)?;
        descendants(std::process::id(), &mut traces)?;
        Ok(Self(traces))
    }

    /// What is here and was not there.
    pub fn beyond(&self, before: &Self) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }
}

/// Groups of this test's daemons in every hierarchy. Other tests run at the same time and have theirs.
fn control_groups(host: &Host, traces: &mut BTreeSet<String>) -> Result<()> {
    for hierarchy in fs::read_dir(CGROUPS)?.flatten() {
        for group in host.parent_groups() {
            let path = hierarchy.path().join(group);
            if path.is_dir() {
                traces.insert(format!("control group {}", path.display()));
            }
        }
    }
    Ok(())
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
