//! Links, addresses, routes and nftables elements over a blocking netlink socket of our own.
//!
//! The entry points are [`Route`] (rtnetlink) and [`nft::Transaction`] (nfnetlink). Both collect messages in a
//! [`Batch`] and send it with one system call; the kernel answers each message by its number, so that a refusal names
//! the step it belongs to. A socket speaks to the network namespace in which it was opened, whichever thread uses it
//! later; [`namespace`] opens one elsewhere.
//!
//! Invariants: no thread is kept, no message is parsed beyond its announced length, no file but `/proc/sys` and
//! namespace files is touched. Facts: rtnetlink(7), netlink(7), the kernel's `uapi/linux/netfilter/nf_tables.h`.

mod address;
mod conntrack;
mod error;
mod link;
mod message;
pub mod namespace;
pub mod nft;
mod route;
mod socket;
mod watch;

pub use address::Prefix;
pub use conntrack::forget_udp_flows;
pub use error::{Error, Result};
pub use link::{Child, ChildKind, LinkFacts, PeerPlace, Veth};
pub use message::{Attribute, Batch, attributes};
pub use route::{Route, RouteFacts};
pub use socket::{Family, Socket};
pub use watch::{Seen, Watch};
