//! Containers, tasks and events over shims: the use cases of docker-containerd.
//!
//! Entry point: [`Services::open`]. Each noun of containerd's interface is a service of its own, cheap to clone:
//! [`namespaces`], [`leases`], [`containers`], [`images`], [`contents`], [`snapshots`], [`differ`], [`tasks`],
//! [`events`]; [`collect`] removes what nobody refers to. The messages of `containerd-api` are the vocabulary where a
//! translation would only copy; nothing here knows a gRPC code. The bytes of blobs and snapshots are their own crates'.

mod bundle;
pub mod collect;
pub mod containers;
pub mod contents;
pub mod differ;
mod error;
pub mod events;
pub mod filter;
mod fork_server;
pub mod identifier;
pub mod images;
pub mod leases;
mod mark;
pub mod messages;
pub mod namespaces;
mod private_mount;
mod records;
pub mod runtimes;
mod services;
mod shim_client;
mod shim_process;
mod shim_program;
pub mod snapshots;
pub mod tasks;

pub use bundle::{Bundle, Exit, Places};
pub use error::{Error, Result};
pub use leases::Scope;
pub use records::Store;
pub use services::{Roots, Services};
pub use shim_program::Daemon;
