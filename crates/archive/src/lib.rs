//! Layer archives (OCI image-spec, layer.md): a strict extractor and a deterministic writer.
//!
//! Entry points: [`apply`] unpacks a layer, compressed or not, into a directory; [`diff_upper`] and [`diff_directories`]
//! make a layer from an overlay's upper directory or from two trees; [`Decompressed`] and [`Compressor`] are the two
//! compressions on their own. [`TreeWriter`] and [`extract`] do the same with trees that a container changes meanwhile.
//! Everything is blocking code over `Read` and `Write`; who serves others runs it on a thread
//! of its own.
//!
//! Invariants: an archive is an attacker's. Every path is resolved inside the root by descriptor (openat2(2),
//! `RESOLVE_IN_ROOT`), the last component is never followed, a hard link can only name what is inside; sizes and counts
//! are bounded by [`Limits`] before anything is allocated. The crate mounts nothing and owns no state.

mod apply;
mod compression;
mod compressor;
mod diff;
mod entry;
mod error;
mod extract;
mod hashed_writer;
mod header;
mod limits;
mod owners;
mod pieces;
mod pipeline;
mod reader;
mod root;
mod sparse;
mod tree;
mod write;
mod xattrs;

pub use apply::{Applied, ApplyOptions, Whiteouts, apply};
pub use compression::{Compression, Decompressed};
pub use compressor::{Compressor, Digests};
pub use diff::{Written, diff_directories, diff_upper};
pub use entry::{Entry, EntryKind};
pub use error::ArchiveError;
pub use extract::{ExtractOptions, Overwrite, Renamed, extract};
pub use limits::Limits;
pub use pieces::{Incoming, Pieces};
pub use reader::{Member, TarReader};
pub use tree::{DEEPEST, Marks, TreeOptions, TreeWriter, Visit, names};
pub use write::{TarWriter, padding_of};
