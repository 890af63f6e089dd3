//! The processes of a group, and signals to all of them.

use crate::freeze::Frozen;
use crate::limits::{write_checked, write_file};
use crate::{CgroupError, Group};
use std::fs;
use std::path::Path;
use sys::process;

/// How deep cgroups below a container's are followed.
const MAX_DEPTH: usize = 64;

impl Group {
    /// All processes, those of groups below included.
    pub fn pids(&self) -> Result<Vec<i32>, CgroupError> {
        let mut found = Vec::new();
        if let Some(path) = self.any_path().filter(|path| path.exists()) {
            collect(path, &mut found, MAX_DEPTH)?;
        }
        Ok(found)
    }

    /// Moves a process into the group, whose folders are there.
    pub fn add(&self, pid: i32) -> Result<(), CgroupError> {
        for path in self.paths() {
            write_checked(path.join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
    }

    /// Sends a signal to all. They are frozen meanwhile, so that none is born unseen.
    pub fn signal_all(&self, signal: i32) -> Result<(), CgroupError> {
        if signal == libc::SIGKILL
            && let Some(path) = self.v2.as_ref().filter(|_| self.is_v2())
            && write_file(&path.join("cgroup.kill"), "1").is_ok()
        {
            return Ok(());
        }
        let was_frozen = self.frozen();
        let freezes = self.set_frozen(Frozen::Yes).is_ok();
        let pids = self.pids();
        for pid in pids.iter().flatten() {
            // Who has ended meanwhile needs no signal.
            let _ = process::kill(*pid, signal);
        }
        // A frozen process dies only when it is thawed (v1).
        if freezes && (was_frozen == Frozen::No || signal == libc::SIGKILL) {
            self.set_frozen(Frozen::No)?;
        }
        pids.map(|_| ())
    }
}

fn collect(path: &Path, found: &mut Vec<i32>, depth: usize) -> Result<(), CgroupError> {
    let file = path.join("cgroup.procs");
    match fs::read_to_string(&file) {
        Ok(text) => found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        // A threaded cgroup of v2 has no such list.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(()),
        Err(source) => return Err(CgroupError::Read { path: file, source }),
    }
    let Some(depth) = depth.checked_sub(1) else { return Ok(()) };
    for entry in fs::read_dir(path).map_err(CgroupError::read(path))?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), found, depth)?;
        }
    }
    Ok(())
}
