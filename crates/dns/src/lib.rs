//! The embedded DNS server's decisions: what a query asks, what the names table answers, what is asked upstream.
//!
//! A datagram becomes a [`Query`]; [`Names`] answers it for one sandbox; what it does not know goes through a
//! [`Forwarder`], which owns ids, retries and limits. Sockets, clocks and random numbers belong to `netd`: everything
//! here runs on bytes and on times that are passed in.
//!
//! Facts: RFC 1035 (messages), RFC 2308 (no such name, no such data), RFC 6891 (EDNS), RFC 5452 (what to check in an
//! answer). Every message comes from inside a container or from the network and is treated as hostile.

mod cache;
mod forward;
mod message;
mod name;
mod names;
mod reply;

pub use forward::{Expired, Forwarder, Limits, Refused, Sent, Started};
pub use message::{Malformed, Query, Rejection, kind};
pub use name::{Name, reverse_address};
pub use names::{Answer, EndpointNames, Names, SandboxNames};
pub use reply::{MIN_UDP_SIZE, Reply, truncated};
