//! The real-time share of the groups above containers (`--cpu-rt-period`, `--cpu-rt-runtime` of the daemon).
//!
//! In cgroup v1 a group has no real-time share that the one above has not (kernel documentation, sched-rt-group); cgroup v2 has
//! none at all. The shares are written whenever a container starts, since its parent may be new.

use std::fs;
use std::io;
use std::path::Path;

use container_core::spec;

use crate::error::Error;
use crate::record::Record;
use crate::service::Shared;
use crate::settings::CpuRealtime;

const HIERARCHY: &str = "/sys/fs/cgroup/cpu";

/// Gives the daemon's share to every group above the container's, outermost first.
pub(crate) fn provide(shared: &Shared, record: &Record) -> Result<(), Error> {
    let share = shared.settings.defaults.cpu_realtime;
    if share == CpuRealtime::default() {
        return Ok(());
    }
    let group = spec::cgroup_of(&record.id, &record.host_config, &shared.host);
    let parent = Path::new(&group).parent().unwrap_or(Path::new("/"));
    write_all(Path::new(HIERARCHY), parent, share)
        .map_err(|source| Error::file("set the real-time share of", parent, source))
}

fn write_all(hierarchy: &Path, parent: &Path, share: CpuRealtime) -> io::Result<()> {
    let mut folder = hierarchy.to_owned();
    for part in parent.components().filter(|part| matches!(part, std::path::Component::Normal(_))) {
        folder.push(part);
        fs::create_dir_all(&folder)?;
        for (file, value) in [("cpu.rt_period_us", share.period_us), ("cpu.rt_runtime_us", share.runtime_us)] {
            if value != 0 {
                fs::write(folder.join(file), value.to_string())?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_on_the_way_gets_the_share() {
        let hierarchy = tempfile::tempdir().unwrap();
        let share = CpuRealtime { period_us: 0, runtime_us: 95_000 };
        write_all(hierarchy.path(), Path::new("/a/b"), share).unwrap();
        for group in ["a", "a/b"] {
            let folder = hierarchy.path().join(group);
            assert_eq!(fs::read_to_string(folder.join("cpu.rt_runtime_us")).unwrap(), "95000");
            assert!(!folder.join("cpu.rt_period_us").exists(), "zero leaves the kernel's");
        }
        assert!(!hierarchy.path().join("cpu.rt_runtime_us").exists());
    }
}
