//! One member of an archive, as the tar formats describe it and free of their encodings.

/// What a member is. Link targets are bytes as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    File,
    Directory,
    Symlink(Vec<u8>),
    /// A further name of an earlier member; the path is relative to the archive's root.
    HardLink(Vec<u8>),
    Character {
        major: u32,
        minor: u32,
    },
    Block {
        major: u32,
        minor: u32,
    },
    Fifo,
}

/// A member's header. The content of a file follows it in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As stored: neither cleaned nor checked.
    pub path: Vec<u8>,
    pub kind: EntryKind,
    /// Permission bits with set-uid, set-gid and sticky; no file type.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Bytes of content; 0 unless a file.
    pub size: u64,
    /// Seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// Name and value, in the order of the header.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    /// A member with nothing but a path, a kind and permissions.
    pub fn new(path: impl Into<Vec<u8>>, kind: EntryKind, mode: u32) -> Self {
        Self { path: path.into(), kind, mode, uid: 0, gid: 0, size: 0, mtime: (0, 0), xattrs: Vec::new() }
    }
}
