//! What other people's programs need for themselves in a test host: folders with fixed names, and control groups.
//!
//! Debian's containerd, dockerd and podman keep sockets, FIFOs and locks below `/run` whatever roots they are given. In a
//! test host each of those folders is an empty one of the test's own.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

use crate::host::{Host, end_process, remove_parent_group};

#[derive(Default)]
pub(crate) struct Apart {
    folders: RefCell<Vec<PathBuf>>,
    groups: RefCell<Vec<String>>,
}

impl Host {
    /// Covers a folder of the machine with an empty one until the test has ended.
    pub fn cover(&self, folder: &str) -> Result<()> {
        let mut covered = self.apart.folders.borrow_mut();
        if covered.iter().any(|known| known == Path::new(folder)) {
            return Ok(());
        }
        fs::create_dir_all(folder).with_context(|| folder.to_owned())?;
        mount("test", folder, "tmpfs", MountFlags::empty(), None).with_context(|| format!("covering {folder}"))?;
        covered.push(folder.into());
        self.expect_traces()
    }

    /// Covers a file of the machine with one that holds these bytes until the test has ended.
    pub fn cover_file(&self, file: &str, contents: &[u8]) -> Result<()> {
        let own = self.path(&format!("covers-{}", file.replace('/', "-")));
        fs::write(&own, contents)?;
        mount_bind(&own, file).with_context(|| format!("covering {file}"))?;
        self.apart.folders.borrow_mut().push(file.into());
        self.expect_traces()
    }

    /// The name of a control group that this test alone uses as the parent of its containers' groups. Empty ones of that
    /// name are removed with the test; one that still holds a group fails it.
    pub fn control_group(&self) -> String {
        let folder = self.path("");
        let name = folder.components().next_back().map(|name| name.as_os_str().to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let mut groups = self.apart.groups.borrow_mut();
        if !groups.contains(&name) {
            groups.push(name.clone());
        }
        name
    }

    /// Ends one program before the test ends, and waits until it is gone.
    pub fn end_early(&self, pid: u32) -> Result<()> {
        end_process(pid)
    }

    /// Takes down what programs of others leave mounted in their folders when they end.
    pub fn unmount_below(&self, folder: &Path) -> Result<()> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        let mut below: Vec<&Path> = places.map(Path::new).filter(|place| place.starts_with(folder)).collect();
        below.sort();
        for place in below.into_iter().rev() {
            unmount(place, UnmountFlags::DETACH).with_context(|| place.display().to_string())?;
        }
        Ok(())
    }
}

impl Apart {
    pub(crate) fn groups(&self) -> Vec<String> {
        self.groups.borrow().clone()
    }

    /// When every program has ended.
    pub(crate) fn end(&self) -> Result<()> {
        for folder in self.folders.borrow_mut().drain(..).rev() {
            unmount(&folder, UnmountFlags::DETACH).with_context(|| folder.display().to_string())?;
        }
        self.groups.borrow().iter().try_for_each(|group| remove_parent_group(group))
    }
}
