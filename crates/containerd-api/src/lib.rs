//! containerd's published gRPC and ttrpc interfaces, generated from the .proto files in this crate.
//!
//! Modules mirror the packages: [`services`]`::tasks::v1::tasks_client::TasksClient`, [`types`]`::Descriptor`,
//! [`events`]`::TaskExit`, [`task`]`::v2::CreateTaskRequest`, [`runc`]`::v1::Options`, [`v1`]`::types::Process`,
//! [`grpc`]`::health::v1`, [`rpc`]`::Status`, [`ttrpc`]`::Request`. Names, numbers and types are containerd's, from
//! 1.6 to 2.x (proto3 ignores what it does not know). [`any`] packs events and options as containerd names them;
//! [`method`] has the names of the ttrpc services, for which no code is generated.
//!
//! Clients and servers need the feature `grpc` (on by default); without it this crate is messages on prost only.
//! It does no I/O and knows no rules of any service.

pub mod any;
pub mod method;
pub mod time;

#[allow(clippy::all, clippy::pedantic, rustdoc::all)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/packages.rs"));
}

pub use generated::containerd::{runc, services, types, v1};
pub use generated::google::rpc;
pub use generated::{grpc, ttrpc};
pub use prost;
pub use prost_types::{Any, FieldMask, Timestamp};

/// What tasks use: the answers to Stats and Metrics, as containerd's `cgroups` project defines them.
pub use generated::io::containerd::cgroups;

/// Annotation of a layer in an `ApplyRequest`, ours: the reference of the write that brings its blob. A containerd that knows
/// it unpacks what has come and waits for the rest; any other finds no such blob yet.
pub const WRITE_ANNOTATION: &str = "com.longshore/write";

/// The shim's task service.
pub mod task {
    pub use crate::generated::containerd::task::v2;
    /// Version 3 has the messages of version 2; only the service's name differs.
    pub use crate::generated::containerd::task::v2 as v3;
}

/// Everything that travels in an [`types::Envelope`].
pub mod events {
    pub use crate::generated::containerd::events::*;
    pub use crate::generated::containerd::services::images::v1::{ImageCreate, ImageDelete, ImageUpdate};
}
