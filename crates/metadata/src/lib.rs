//! One database file a daemon, one writer, group commit, durability chosen by the caller.
//!
//! Entry points: [`Database::open`], [`Database::write`], [`Database::read`], and [`Table`] for typed values.
//!
//! A write runs on the one writer thread as a closure over a [`WriteTx`] and is all or nothing. What has been
//! acknowledged survives a `kill -9` of the process, always; with [`Durability::Synced`] also the loss of power.
//!
//! Two files make this. `PATH` is a redb database, synced at checkpoints only: redb keeps a commit without a sync in the
//! process, where `kill -9` would lose it. `PATH-journal` therefore gets every batch of writes as one checksummed record
//! before the batch is acknowledged: an unsynced append is in the kernel's page cache and outlives the process, and a
//! synced one needs a single fdatasync, shared by all writers that wait for it, while unsynced writers pass by. Opening
//! replays what the last checkpoint does not contain; a torn tail is recognised by its checksum and ends the replay.
//!
//! Beside the store stand two things that every stored noun shares: [`labels`] and containerd's [`filter`] language.
//!
//! Invariants: a reader sees whole batches only; a record is replayed in order or not at all; a database that failed to
//! commit or to sync refuses further writes (fsync(2): after an error the pages are lost, a second try proves nothing).

mod error;
pub mod filter;
mod journal;
pub mod labels;
mod store;
mod table;
mod transaction;
mod writer;

pub use error::Error;
pub use filter::{FilterError, Filters};
pub use labels::Labels;
pub use store::{Database, Durability, Options, Schema};
pub use table::{Table, join_key, split_key};
pub use transaction::{Read, ReadTx, WriteTx};
