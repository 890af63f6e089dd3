//! Owners in an archive that are others on disk: the users of a user namespace (user_namespaces(7)).
//!
//! In the archive stands who owns a file inside of the namespace, on disk who that is outside.

use std::io;
use std::path::PathBuf;

use sys::users::{self, IdMaps};

use crate::entry::Entry;
use crate::error::ArchiveError;

/// What a file of nobody inside belongs to there (user_namespaces(7), overflow ids).
const NOBODY: u32 = 65534;
const CAPABILITY: &[u8] = b"security.capability";
/// capabilities(7), file capability extended attribute versioning: the version stands in the topmost byte of the first word.
const VERSION: usize = 3;
const LENGTH_2: usize = 20;
const LENGTH_3: usize = 24;

/// The entry as it stands in an archive, from what is on disk.
pub(crate) fn inside(entry: &mut Entry, maps: &IdMaps) {
    entry.uid = users::inside(&maps.uids, entry.uid).unwrap_or(NOBODY);
    entry.gid = users::inside(&maps.gids, entry.gid).unwrap_or(NOBODY);
    // Whose root may have the capabilities means nothing in another place.
    for (name, value) in &mut entry.xattrs {
        if &name[..] == CAPABILITY && value.len() == LENGTH_3 && value[VERSION] == 3 {
            value.truncate(LENGTH_2);
            value[VERSION] = 2;
        }
    }
}

/// The entry as it is to be on disk.
pub(crate) fn outside(entry: &mut Entry, maps: &IdMaps) -> Result<(), ArchiveError> {
    let shown = |entry: &Entry| PathBuf::from(String::from_utf8_lossy(&entry.path).into_owned());
    let unknown = |entry: &Entry, id: u32| ArchiveError::Entry {
        operation: "set the owner of",
        path: shown(entry),
        source: io::Error::new(io::ErrorKind::InvalidInput, format!("Container ID {id} cannot be mapped to a host ID")),
    };
    let uid = users::outside(&maps.uids, entry.uid).ok_or_else(|| unknown(entry, entry.uid))?;
    let gid = users::outside(&maps.gids, entry.gid).ok_or_else(|| unknown(entry, entry.gid))?;
    (entry.uid, entry.gid) = (uid, gid);
    let root = maps.root().map_or(0, |(uid, _)| uid);
    for (name, value) in &mut entry.xattrs {
        if &name[..] == CAPABILITY && value.len() == LENGTH_2 && value[VERSION] == 2 {
            value.extend(root.to_le_bytes());
            value[VERSION] = 3;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sys::users::IdRange;

    use super::*;
    use crate::entry::EntryKind;

    #[test]
    fn owners_and_capabilities_go_out_and_come_back() {
        let range = vec![IdRange { inside: 0, outside: 100_000, size: 10 }];
        let maps = IdMaps { uids: range.clone(), gids: range };
        let mut entry = Entry::new(b"file".to_vec(), EntryKind::File, 0o755);
        (entry.uid, entry.gid) = (0, 9);
        let value = [[1, 0, 0, 2].as_slice(), &[7; 16]].concat();
        entry.xattrs = vec![(CAPABILITY.into(), value.clone())];
        let before = entry.clone();
        outside(&mut entry, &maps).expect("mapped");
        assert_eq!((entry.uid, entry.gid, entry.xattrs[0].1.len()), (100_000, 100_009, 24));
        assert_eq!(entry.xattrs[0].1[20..], 100_000_u32.to_le_bytes());
        inside(&mut entry, &maps);
        assert_eq!((entry.uid, entry.gid, &entry.xattrs), (before.uid, before.gid, &before.xattrs));
        entry.uid = 0;
        inside(&mut entry, &maps);
        assert_eq!(entry.uid, NOBODY);
        entry.uid = 10;
        let refused = errors::chain(&outside(&mut entry, &maps).expect_err("not mapped"));
        assert!(refused.contains("Container ID 10 cannot be mapped to a host ID"), "{refused}");
    }
}
