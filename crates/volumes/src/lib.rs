//! The daemon's volumes: create, list, use, remove, prune, and what is made of them after a restart.
//!
//! Entry point: [`Volumes`]. This crate owns the table `volumes`: which volumes there shall be, with which driver, options and
//! labels. The intent is written before a driver is called, and deleted after it: what a dead daemon left half done is
//! finished at the next start (local volumes) or at the next use (plugins, which may not be there yet). Who uses a volume is
//! not stored: containers say so when they are made, and again when the daemon starts.
//!
//! Invariants: whatever happens to one volume happens one thing after the other, under a gate of its own; no two volumes
//! share a lock across an await; a volume that somebody uses is never removed. No HTTP, no wire types.

mod create;
mod drivers;
mod error;
mod messages;
mod prune;
mod record;
mod recover;
mod remove;
mod request;
mod service;
mod uses;
mod view;

pub use error::Error;
pub use request::{
    CreateVolume, Event, EventSink, Lifetime, Listed, LiveMount, PruneRequest, Pruned, Usage, VolumeView,
};
pub use service::{Config, Volumes};
pub use volume::LOCAL;

/// Marks volumes that were made without a name.
pub const ANONYMOUS: &str = "com.docker.volume.anonymous";
