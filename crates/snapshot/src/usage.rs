//! What a tree takes on the disk.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::disk;
use crate::{Error, Usage};

/// stat(2): `st_blocks` counts units of this size whatever the file system's own is.
const BLOCK_BYTES: u64 = 512;

/// Counts a folder and all below it. Entries that vanish meanwhile are not counted: a container may be writing.
pub(crate) fn count(root: &Path) -> Result<Usage, Error> {
    let mut usage = Usage::default();
    let mut several_names = HashSet::new();
    let mut folders = vec![root.to_owned()];
    let top = fs::symlink_metadata(root).map_err(disk("examine", root))?;
    add(&mut usage, &top);
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(disk("list", &folder)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(disk("list", &folder))?;
            let Ok(found) = entry.metadata() else { continue };
            if found.is_dir() {
                folders.push(entry.path());
            } else if found.nlink() > 1 && !several_names.insert((found.dev(), found.ino())) {
                continue;
            }
            add(&mut usage, &found);
        }
    }
    Ok(usage)
}

fn add(usage: &mut Usage, found: &fs::Metadata) {
    usage.bytes += found.blocks() * BLOCK_BYTES;
    usage.inodes += 1;
}
