//! Users of a container as users of the host (user_namespaces(7)): their maps, namespaces that belong to them, and acting as
//! one of them.
//!
//! Allocates and clones: nothing here is for the code between clone and exec.

use crate::process::{self, CLONE_NEWNET, CLONE_NEWUSER, Clone};
use crate::{Errno, capability};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// user_namespaces(7): lines of a map since Linux 4.15.
pub const MOST_LINES: usize = 340;

/// A range of ids: the first inside of the namespace, the first outside, how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    pub inside: u32,
    pub outside: u32,
    pub size: u32,
}

/// Both maps of a user namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdMaps {
    pub uids: Vec<IdRange>,
    pub gids: Vec<IdRange>,
}

/// What stands before a map among the options of a mount; no kernel and no other program knows these.
const UIDS: &str = "x-longshore.uids=";
const GIDS: &str = "x-longshore.gids=";

impl IdMaps {
    /// Who root inside is outside.
    pub fn root(&self) -> Option<(u32, u32)> {
        Some((outside(&self.uids, 0)?, outside(&self.gids, 0)?))
    }

    /// As options of a mount whose files are to be seen through the maps ([`crate::layers`]).
    pub fn to_options(&self) -> [String; 2] {
        [(UIDS, &self.uids), (GIDS, &self.gids)].map(|(key, ranges)| {
            let texts = ranges.iter().map(|range| format!("{}:{}:{}", range.inside, range.outside, range.size));
            format!("{key}{}", texts.collect::<Vec<_>>().join(","))
        })
    }

    /// The maps among the options of a mount, and the options without them.
    pub fn take_from(options: &[String]) -> io::Result<Option<(Self, Vec<String>)>> {
        let find = |key: &str| options.iter().find_map(|option| option.strip_prefix(key)).map(parse).transpose();
        let (Some(uids), Some(gids)) = (find(UIDS)?, find(GIDS)?) else { return Ok(None) };
        let rest = options.iter().filter(|option| !option.starts_with(UIDS) && !option.starts_with(GIDS));
        Ok(Some((Self { uids, gids }, rest.cloned().collect())))
    }
}

fn parse(text: &str) -> io::Result<Vec<IdRange>> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, format!("no map of ids: {text:?}"));
    let ranges = text.split(',').take(MOST_LINES + 1).map(|range| {
        let mut numbers = range.splitn(3, ':').map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten().ok_or_else(wrong);
        Ok(IdRange { inside: next()?, outside: next()?, size: next()? })
    });
    let ranges: Vec<IdRange> = ranges.collect::<io::Result<_>>()?;
    if ranges.len() > MOST_LINES { Err(wrong()) } else { Ok(ranges) }
}

/// The id outside of one inside; `None` where it has none.
pub fn outside(ranges: &[IdRange], id: u32) -> Option<u32> {
    let found = ranges.iter().find(|range| id >= range.inside && id - range.inside < range.size)?;
    found.outside.checked_add(id - found.inside)
}

/// The id inside of one outside; `None` where it has none.
pub fn inside(ranges: &[IdRange], id: u32) -> Option<u32> {
    let found = ranges.iter().find(|range| id >= range.outside && id - range.outside < range.size)?;
    found.inside.checked_add(id - found.outside)
}

/// A new user namespace with these maps. It lasts as long as the descriptor, or what it is mounted on.
pub fn user_namespace(maps: &IdMaps) -> io::Result<OwnedFd> {
    let holder = Holder::new(CLONE_NEWUSER, || Ok(()))?;
    for (name, ranges) in [("uid_map", &maps.uids), ("gid_map", &maps.gids)] {
        let mut text = String::new();
        for range in ranges {
            let _ = writeln!(text, "{} {} {}", range.inside, range.outside, range.size);
        }
        // At once: a map is written by one write(2).
        fs::write(format!("/proc/{}/{name}", holder.pid), text)?;
    }
    holder.namespace("user")
}

/// A new network namespace that belongs to a user namespace.
pub fn network_namespace(users: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let users = users.as_raw_fd();
    let join = || {
        process::setns(users, CLONE_NEWUSER)?;
        process::unshare(CLONE_NEWNET)
    };
    Holder::new(0, join)?.namespace("net")
}

/// A process that does nothing but be in its namespaces.
struct Holder {
    pid: i32,
}

impl Holder {
    /// `enter` runs in the new process, a copy of this one with one thread: system calls alone.
    fn new(namespaces: i32, enter: impl FnOnce() -> crate::Result<()>) -> io::Result<Self> {
        let (told, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let pid = match process::clone_process(namespaces, None)? {
            Clone::Parent { child } => child,
            Clone::Child => {
                // Until it is killed, or the thread that made it is gone.
                let _ = process::set_parent_death_signal(libc::SIGKILL);
                let errno = enter().err().map_or(0, |errno| errno.0);
                let _ = rustix::io::write(&tell, &errno.to_ne_bytes());
                let _ = process::poll(&mut [], -1);
                process::exit_now(0)
            }
        };
        let holder = Self { pid };
        drop(tell);
        let mut errno = [0; 4];
        match rustix::io::read(&told, &mut errno)? {
            4 if errno == [0; 4] => Ok(holder),
            4 => Err(Errno(i32::from_ne_bytes(errno)).into()),
            _ => Err(io::Error::other("a process for a namespace ended early")),
        }
    }

    fn namespace(&self, kind: &str) -> io::Result<OwnedFd> {
        Ok(File::open(format!("/proc/{}/ns/{kind}", self.pid))?.into())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = process::kill(self.pid, libc::SIGKILL);
        let _ = process::wait(self.pid, false);
    }
}

/// This thread makes files as somebody else, with all of its rights, until this is dropped (setfsuid(2), capabilities(7)).
///
/// Who makes a file in a mount through a map must be in the map: root of the host is not.
#[derive(Debug)]
pub struct Acting {
    held: capability::Sets,
}

impl Acting {
    pub fn start(uid: u32, gid: u32) -> io::Result<Self> {
        let acting = Self { held: capability::get()? };
        // The group first: without the user's rights it cannot be changed.
        set_file_ids(uid, gid);
        // Leaving root takes the rights over files away; they are still permitted.
        capability::set(acting.held)?;
        Ok(acting)
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        set_file_ids(process::uid(), process::gid());
        let _ = capability::set(self.held);
    }
}

/// Of this thread alone: by system call, since the C library's wrappers do no more.
fn set_file_ids(uid: u32, gid: u32) {
    // SAFETY: no memory is passed; both answer the former id and never fail for who may.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, gid);
        libc::syscall(libc::SYS_setfsuid, uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    fn maps() -> IdMaps {
        let ranges = vec![
            IdRange { inside: 0, outside: 100_000, size: 1000 },
            IdRange { inside: 1000, outside: 300_000, size: 5 },
        ];
        IdMaps { uids: ranges.clone(), gids: ranges }
    }

    #[test]
    fn maps_travel_among_options_and_lead_both_ways() {
        let mut options = vec!["lowerdir=/a".to_owned()];
        options.extend(maps().to_options());
        let (found, rest) = IdMaps::take_from(&options).expect("they parse").expect("they are there");
        assert_eq!((found, rest), (maps(), vec!["lowerdir=/a".to_owned()]));
        assert_eq!(IdMaps::take_from(&["ro".to_owned()]).expect("nothing to parse"), None);
        assert!(IdMaps::take_from(&["x-longshore.uids=1:2".to_owned(), "x-longshore.gids=".to_owned()]).is_err());
        let uids = maps().uids;
        assert_eq!((outside(&uids, 1004), outside(&uids, 1005)), (Some(300_004), None));
        assert_eq!((inside(&uids, 100_999), inside(&uids, 101_000), inside(&uids, 0)), (Some(999), None, None));
        assert_eq!(maps().root(), Some((100_000, 100_000)));
    }

    #[test]
    fn namespaces_are_made_from_a_process_with_many_threads() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let users = user_namespace(&maps()).expect("user namespace");
        let network = network_namespace(users.as_fd()).expect("network namespace");
        let owner = rustix::fs::fstat(&users).expect("stat").st_ino;
        // ioctl_ns(2), NS_GET_USERNS.
        // SAFETY: the request takes no memory and answers a descriptor.
        let found = unsafe { libc::ioctl(network.as_raw_fd(), 0xb701) };
        let found = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(found) };
        assert_eq!(rustix::fs::fstat(&found).expect("stat").st_ino, owner);
    }

    #[test]
    fn who_acts_as_another_owns_what_it_makes_and_keeps_its_rights() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().expect("tempdir");
        let acting = Acting::start(7, 8).expect("acting");
        fs::write(folder.path().join("theirs"), "").expect("a folder of root's");
        drop(acting);
        fs::write(folder.path().join("ours"), "").expect("write");
        let owner = |name: &str| fs::metadata(folder.path().join(name)).map(|found| (found.uid(), found.gid()));
        assert_eq!((owner("theirs").expect("stat"), owner("ours").expect("stat")), ((7, 8), (0, 0)));
    }
}
