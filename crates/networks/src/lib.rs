//! The daemon's networks: create, connect, publish, and what is restored after a restart.
//!
//! Entry point: [`Networks`]. A container's network is a [`Sandbox`]: [`Networks::acquire`] makes its namespace, plugs it
//! into bridges, publishes its ports and states its names to docker-netd; [`Networks::release`] takes it down.
//! [`Networks::begin`] lets the container be set up meanwhile.
//!
//! Owned facts: network records and sandbox records in the metadata store (an address belongs to a network only through
//! the record of the sandbox that has it), the bridges, the namespaces under `<exec-root>/netns`, and one nftables table.
//! The state in memory is made from the records. What the kernel and docker-netd hold can always be made again from them.
//!
//! Invariants: no link is deleted while someone waits (a veth goes with its namespace); no other nftables table is read or
//! written; no lock is held across kernel work but that of one nftables transaction, of which the kernel takes one at a
//! time anyway. Blocking work runs on tokio's blocking threads, entered in `service.rs` only.

mod config;
mod create;
mod docker_chains;
mod driver;
mod endpoint;
mod endpoint_plan;
mod error;
mod events;
mod external;
mod firewall;
mod firewall_rules;
mod messages;
mod netd_client;
mod network;
mod plan;
mod plumbing;
mod ports;
mod predefined;
mod record;
mod remote;
mod remote_ipam;
mod request;
mod restore;
mod sandbox;
mod service;
mod spare;
mod state;
mod subnets;
mod watch;

pub use config::{BridgeConfig, Config, FirewallConfig, Mark};
pub use error::Error;
pub use events::{Event, EventAction, EventSink};
pub use record::{BridgeOptions, IpamRecord, NetworkRecord, ParentRecord, SubnetRecord};
pub use request::{
    Address, Attached, CreateNetwork, Created, Endpoint, EndpointRequest, Live, NetworkView, RemoteLink, RemoteRoute,
    Sandbox, SandboxMode, SandboxRequest,
};
pub use service::{Begun, Networks};

/// Where plugins are found.
pub use plugin_client::Plugins;

// What callers build requests from and read answers with.
pub use network_core::firewall::{GatewayMode, OpenPort, PublishedPort};
pub use network_core::ipam::Asked;
pub use network_core::resolv_conf::Overrides;
pub use network_core::{Mac, PortRange, Protocol, Publish, Subnet, parse_container_port, parse_host_port};
