//! Mounts of local volumes: made, looked for, taken away (mount(2), statx(2)).

use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::VolumeError;
use crate::options::{LocalOptions, MountOptions};

/// Mounts of one place on top of each other; more were made by nobody here.
const MOST_LAYERS: usize = 64;

/// Mounts what the options name at a folder. Whatever fails leaves the folder as it was.
pub(crate) fn mount(options: &LocalOptions, shown: &LocalOptions, target: &Path) -> Result<(), VolumeError> {
    if options.mount_device.is_empty() {
        return Err(VolumeError::NoDevice);
    }
    let parsed = MountOptions::parse(&options.mount_opts);
    let shown_data = MountOptions::parse(&shown.mount_opts).data;
    let failed = |what: &str, source: &str, flags: MountFlags, data: &str, error: Errno| VolumeError::Mount {
        call: call(what, source, target, flags, &hidden(data, shown)),
        errno: error.into(),
    };
    let device = &options.mount_device;
    let data = CString::new(parsed.data.as_str())
        .map_err(|error| VolumeError::Mount { call: "mount".to_owned(), errno: io::Error::other(error) })?;
    let data = (!parsed.data.is_empty()).then_some(data.as_c_str());
    rustix::mount::mount(device.as_str(), target, options.mount_type.as_str(), parsed.flags, data)
        .map_err(|error| failed("mount", device, parsed.flags, &shown_data, error))?;
    let finished = finish(&parsed, target).map_err(|(what, flags, error)| failed(what, "", flags, "", error));
    if finished.is_err() {
        // Behind the error that counts; it is found again at the next mount.
        let _ = unmount(target);
    }
    finished
}

/// What one call cannot do: propagation, and bind mounts that are read-only.
fn finish(parsed: &MountOptions, target: &Path) -> Result<(), (&'static str, MountFlags, Errno)> {
    if let Some(propagation) = parsed.propagation {
        rustix::mount::mount_change(target, propagation)
            .map_err(|error| ("remount", MountFlags::from_bits_retain(propagation.bits()), error))?;
    }
    if parsed.flags.contains(MountFlags::BIND | MountFlags::RDONLY) {
        rustix::mount::mount_remount(target, parsed.flags, c"").map_err(|error| ("remount-ro", parsed.flags, error))?;
    }
    Ok(())
}

/// As Docker writes a call that failed.
fn call(what: &str, source: &str, target: &Path, flags: MountFlags, data: &str) -> String {
    let mut text = format!("{what} ");
    if !source.is_empty() {
        text.push_str(source);
        text.push(':');
    }
    text.push_str(&target.to_string_lossy());
    if !flags.is_empty() {
        text.push_str(&format!(", flags: {:#x}", flags.bits()));
    }
    if !data.is_empty() {
        text.push_str(&format!(", data: {data}"));
    }
    text
}

fn hidden(data: &str, options: &LocalOptions) -> String {
    match options.password() {
        Some(password) => data.replacen(&format!("password={password}"), "password=********", 1),
        None => data.to_owned(),
    }
}

/// Whether something is mounted at this very folder; a file system that does not answer is not asked.
pub(crate) fn is_mounted(folder: &Path) -> Result<bool, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    match rustix::fs::statx(CWD, folder, flags, StatxFlags::empty()) {
        Ok(found) => Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes all mounts at this folder away; who is inside keeps what it sees until it leaves (umount2(2), MNT_DETACH).
pub(crate) fn unmount(folder: &Path) -> Result<(), Errno> {
    for _ in 0..MOST_LAYERS {
        match rustix::mount::unmount(folder, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            // No mount (any more).
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Err(Errno::BUSY)
}

/// A mount somewhere below a folder (proc_pid_mountinfo(5)).
pub(crate) fn mount_below(folder: &Path) -> io::Result<Option<PathBuf>> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    let table = String::from_utf8_lossy(&table);
    let places = table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    Ok(places.map(PathBuf::from).find(|place| place.starts_with(folder) && place != folder))
}

/// Blanks and backslashes are written in octal.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_failed_is_written_as_docker_writes_it_without_its_password() {
        let options = LocalOptions { mount_opts: "username=u,password=p".to_owned(), ..LocalOptions::default() };
        let data = hidden("username=u,password=p", &options);
        assert_eq!(
            call("mount", "//box/s", Path::new("/v/_data"), MountFlags::BIND, &data),
            "mount //box/s:/v/_data, flags: 0x1000, data: username=u,password=********"
        );
        assert_eq!(call("remount-ro", "", Path::new("/v"), MountFlags::empty(), ""), "remount-ro /v");
    }

    #[test]
    fn a_place_that_is_none_is_not_mounted() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_mounted(folder.path()).unwrap() && !is_mounted(&folder.path().join("x")).unwrap());
        assert!(is_mounted(Path::new("/proc")).unwrap());
        assert_eq!(mount_below(folder.path()).unwrap(), None);
        assert!(mount_below(Path::new("/")).unwrap().is_some());
    }
}
