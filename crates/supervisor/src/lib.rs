//! Containers, tasks and events over shims: the use cases of docker-containerd.
//!
//! Each noun of containerd's interface is a service of its own, cheap to clone: [`namespaces`], [`leases`],
//! [`containers`], [`images`], [`tasks`], [`events`]. The messages of `containerd-api` are the vocabulary where a
//! translation would only copy; nothing here knows a gRPC code. Stores for content and snapshots are their own crates.

mod bundle;
pub mod collect;
pub mod containers;
mod error;
pub mod events;
pub mod filter;
pub mod identifier;
pub mod images;
pub mod leases;
mod mark;
pub mod messages;
pub mod namespaces;
mod records;
pub mod runtimes;
mod shim_client;
mod shim_process;
mod shim_program;
pub mod tasks;

pub use bundle::{Exit, Places};
pub use error::{Error, Result};
pub use leases::Scope;
pub use records::Store;
pub use shim_program::Daemon;
