//! The files of one log: `x` is being written, `x.1` is the newest of the rotated ones, `x.1.gz` the same compressed.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

pub(crate) fn rotated(path: &Path, number: u32) -> PathBuf {
    with(path, &format!(".{number}"))
}

pub(crate) fn compressed(path: &Path, number: u32) -> PathBuf {
    with(path, &format!(".{number}.gz"))
}

/// What the compressor writes before it has a name; one that a crash left is overwritten by the next.
pub(crate) fn being_compressed(path: &Path) -> PathBuf {
    with(path, ".gz.part")
}

/// Gives every file the next number; the oldest goes. Each step is one rename, so that a kill in between leaves files in
/// order with at most one number missing.
pub(crate) fn shift(path: &Path, max_file: u32) -> io::Result<()> {
    let oldest = max_file.saturating_sub(1);
    if oldest == 0 {
        return ignore_missing(fs::remove_file(path));
    }
    ignore_missing(fs::remove_file(rotated(path, oldest)))?;
    ignore_missing(fs::remove_file(compressed(path, oldest)))?;
    for number in (1..oldest).rev() {
        ignore_missing(fs::rename(rotated(path, number), rotated(path, number + 1)))?;
        ignore_missing(fs::rename(compressed(path, number), compressed(path, number + 1)))?;
    }
    ignore_missing(fs::rename(path, rotated(path, 1)))
}

pub(crate) fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn with(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    PathBuf::from(name)
}
