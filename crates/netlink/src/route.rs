//! Addresses and routes, and the socket that all rtnetlink batches go through. rtnetlink(7).

use std::net::IpAddr;

use crate::address::{Prefix, family, from_octets, octets};
use crate::error::Result;
use crate::message::{ACK, Batch, CREATE, DUMP, EXCL, REPLACE, attributes};
use crate::socket::{Answers, Family, Socket};

const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
/// The address was checked by whoever gave it; waiting a second for duplicates would delay the first packet.
const IFA_F_NODAD: u8 = 0x02;
const IFA_F_PERMANENT: u8 = 0x80;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;

const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;
const RT_SCOPE_UNIVERSE: u8 = 0;
/// `RT_SCOPE_LINK`: the destination is on the link itself.
const RT_SCOPE_LINK: u8 = 253;

/// An rtnetlink socket.
#[derive(Debug)]
pub struct Route {
    pub(crate) socket: Socket,
}

/// A route of the main table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteFacts {
    /// None: the default route.
    pub destination: Option<Prefix>,
    pub gateway: Option<IpAddr>,
    pub link: Option<u32>,
}

impl Route {
    pub fn open() -> Result<Self> {
        Ok(Self { socket: Socket::open(Family::Route)? })
    }

    /// Performs the steps in order; a step that fails does not stop those behind it.
    pub fn perform(&self, batch: &Batch) -> Result<()> {
        self.socket.perform(batch, Answers::Each)
    }

    /// Addresses of this namespace with the index of their link.
    pub fn addresses(&self) -> Result<Vec<(u32, Prefix)>> {
        let mut batch = Batch::new();
        batch.begin("list addresses".to_owned(), RTM_GETADDR, DUMP, &[0; 8]);
        batch.end();
        let mut found = Vec::new();
        self.socket.query(&batch, |_, payload| found.extend(parse_address(payload)))?;
        Ok(found)
    }

    /// Those of one link that stay with it: permanent, and not of the link or the host alone.
    pub fn lasting_addresses(&self, link: u32) -> Result<Vec<Prefix>> {
        let mut batch = Batch::new();
        batch.begin("list addresses".to_owned(), RTM_GETADDR, DUMP, &[0; 8]);
        batch.end();
        let mut found = Vec::new();
        self.socket.query(&batch, |_, payload| {
            let lasts = matches!(payload, [_, _, flags, RT_SCOPE_UNIVERSE, ..] if flags & IFA_F_PERMANENT != 0);
            found.extend(parse_address(payload).filter(|(index, _)| lasts && *index == link).map(|(_, prefix)| prefix));
        })?;
        Ok(found)
    }

    /// Unicast routes of the main table, both families.
    pub fn routes(&self) -> Result<Vec<RouteFacts>> {
        let mut batch = Batch::new();
        batch.begin("list routes".to_owned(), RTM_GETROUTE, DUMP, &[0; 12]);
        batch.end();
        let mut found = Vec::new();
        self.socket.query(&batch, |_, payload| found.extend(parse_route(payload)))?;
        Ok(found)
    }
}

impl Batch {
    pub fn add_address(&mut self, link: u32, prefix: Prefix) {
        let mut header = [family(prefix.address), prefix.length, IFA_F_NODAD, 0, 0, 0, 0, 0];
        header[4..].copy_from_slice(&link.to_ne_bytes());
        let step = format!("add address {prefix} to link {link}");
        self.begin(step, RTM_NEWADDR, ACK | CREATE | EXCL, &header);
        let bytes = octets(prefix.address);
        self.put(IFA_LOCAL, &bytes);
        self.put(IFA_ADDRESS, &bytes);
        if let (IpAddr::V4(address), 0..=30) = (prefix.address, prefix.length) {
            let host_bits = u32::MAX >> prefix.length;
            self.put(IFA_BROADCAST, &(u32::from(address) | host_bits).to_be_bytes());
        }
        self.end();
    }

    /// In place of the default route that the family has.
    pub fn add_default_route(&mut self, gateway: IpAddr, link: u32) {
        let header = [family(gateway), 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST, 0, 0, 0, 0];
        let step = format!("add default route through {gateway}");
        self.begin(step, RTM_NEWROUTE, ACK | CREATE | REPLACE, &header);
        self.put(RTA_GATEWAY, &octets(gateway));
        self.put_u32(RTA_OIF, link);
        self.end();
    }

    /// The default route through a link that has no gateway.
    pub fn add_default_link_route(&mut self, is_ipv4: bool, link: u32) {
        let family = if is_ipv4 { 2 } else { 10 };
        let header = [family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_LINK, RTN_UNICAST, 0, 0, 0, 0];
        let step = format!("add default route by link {link}");
        self.begin(step, RTM_NEWROUTE, ACK | CREATE | REPLACE, &header);
        self.put_u32(RTA_OIF, link);
        self.end();
    }

    /// To a network through a gateway, or on the link itself.
    pub fn add_route(&mut self, to: Prefix, gateway: Option<IpAddr>, link: u32) {
        let scope = if gateway.is_some() { 0 } else { RT_SCOPE_LINK };
        let header = [family(to.address), to.length, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0, 0, 0, 0];
        self.begin(format!("add route to {to}"), RTM_NEWROUTE, ACK | CREATE | REPLACE, &header);
        self.put(RTA_DST, &octets(to.address));
        if let Some(gateway) = gateway {
            self.put(RTA_GATEWAY, &octets(gateway));
        }
        self.put_u32(RTA_OIF, link);
        self.end();
    }

    /// Fails where there is none.
    pub fn delete_default_route(&mut self, is_ipv4: bool) {
        let family = if is_ipv4 { 2 } else { 10 };
        let header = [family, 0, 0, 0, RT_TABLE_MAIN, 0, 0, 0, 0, 0, 0, 0];
        self.begin("delete the default route".to_owned(), RTM_DELROUTE, ACK, &header);
        self.end();
    }
}

fn parse_address(payload: &[u8]) -> Option<(u32, Prefix)> {
    let length = *payload.get(1)?;
    let link = u32::from_ne_bytes(payload.get(4..8)?.try_into().ok()?);
    let mut address = None;
    for attribute in attributes(payload.get(8..)?) {
        // On a point-to-point link IFA_ADDRESS is the far end; IFA_LOCAL, where present, is ours.
        match attribute.kind {
            IFA_LOCAL => address = from_octets(attribute.value),
            IFA_ADDRESS if address.is_none() => address = from_octets(attribute.value),
            _ => {}
        }
    }
    Some((link, Prefix::new(address?, length)))
}

fn parse_route(payload: &[u8]) -> Option<RouteFacts> {
    let (length, table, kind) = (*payload.get(1)?, *payload.get(4)?, *payload.get(7)?);
    if table != RT_TABLE_MAIN || kind != RTN_UNICAST {
        return None;
    }
    let mut route = RouteFacts { destination: None, gateway: None, link: None };
    for attribute in attributes(payload.get(12..)?) {
        match attribute.kind {
            RTA_DST => route.destination = from_octets(attribute.value).map(|address| Prefix::new(address, length)),
            RTA_GATEWAY => route.gateway = from_octets(attribute.value),
            RTA_OIF => route.link = attribute.u32(),
            _ => {}
        }
    }
    Some(route)
}
