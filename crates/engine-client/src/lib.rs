//! The Engine API as a client: connection, version negotiation, streams.
//!
//! Entry point: [`Client::new`] with an [`Endpoint`] (a [`Host`], and [`Tls`] where it is wanted); then [`Client::call`] for an answer that fits in memory,
//! [`Client::stream`] for one that goes on, [`Client::hijack`] for a connection in both directions.
//!
//! Invariants: nothing connects before the first request; the version is agreed on once, by the first request or a
//! ping, unless it was pinned; an answer that is read into memory has a limit; a refused request is always an [`Error`] with the daemon's
//! own words. Works against Docker's daemons from API 1.24 as against ours.

mod body;
mod client;
mod connection;
mod error;
mod hijack;
mod host;
mod program;
mod proxy;
mod request;
mod tls;

pub use body::{Body, Lines};
pub use bytes::Bytes;
pub use client::{Client, Ping, VersionChoice};
pub use connection::Endpoint;
pub use error::Error;
pub use hijack::{Duplex, ReadHalf, WriteHalf};
pub use host::{DEFAULT_HOST, Host, SshHost, complete as complete_host};
pub use request::{Payload, Request, encode_auth, escape, headers};
pub use tls::Tls;
