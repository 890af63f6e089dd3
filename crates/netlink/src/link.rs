//! Links: bridges, veth pairs, up and down. rtnetlink(7), `RTM_NEWLINK`; veth(4).

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::message::{ACK, Batch, CREATE, DUMP, EXCL, attributes};
use crate::route::Route;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const VETH_INFO_PEER: u16 = 1;
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_FLAGS: u16 = 2;

const IFF_UP: u32 = 1;

/// A veth pair: the host's end goes on a bridge, the other into a sandbox.
#[derive(Debug)]
pub struct Veth<'a> {
    pub name: &'a str,
    /// Index of the bridge that the host's end joins.
    pub master: u32,
    pub mtu: u32,
    pub peer: PeerPlace<'a>,
}

/// Where the sandbox's end is born. It never exists in the host's namespace.
#[derive(Debug)]
pub struct PeerPlace<'a> {
    pub namespace: BorrowedFd<'a>,
    pub name: &'a str,
    pub mac: [u8; 6],
}

/// A link over another one, with an address of its own (`ip link add … type macvlan`, ipvlan).
#[derive(Debug)]
pub struct Child<'a> {
    /// Index of the link below, in the namespace of the socket.
    pub parent: u32,
    pub kind: ChildKind,
    pub mtu: Option<u32>,
    pub place: PeerPlace<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildKind {
    /// `MACVLAN_MODE_PRIVATE` (1), `…_VEPA` (2), `…_BRIDGE` (4), `…_PASSTHRU` (8).
    Macvlan { mode: u32 },
    /// `IPVLAN_MODE_L2` (0), `…_L3` (1), `…_L3S` (2); flags bridge (0), private (1), vepa (2). The address is its parent's.
    Ipvlan { mode: u16, flags: u16 },
}

/// What a dump tells about a link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkFacts {
    pub index: u32,
    pub name: String,
    pub up: bool,
    pub master: Option<u32>,
    pub mac: Option<[u8; 6]>,
    pub mtu: u32,
    /// `bridge`, `veth`, `vlan` …; empty for a device of hardware.
    pub kind: String,
}

/// `struct ifinfomsg`.
fn ifinfomsg(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

impl Batch {
    /// A bridge, up. A MAC that is set stays; a derived one would change with each port that joins.
    pub fn create_bridge(&mut self, name: &str, mac: [u8; 6], mtu: u32) {
        self.begin(format!("create bridge {name}"), RTM_NEWLINK, ACK | CREATE | EXCL, &ifinfomsg(0, IFF_UP, IFF_UP));
        self.put_text(IFLA_IFNAME, name);
        self.put(IFLA_ADDRESS, &mac);
        self.put_u32(IFLA_MTU, mtu);
        self.nest(IFLA_LINKINFO, |batch| batch.put(IFLA_INFO_KIND, b"bridge"));
        self.end();
    }

    /// One message makes the pair, puts one end up on the bridge and the other, down, into the namespace.
    pub fn create_veth(&mut self, veth: &Veth<'_>) {
        let step = format!("create veth {} with {} in a sandbox", veth.name, veth.peer.name);
        self.begin(step, RTM_NEWLINK, ACK | CREATE | EXCL, &ifinfomsg(0, IFF_UP, IFF_UP));
        self.put_text(IFLA_IFNAME, veth.name);
        self.put_u32(IFLA_MTU, veth.mtu);
        self.put_u32(IFLA_MASTER, veth.master);
        self.nest(IFLA_LINKINFO, |batch| {
            batch.put(IFLA_INFO_KIND, b"veth");
            batch.nest(IFLA_INFO_DATA, |batch| {
                batch.nest(VETH_INFO_PEER, |batch| {
                    batch.raw(&ifinfomsg(0, 0, 0));
                    batch.put_text(IFLA_IFNAME, veth.peer.name);
                    batch.put(IFLA_ADDRESS, &veth.peer.mac);
                    batch.put_u32(IFLA_MTU, veth.mtu);
                    batch.put_u32(IFLA_NET_NS_FD, veth.peer.namespace.as_raw_fd() as u32);
                });
            });
        });
        self.end();
    }

    /// Two ends in this namespace, each a port of a bridge, up: what passes one bridge passes the other.
    pub fn create_trunk(&mut self, ends: [(&str, u32); 2], mtu: u32) {
        let [(name, master), (peer, _)] = ends;
        let step = format!("create trunk {name} to {peer}");
        self.begin(step, RTM_NEWLINK, ACK | CREATE | EXCL, &ifinfomsg(0, IFF_UP, IFF_UP));
        self.put_text(IFLA_IFNAME, name);
        self.put_u32(IFLA_MTU, mtu);
        self.put_u32(IFLA_MASTER, master);
        self.nest(IFLA_LINKINFO, |batch| {
            batch.put(IFLA_INFO_KIND, b"veth");
            batch.nest(IFLA_INFO_DATA, |batch| {
                batch.nest(VETH_INFO_PEER, |batch| {
                    batch.raw(&ifinfomsg(0, 0, 0));
                    batch.put_text(IFLA_IFNAME, peer);
                    batch.put_u32(IFLA_MTU, mtu);
                });
            });
        });
        self.end();
        let (peer, master) = ends[1];
        self.begin(format!("join {peer} to its bridge"), RTM_NEWLINK, ACK, &ifinfomsg(0, IFF_UP, IFF_UP));
        self.put_text(IFLA_IFNAME, peer);
        self.put_u32(IFLA_MASTER, master);
        self.end();
    }

    /// The link is born, down, inside the namespace.
    pub fn create_child(&mut self, child: &Child<'_>) {
        let (kind, word): (&[u8], _) = match child.kind {
            ChildKind::Macvlan { .. } => (b"macvlan", "macvlan"),
            ChildKind::Ipvlan { .. } => (b"ipvlan", "ipvlan"),
        };
        let step = format!("create {word} link {} in a sandbox", child.place.name);
        self.begin(step, RTM_NEWLINK, ACK | CREATE | EXCL, &ifinfomsg(0, 0, 0));
        self.put_text(IFLA_IFNAME, child.place.name);
        self.put_u32(IFLA_LINK, child.parent);
        if let Some(mtu) = child.mtu {
            self.put_u32(IFLA_MTU, mtu);
        }
        if matches!(child.kind, ChildKind::Macvlan { .. }) {
            self.put(IFLA_ADDRESS, &child.place.mac);
        }
        self.put_u32(IFLA_NET_NS_FD, child.place.namespace.as_raw_fd() as u32);
        self.nest(IFLA_LINKINFO, |batch| {
            batch.put(IFLA_INFO_KIND, kind);
            batch.nest(IFLA_INFO_DATA, |batch| match child.kind {
                ChildKind::Macvlan { mode } => batch.put_u32(IFLA_MACVLAN_MODE, mode),
                ChildKind::Ipvlan { mode, flags } => {
                    batch.put(IFLA_IPVLAN_MODE, &mode.to_ne_bytes());
                    batch.put(IFLA_IPVLAN_FLAGS, &flags.to_ne_bytes());
                }
            });
        });
        self.end();
    }

    /// A link that carries one VLAN of another, up.
    pub fn create_vlan(&mut self, name: &str, parent: u32, id: u16) {
        self.begin(format!("create vlan {name}"), RTM_NEWLINK, ACK | CREATE | EXCL, &ifinfomsg(0, IFF_UP, IFF_UP));
        self.put_text(IFLA_IFNAME, name);
        self.put_u32(IFLA_LINK, parent);
        self.nest(IFLA_LINKINFO, |batch| {
            batch.put(IFLA_INFO_KIND, b"vlan");
            batch.nest(IFLA_INFO_DATA, |batch| batch.put(IFLA_VLAN_ID, &id.to_ne_bytes()));
        });
        self.end();
    }

    /// A link that leads nowhere, up.
    pub fn create_dummy(&mut self, name: &str) {
        self.begin(format!("create dummy {name}"), RTM_NEWLINK, ACK | CREATE | EXCL, &ifinfomsg(0, IFF_UP, IFF_UP));
        self.put_text(IFLA_IFNAME, name);
        self.nest(IFLA_LINKINFO, |batch| batch.put(IFLA_INFO_KIND, b"dummy"));
        self.end();
    }

    /// Moves a link, under another name, into a namespace. It goes down on the way.
    pub fn move_link(&mut self, index: u32, place: &PeerPlace<'_>) {
        let step = format!("move link {index} into a sandbox as {}", place.name);
        self.begin(step, RTM_NEWLINK, ACK, &ifinfomsg(index, 0, 0));
        self.put_text(IFLA_IFNAME, place.name);
        self.put_u32(IFLA_NET_NS_FD, place.namespace.as_raw_fd() as u32);
        self.end();
    }

    pub fn set_mac(&mut self, index: u32, mac: [u8; 6]) {
        self.begin(format!("set the address of link {index}"), RTM_NEWLINK, ACK, &ifinfomsg(index, 0, 0));
        self.put(IFLA_ADDRESS, &mac);
        self.end();
    }

    /// A port of a bridge that reaches the bridge but no other isolated port. The packet filter does not see frames that
    /// stay on a bridge, so that only the bridge itself can keep its ports apart.
    pub fn isolate_port(&mut self, name: &str) {
        self.begin(format!("isolate bridge port {name}"), RTM_NEWLINK, ACK, &ifinfomsg(0, 0, 0));
        self.put_text(IFLA_IFNAME, name);
        self.nest(IFLA_LINKINFO, |batch| {
            batch.put(IFLA_INFO_SLAVE_KIND, b"bridge");
            batch.nest(IFLA_INFO_SLAVE_DATA, |batch| batch.put(IFLA_BRPORT_ISOLATED, &[1]));
        });
        self.end();
    }

    pub fn set_up(&mut self, index: u32) {
        self.begin(format!("bring link {index} up"), RTM_NEWLINK, ACK, &ifinfomsg(index, IFF_UP, IFF_UP));
        self.end();
    }

    /// Waits for readers of the link inside the kernel (16 ms here): only for bridges, and never while someone waits.
    pub fn delete_link(&mut self, index: u32) {
        self.begin(format!("delete link {index}"), RTM_DELLINK, ACK, &ifinfomsg(index, 0, 0));
        self.end();
    }
}

impl Route {
    /// The link of that name, or none.
    pub fn link_by_name(&self, name: &str) -> Result<Option<LinkFacts>> {
        let mut batch = Batch::new();
        batch.begin(format!("look up link {name}"), RTM_GETLINK, 0, &ifinfomsg(0, 0, 0));
        batch.put_text(IFLA_IFNAME, name);
        batch.end();
        let mut found = None;
        match self.socket.query(&batch, |_, payload| found = parse_link(payload)) {
            Ok(()) => Ok(found),
            Err(Error::Refused { source: Errno::NODEV, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn links(&self) -> Result<Vec<LinkFacts>> {
        let mut batch = Batch::new();
        batch.begin("list links".to_owned(), RTM_GETLINK, DUMP, &ifinfomsg(0, 0, 0));
        batch.end();
        let mut links = Vec::new();
        self.socket.query(&batch, |_, payload| links.extend(parse_link(payload)))?;
        Ok(links)
    }
}

fn parse_link(payload: &[u8]) -> Option<LinkFacts> {
    let word = |at: usize| Some(u32::from_ne_bytes(payload.get(at..at + 4)?.try_into().ok()?));
    let mut link = LinkFacts { index: word(4)?, up: word(8)? & IFF_UP != 0, ..LinkFacts::default() };
    for attribute in attributes(payload.get(16..)?) {
        match attribute.kind {
            IFLA_IFNAME => link.name = attribute.text()?.to_owned(),
            IFLA_MASTER => link.master = attribute.u32(),
            IFLA_MTU => link.mtu = attribute.u32()?,
            IFLA_ADDRESS => link.mac = attribute.value.try_into().ok(),
            IFLA_LINKINFO => {
                let kind = attributes(attribute.value).find(|part| part.kind == IFLA_INFO_KIND);
                link.kind = kind.and_then(|kind| kind.text().map(str::to_owned)).unwrap_or_default();
            }
            _ => {}
        }
    }
    Some(link)
}
