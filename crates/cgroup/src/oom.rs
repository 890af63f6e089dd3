//! Being told when the kernel kills for want of memory (cgroup-v1/memory.rst, OOM control; cgroup-v2.rst, memory.events).

use crate::limits::write_file;
use crate::{CgroupError, Group};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A descriptor that becomes readable when the killer comes, or when the group goes.
#[derive(Debug)]
pub struct OomWatch {
    fd: OwnedFd,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// v1's eventfd is told before the process is dead; whether the group is still there tells its end apart.
    V1 { control: PathBuf },
    /// v2's file counts.
    V2 { events: PathBuf, kills: u64 },
}

impl OomWatch {
    /// `None` where nothing counts the group's memory.
    pub fn new(group: &Group) -> Result<Option<Self>, CgroupError> {
        match (group.member("memory"), &group.v2) {
            (Some(folder), _) => watch_v1(folder).map(Some),
            (None, Some(folder)) if folder.join("memory.events").exists() => watch_v2(folder).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether the killer came since this was asked last.
    pub fn take(&mut self) -> bool {
        let mut buffer = [0_u8; 4096];
        let mut told = false;
        while let Ok(1..) = rustix::io::read(&self.fd, &mut buffer) {
            told = true;
        }
        match &mut self.source {
            Source::V1 { control } => told && control.exists(),
            Source::V2 { events, kills } => {
                let before = std::mem::replace(kills, kills_of(events).unwrap_or(*kills));
                *kills > before
            }
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn watch_v1(folder: &Path) -> Result<OomWatch, CgroupError> {
    let control = folder.join("memory.oom_control");
    let opened = File::open(&control).map_err(CgroupError::read(&control))?;
    let failed = |source: io::Error| CgroupError::Write {
        path: folder.join("cgroup.event_control"),
        value: String::new(),
        source,
    };
    let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|errno| failed(errno.into()))?;
    // The kernel keeps what it needs of the second one.
    let value = format!("{} {}", fd.as_raw_fd(), opened.as_raw_fd());
    write_file(&folder.join("cgroup.event_control"), &value).map_err(failed)?;
    Ok(OomWatch { fd, source: Source::V1 { control } })
}

fn watch_v2(folder: &Path) -> Result<OomWatch, CgroupError> {
    let events = folder.join("memory.events");
    let failed = |errno: rustix::io::Errno| CgroupError::Read { path: events.clone(), source: errno.into() };
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).map_err(failed)?;
    inotify::add_watch(&fd, &events, inotify::WatchFlags::MODIFY).map_err(failed)?;
    let kills = kills_of(&events).unwrap_or(0);
    Ok(OomWatch { fd, source: Source::V2 { events, kills } })
}

fn kills_of(events: &Path) -> Option<u64> {
    let text = fs::read_to_string(events).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_of_v2_is_told_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let events = folder.path().join("memory.events");
        let write = |kills: u32| {
            fs::write(&events, format!("max 9\noom 1\noom_kill {kills}\noom_group_kill 0\n")).expect("write")
        };
        write(1);
        let group = Group { v1: Vec::new(), v2: Some(folder.path().into()) };
        let mut watch = OomWatch::new(&group).expect("watch").expect("memory is counted");
        assert!(!watch.take(), "what was before does not count");
        write(1);
        assert!(!watch.take(), "another event");
        write(3);
        let mut ready = [rustix::event::PollFd::new(&watch, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut ready, None), Ok(1));
        assert!(watch.take());
        assert!(!watch.take());
    }

    #[test]
    fn what_counts_no_memory_is_not_watched() {
        let folder = tempfile::tempdir().expect("a folder");
        let group = Group { v1: Vec::new(), v2: Some(folder.path().into()) };
        assert!(OomWatch::new(&group).expect("no error").is_none());
    }
}
