//! Connections to a containerd, its namespace header, and its status codes as error kinds.
//!
//! Entry point: [`Client`], cheap to clone: one connection, a namespace and perhaps a lease. [`Client::tasks`] and its
//! siblings are the generated clients with the headers filled in; [`Client::read_blob`], [`Client::write_blob`],
//! [`Client::apply_diff`] and the lease functions spare their callers the streams. Works with containerd 1.6 and later
//! and with our own; whatever is specific to one of them is not here.
//!
//! Invariants: no call waits for a containerd that is not there (it is `Unavailable` at once, and the next call tries
//! again); what is collected in memory has a limit.

mod client;
mod content;
mod error;
mod last_frame;
mod leases;

pub use client::{Client, Headers, Transport};
pub use content::{BlobReader, BlobWriter, WriteBlob};
pub use error::Error;
pub use leases::Synchronous;
