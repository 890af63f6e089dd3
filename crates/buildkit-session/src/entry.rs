//! One name of a client's folder, and what it is.

use buildkit_api::fsutil::Stat;
use fsutil::{Kind, go_mode};
use ids::Digest;

/// One name, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub path: String,
    pub kind: EntryKind,
    /// Permissions, in Unix's bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Nanoseconds since 1970.
    pub modified: i64,
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// `digest` of what came, `size` as it was announced.
    File {
        size: u64,
        digest: Digest,
    },
    Folder,
    Link(String),
    Fifo,
    CharacterDevice {
        major: u32,
        minor: u32,
    },
    BlockDevice {
        major: u32,
        minor: u32,
    },
}

impl From<Kind> for EntryKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Folder => Self::Folder,
            Kind::Link(target) => Self::Link(target),
            Kind::Fifo => Self::Fifo,
            Kind::CharacterDevice { major, minor } => Self::CharacterDevice { major, minor },
            Kind::BlockDevice { major, minor } => Self::BlockDevice { major, minor },
        }
    }
}

impl Entry {
    pub(crate) fn new(stat: Stat, kind: EntryKind) -> Self {
        let mut attributes: Vec<_> = stat.xattrs.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect();
        attributes.sort();
        Self {
            path: stat.path,
            kind,
            mode: go_mode::permissions(stat.mode),
            uid: stat.uid,
            gid: stat.gid,
            modified: stat.mod_time,
            attributes,
        }
    }
}
