//! Container output: the json-file format, rotation, reading and following, and the pump that serves attach.
//!
//! - [`Writer`] appends to Docker's json-file log and rotates it; [`Reader`] reads it back: tail, since, until, follow.
//! - [`pump::Pump`] owns a process's stdout and stderr (or its terminal), appends them to the log and serves the attach
//!   socket of ARCHITECTURE.md. It is driven by an epoll loop through [`poller::Poller`] and has no thread of its own.
//!
//! Invariants: the file holds whole lines only; a line that a crash tore is cut off by the next writer and skipped by
//! every reader. One chunk of output is one write(2). Nothing here waits: not for a client, not for a peer, and not for
//! a process that holds a pipe open after the container's end.

mod entry;
mod json_file;
pub mod poller;
pub mod pump;
mod timestamp;

pub use entry::{Entry, Stream};
pub use json_file::reader::{ReadError, ReadOptions, Reader};
pub use json_file::writer::{WriteError, Writer, WriterConfig};
pub use timestamp::{ParseTimeError, Timestamp};
