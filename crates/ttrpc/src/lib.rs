//! ttrpc: containerd's small RPC over a stream socket, with servers and clients for one thread and for tokio.
//!
//! A message is a ten-byte header ([`frame::Header`]) and a protobuf [`Request`] or [`Response`]; a call is one stream
//! with one of each. The streaming extension (data messages) is not spoken: no service of the shim or of the event
//! socket has a streaming method, and such a call is refused with UNIMPLEMENTED.
//!
//! - [`frame`] is the format, without I/O;
//! - [`server::Connection`] is one accepted connection of a server that lives in an epoll loop;
//! - [`client::Client`] is a connection of a client in an epoll loop, [`client::BlockingClient`] waits for its answer;
//! - [`asynchronous`] (feature `tokio`) has a client with many calls in flight and a server.
//!
//! Invariants: a message is at most [`frame::MAX_MESSAGE`] bytes, is never allocated before that was checked, and a
//! peer that does not read its answers is disconnected at [`server::MAX_BACKLOG`]. No call here ever waits except in
//! `BlockingClient`. The protocol is containerd/ttrpc's PROTOCOL.md.

#[cfg(feature = "tokio")]
pub mod asynchronous;
pub mod client;
pub mod frame;
pub mod server;
mod status;

pub use containerd_api::ttrpc::{KeyValue, Request, Response};
pub use status::{Code, Status};

/// Why a call has no answer of the server's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot connect to {path}")]
    Connect { path: String, source: std::io::Error },
    #[error("the connection is closed")]
    Closed,
    #[error("no answer in time")]
    TimedOut,
    #[error("cannot exchange messages")]
    Io(#[from] std::io::Error),
    #[error("the peer breaks the protocol")]
    Protocol(#[from] frame::FrameError),
    #[error("the message has {0} bytes, more than a message may have")]
    TooLong(usize),
    /// The server answered, with an error.
    #[error("{0}")]
    Status(Status),
}

impl errors::Kind for Error {
    fn kind(&self) -> errors::ErrorKind {
        use errors::ErrorKind;
        match self {
            Self::Connect { .. } | Self::Closed | Self::Io(_) => ErrorKind::Unavailable,
            Self::TimedOut => ErrorKind::Cancelled,
            Self::Protocol(_) => ErrorKind::DataLoss,
            Self::TooLong(_) => ErrorKind::ResourceExhausted,
            Self::Status(status) => status.kind(),
        }
    }
}

/// The value of a metadata key of a request, the first if there are several.
pub fn metadata<'a>(request: &'a Request, key: &str) -> Option<&'a str> {
    request.metadata.iter().find(|pair| pair.key.eq_ignore_ascii_case(key)).map(|pair| pair.value.as_str())
}
