//! What an archive may ask of us. The figures are far above every real layer and far below what hurts a host.

/// Bounds of one archive; what passes one is refused with [`crate::ArchiveError::Limit`].
#[derive(Debug, Clone)]
pub struct Limits {
    /// Entries, directories and whiteouts included.
    pub entries: u64,
    /// Bytes of a path or a link target. The kernel's own PATH_MAX.
    pub path_bytes: usize,
    /// Bytes of one extended header (PAX, GNU long name): what Go's archive/tar allows too.
    pub header_bytes: usize,
    /// Bytes of all extended attributes of one entry; one value has at most 64 KiB (xattr(7)).
    pub xattr_bytes: usize,
    /// Bytes of the archive when it is decompressed.
    pub archive_bytes: u64,
    /// Bytes of all files that have holes, the holes included: they cost an archive nothing.
    pub sparse_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 10_000_000,
            path_bytes: 4096,
            header_bytes: 1 << 20,
            xattr_bytes: 256 << 10,
            archive_bytes: 1 << 40,
            sparse_bytes: 64 << 30,
        }
    }
}

/// Extended headers before one entry: a long name, a long link and a PAX header are three; a longer chain is a loop.
pub(crate) const MAX_HEADER_CHAIN: usize = 8;
