//! Names and ports that outlive the daemon: DNS inside sandboxes, port sockets, the relay.
//!
//! [`run`] is the whole program: one thread, one epoll instance. dockerd states over the control socket what shall hold
//! for each sandbox (`network_core::netd`); from then on names resolve and ports answer, whether dockerd lives or not.
//!
//! - `control`: the lines from and to dockerd.
//! - `sandboxes`: statements, and the difference that a new one makes.
//! - `resolver`, `upstream`: DNS sockets in the namespaces and towards the host's servers; all decisions are in `dns`.
//! - `port_53`: the rules inside a sandbox by which questions reach those sockets.
//! - `stream_relay`, `udp_relay`: sockets of published ports. They keep the port from other programs, and carry what the
//!   packet filter cannot translate: connections to loopback, from containers to published ports, and between families.
//!
//! Invariants: no thread, nothing on disk but the lock file, no packet filter touched but the one rule set inside a
//! sandbox that leads port 53 of 127.0.0.11 here. Everything a container can make grow has a named limit.

mod control;
mod datagram;
mod error;
mod host_servers;
mod poller;
mod port_53;
mod resolver;
mod sandboxes;
mod server;
mod socket;
mod stream_relay;
mod udp_relay;
mod upstream;

pub use error::Error;
pub use server::{Options, run};
