//! gRPC over one connection that is there already: a socket that stopped being HTTP/1, or a tunnel inside of a call.
//!
//! [`channel`] calls the other side, [`incoming`] serves it. Either end of the connection may be either; BuildKit's sessions
//! have the daemon call its client.
//!
//! It opens no connections and knows no services.

mod channel;
mod incoming;

pub use channel::channel;
pub use incoming::{SoleConnection, incoming};
