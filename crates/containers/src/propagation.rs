//! Whether a folder's mount hands events on as a bind asks for (mount_namespaces(7), Documentation/filesystems/sharedsubtree).

use std::fs;
use std::path::Path;

use container_core::{MountKind, MountPoint};

use crate::error::Error;
use crate::messages;

/// An error where a bind wants to share what its source's mount does not share.
pub(crate) fn check(mount: &MountPoint) -> Result<(), Error> {
    if mount.kind != MountKind::Bind {
        return Ok(());
    }
    let table = || fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let source = fs::canonicalize(&mount.source).unwrap_or_else(|_| Path::new(&mount.source).to_owned());
    match mount.propagation.as_str() {
        "shared" | "rshared" => match holder(&table(), &source) {
            Some((_, true, _)) => Ok(()),
            found => Err(messages::not_shared(&mount.source, place(&found), "a shared mount")),
        },
        "slave" | "rslave" => match holder(&table(), &source) {
            Some((_, true, _) | (_, _, true)) => Ok(()),
            found => Err(messages::not_shared(&mount.source, place(&found), "a shared or slave mount")),
        },
        _ => Ok(()),
    }
}

fn place(found: &Option<(String, bool, bool)>) -> &str {
    found.as_ref().map_or("/", |(place, _, _)| place)
}

/// The mount that a path is on: its place, whether it is shared, whether it is a slave.
fn holder(table: &str, path: &Path) -> Option<(String, bool, bool)> {
    let mounts = table.lines().filter_map(|line| {
        let (left, _) = line.split_once(" - ")?;
        let mut fields = left.split(' ').skip(4);
        let place = unescape(fields.next()?);
        let options: Vec<&str> = fields.skip(1).collect();
        let has = |prefix: &str| options.iter().any(|option| option.starts_with(prefix));
        Some((place, has("shared:"), has("master:")))
    });
    // Of two at one place the later covers the earlier.
    mounts.filter(|(place, _, _)| path.starts_with(place)).max_by_key(|(place, _, _)| place.len())
}

/// Blanks and backslashes are written in octal (proc_pid_mountinfo(5)).
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "1 0 8:1 / / rw,relatime - ext4 /dev/sda rw\n\
                         2 1 0:5 / /mnt rw shared:1 - tmpfs tmpfs rw\n\
                         3 1 0:6 / /mnt/a\\040b rw master:1 - tmpfs tmpfs rw\n";

    #[test]
    fn the_deepest_mount_above_a_path_counts() {
        let at = |path: &str| holder(TABLE, Path::new(path)).unwrap();
        assert_eq!(at("/etc"), ("/".to_owned(), false, false));
        assert_eq!(at("/mnt/x"), ("/mnt".to_owned(), true, false));
        assert_eq!(at("/mnt/a b/c"), ("/mnt/a b".to_owned(), false, true));
        assert_eq!(at("/mntx").0, "/");
    }
}
