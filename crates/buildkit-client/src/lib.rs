//! A build's client. [`Lending`] is what it lends the builder over its session: folders, secrets, logins, agents, an archive,
//! places for results. [`BuildClient`] are the calls that it makes: a build, what it tells, the cache.
//!
//! Both speak over connections that are there already: the Engine API's `POST /session` and `POST /grpc`. The services are
//! BuildKit's, the packets fsutil's.
//!
//! Invariants: nothing but what was lent leaves this machine; a builder that sends results is a stranger, whose names are
//! checked and written below the one folder that they are for.

mod client;
mod content;
mod file_send;
mod file_sync;
mod folder;
mod lending;
mod lookups;
mod receiving;
mod selection;
mod ssh;
mod upload;

pub use client::{BuildClient, SolveFailure, SourcePlace};
pub use folder::Folder;
pub use lending::{Lending, Login, Logins, Target};
