//! Blobs by digest on disk: resumable writes, verified commits, nothing half-written seen.
//!
//! Entry points: [`Store::open`], [`Store::writer`], [`Writer`], [`Store::reader`], and [`Store::follow`] for a blob that is
//! still being written.
//!
//! On disk as containerd has it: `ROOT/blobs/sha256/HEX`, and for each write that goes on
//! `ROOT/ingest/HASH/{ref,data,startedat,updatedat,total}`, where HASH is the SHA-256 of the text in `ref`. Which
//! namespace sees a blob, since when, and with what labels is in the metadata database.
//!
//! Invariants: a file under `blobs` is complete, synced and has the digest of its name; a record in the database is
//! written after that, so a blob that is seen can be read. A blob that no namespace sees is removed, at the latest when
//! the store is opened next. A namespace sees only what was written in it; a write that names the digest of a blob
//! that another namespace has is answered without bytes (containerd's policy "shared").
//!
//! Everything here blocks on the disk: asynchronous callers go through `tokio::task::spawn_blocking`.

mod blob;
mod error;
mod follow;
mod ingest;
mod store;
mod writer;

pub use blob::{Info, Reader};
pub use error::Error;
pub use follow::Following;
pub use ingest::Status;
pub use store::{Also, Store};
pub use writer::{Commit, WriteRequest, Writer};
