//! Extended attributes: which ones a layer may carry, and how they are set and read without following links.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{XattrFlags, getxattr, lgetxattr, listxattr, llistxattr, lsetxattr, setxattr};
use rustix::io::Errno;

use crate::root::through;

/// Marks an upper directory that hides what lies below (overlayfs.rst, "whiteouts and opaque directories").
pub(crate) const OPAQUE: &[u8] = b"trusted.overlay.opaque";
const CAPABILITY: &[u8] = b"security.capability";
/// xattr(7): a value has at most 64 KiB, and so has the list of names.
const MAX_BYTES: usize = 64 << 10;

/// Whether an attribute belongs to a file and not to the host that packed it. overlayfs's own would let an archive
/// redirect a directory to places of its choice; labels of SELinux are set when a container starts.
pub(crate) fn belongs_to_layers(name: &[u8]) -> bool {
    if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
        return false;
    }
    name == CAPABILITY || name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_")
}

/// Sets what a layer may carry. A file system that has no such attributes is no reason to refuse an image, unless
/// the file would lose its capabilities.
pub(crate) fn set(directory: BorrowedFd, name: &[u8], xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Errno> {
    if xattrs.is_empty() {
        return Ok(());
    }
    let path = through(directory, name);
    for (key, value) in xattrs.iter().filter(|(key, _)| belongs_to_layers(key)) {
        match lsetxattr(&path, OsStr::from_bytes(key), value, XattrFlags::empty()) {
            Err(Errno::NOTSUP | Errno::PERM) if key != CAPABILITY => {}
            answer => answer?,
        }
    }
    Ok(())
}

/// The same for an open file, by `/proc/self/fd/N`.
pub(crate) fn set_followed(path: &Path, xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Errno> {
    for (key, value) in xattrs.iter().filter(|(key, _)| belongs_to_layers(key)) {
        match setxattr(path, OsStr::from_bytes(key), value, XattrFlags::empty()) {
            Err(Errno::NOTSUP | Errno::PERM) if key != CAPABILITY => {}
            answer => answer?,
        }
    }
    Ok(())
}

pub(crate) fn set_opaque(directory: BorrowedFd, name: &[u8]) -> Result<(), Errno> {
    lsetxattr(through(directory, name), OsStr::from_bytes(OPAQUE), b"y", XattrFlags::empty())
}

pub(crate) fn is_opaque(path: &Path) -> Result<bool, Errno> {
    Ok(value(path, OPAQUE)?.is_some_and(|value| value == b"y"))
}

/// What of a file belongs into a layer, sorted by name.
pub(crate) fn read(path: &Path) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Errno> {
    let mut small = [0_u8; 512];
    let mut large = Vec::new();
    let names = match llistxattr(path, &mut small[..]) {
        // None is the rule: one call and no allocation.
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Ok(length) => &small[..length],
        Err(Errno::RANGE) => {
            large.resize(MAX_BYTES, 0);
            let length = llistxattr(path, &mut large[..])?;
            &large[..length]
        }
        Err(errno) => return Err(errno),
    };
    let mut found = Vec::new();
    for name in names.split(|b| *b == 0).filter(|name| belongs_to_layers(name)) {
        if let Some(value) = value(path, name)? {
            found.push((name.to_vec(), value));
        }
    }
    found.sort();
    Ok(found)
}

/// The same of what a path leads to: `/proc/self/fd/N` is a link to the open file.
pub(crate) fn read_followed(path: &Path) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Errno> {
    let mut names = vec![0_u8; 512];
    let length = match listxattr(path, &mut names[..]) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(Errno::RANGE) => {
            names.resize(MAX_BYTES, 0);
            listxattr(path, &mut names[..])?
        }
        answer => answer?,
    };
    let mut found = Vec::new();
    for name in names[..length].split(|b| *b == 0).filter(|name| belongs_to_layers(name)) {
        let mut value = vec![0_u8; MAX_BYTES];
        match getxattr(path, OsStr::from_bytes(name), &mut value[..]) {
            Ok(length) => {
                value.truncate(length);
                found.push((name.to_vec(), value));
            }
            Err(Errno::NODATA | Errno::NOTSUP) => {}
            Err(errno) => return Err(errno),
        }
    }
    found.sort();
    Ok(found)
}

fn value(path: &Path, name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let mut small = [0_u8; 256];
    match lgetxattr(path, OsStr::from_bytes(name), &mut small[..]) {
        Ok(length) => return Ok(Some(small[..length].to_vec())),
        Err(Errno::NODATA | Errno::NOTSUP) => return Ok(None),
        Err(Errno::RANGE) => {}
        Err(errno) => return Err(errno),
    }
    let mut large = vec![0_u8; MAX_BYTES];
    let length = lgetxattr(path, OsStr::from_bytes(name), &mut large[..])?;
    large.truncate(length);
    Ok(Some(large))
}
