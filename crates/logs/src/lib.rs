//! Container output: Docker's two formats on disk, rotation, reading and following, and the pump that serves attach.
//!
//! - [`Writer`] appends to a log in the format json-file or local and rotates it; [`Reader`] reads it back: tail, since,
//!   until, follow. [`FolderWatch`] says when there is more, for all followers of a process.
//! - [`Cursor`] remembers how far a log was shipped to somewhere else.
//! - [`pump::Pump`] owns a process's stdout and stderr (or its terminal), appends them to the log and serves the attach
//!   socket of ARCHITECTURE.md. It is driven by an epoll loop through [`poller::Poller`]; what must not wait for the disk,
//!   a log in mode non-blocking and the compression of rotated files, has a thread that ends with its work.
//!
//! Invariants: the file holds whole messages only; one that a crash tore is cut off by the next writer and skipped by
//! every reader. One chunk of output is one write(2). Nothing here waits: not for a client, not for a peer, and not for
//! a process that holds a pipe open after the container's end.

mod compress;
mod cursor;
mod entry;
mod format;
mod json_file;
mod local;
mod names;
pub mod poller;
pub mod pump;
mod reader;
mod source;
mod timestamp;
mod turning;
mod watch;
mod writer;

pub use cursor::{Cursor, Place, has_unshipped};
pub use entry::{Entry, Part, Stream};
pub use format::{Format, MAX_PART};
pub use reader::{ReadError, ReadOptions, Reader};
pub use timestamp::{ParseTimeError, Timestamp};
pub use watch::{Changes, FolderWatch, WatchId};
pub use writer::{WriteError, Writer, WriterConfig};
