//! Builds as BuildKit's clients ask for them.
//!
//! Entry point: [`BuildKit::solve`]: a front end's attributes and a client's session become a build of [`builder::Builder`],
//! told step by step ([`BuildKit::statuses`]), whose result goes where the request's exporters say. The front end is our
//! own reader of Dockerfiles, `dockerfile.v0`; a client that leads its build itself speaks to [`Bridge`]. The wire is
//! `engine-http`'s and `buildkit-grpc`'s.
//!
//! Invariants: attributes that are not done are refused. What a build tells is bounded; a build ends with whoever asked
//! for it.

mod annotations;
mod attest;
mod attributes;
mod bridge;
mod built;
mod error;
mod export;
mod history;
mod job;
mod lending;
mod lent_cache;
mod local;
mod messages;
mod oci_layout;
mod service;
mod solve;
mod steps;
mod uploads;

pub use bridge::{Bridge, Led, LedPart};
pub use error::{SolveError, Source};
pub use history::Record;
pub use job::Statuses;
pub use service::BuildKit;
pub use solve::{Exporter, Solve, Solved};
