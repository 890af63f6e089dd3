//! Wire types of Docker's Engine API 1.24 to 1.51, as the daemon answers and the client reads them.
//!
//! Three things live here: the structures, one module a noun, named and ordered as Docker's API writes them; the
//! [`endpoint`] table; and [`version`], with [`adapt`] for what changed between versions. No I/O, no clock, no
//! decisions: a value here says what travelled, never whether it is sensible.
//!
//! Invariants: every structure reads any JSON object (unknown members are ignored, missing or `null` ones take their
//! default), since clients of ten years send what they like; what is written has Docker's members in Docker's order,
//! with Go's habit of `null` for a list that was never set (`Option<Vec<_>>`) and `[]` where Docker answers a list.

#[macro_use]
mod wire;

pub mod adapt;
pub mod auth;
pub mod container;
pub mod endpoint;
pub mod event;
pub mod exec;
pub mod filters;
pub mod go_json;
pub mod host_config;
pub mod image;
pub mod json_message;
pub mod mount;
pub mod network;
pub mod stats;
pub mod system;
pub mod version;
pub mod volume;

pub use version::ApiVersion;
pub use wire::{Empty, StringMap};

/// Content type of an attach, exec or log stream with a terminal.
pub const RAW_STREAM: &str = "application/vnd.docker.raw-stream";
/// Content type of a stream with 8-byte frame headers, named since API 1.42.
pub const MULTIPLEXED_STREAM: &str = "application/vnd.docker.multiplexed-stream";

wire! {
    /// Body of every answer with a status from 400 up.
    pub struct ErrorResponse {
        message: String = "message",
    }

    /// Answer to a creation that has nothing but an id to tell (`POST /commit`, `POST /containers/x/exec`).
    pub struct IdResponse {
        id: String = "Id",
    }
}
