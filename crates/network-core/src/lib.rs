//! The Container Network Model as decisions: address pools, addresses, ports, and the files and rules they want.
//!
//! A network has subnets ([`Subnet`], chosen by [`pool::choose`]); a sandbox is attached to it by an endpoint, whose
//! address comes out of the network's [`AddressBook`]; published ports are kept apart by a [`PortTable`]. What the
//! kernel shall hold is data ([`firewall::Item`]), what the container reads are strings ([`hosts`],
//! [`resolv_conf`]). This crate does no I/O, reads no clock and draws no random numbers: host facts come in as
//! arguments.

mod address_book;
pub mod firewall;
pub mod gateway;
pub mod hosts;
pub mod ipam;
mod mac;
pub mod names;
pub mod netd;
pub mod pool;
mod port;
mod port_table;
pub mod resolv_conf;
mod subnet;

pub use address_book::{AddressBook, AddressError};
pub use mac::{Mac, MacError};
pub use pool::Pool;
pub use port::{PortError, PortRange, Protocol, Publish, parse_container_port, parse_host_port};
pub use port_table::{Binding, PortConflict, PortTable};
pub use subnet::{Subnet, SubnetError};

/// Longest name of a link.
pub use names::MAX_INTERFACE_NAME;

/// Address at which every sandbox of a user-defined network finds the embedded DNS server.
pub const EMBEDDED_DNS: std::net::Ipv4Addr = std::net::Ipv4Addr::new(127, 0, 0, 11);
