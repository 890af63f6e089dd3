//! BuildKit's published gRPC interfaces as Docker's clients use them, generated from the .proto files in this crate.
//!
//! [`control`] and [`frontend`] are what a builder serves; [`filesync`] (which has the credentials too), [`secrets`], [`ssh`], [`upload`] and
//! [`health`] what a client serves over its session; [`fsutil`] the packets that files travel in; [`pb`] what both sides show of
//! a Dockerfile; [`Serving`] is the answer to a question for health. Names, numbers and types are BuildKit's; proto3 ignores what is not here.
//!
//! It does no I/O and knows no rules of any service.

#[allow(clippy::all, clippy::pedantic, rustdoc::all)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/packages.rs"));
}

mod serving;

pub use generated::fsutil::types as fsutil;
pub use generated::google::rpc;
pub use generated::grpc::health::v1 as health;
pub use generated::moby::buildkit::secrets::v1 as secrets;
pub use generated::moby::buildkit::v1::{apicaps, frontend, types};
pub use generated::moby::filesync::v1 as filesync;
pub use generated::moby::sshforward::v1 as ssh;
pub use generated::moby::upload::v1 as upload;
pub use generated::pb;
pub use prost;
pub use prost_types::{Any, Timestamp};
pub use serving::Serving;

/// Builds, what they tell, and the cache.
pub mod control {
    pub use crate::generated::moby::buildkit::v1::*;
}
