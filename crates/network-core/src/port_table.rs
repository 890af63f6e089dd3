//! Which host ports are published, so that two containers never get the same one.
//!
//! The sockets that docker-netd holds decide about programs outside; this table decides between containers, before any
//! socket is opened, and finds a free port where any will do.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use errors::{ErrorKind, Kind};

use crate::port::{PortRange, Protocol};

/// One address, protocol and port of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Binding {
    pub address: IpAddr,
    pub protocol: Protocol,
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortConflict {
    #[error("Bind for {address}:{port} failed: port is already allocated")]
    Allocated { address: String, port: u16 },
    #[error("all ports are allocated")]
    Exhausted,
}

impl Kind for PortConflict {
    // Docker answers 500 for both.
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

/// Host addresses by protocol and port.
#[derive(Debug, Default)]
pub struct PortTable {
    taken: HashMap<(Protocol, u16), Vec<IpAddr>>,
    /// Where the next search for a free port begins: a port just given back is not the next one given out.
    cursor: u16,
}

impl PortTable {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one port on all the addresses at once, the first that is free on each of them.
    pub fn take(
        &mut self,
        addresses: &[IpAddr],
        protocol: Protocol,
        wanted: Option<PortRange>,
        ephemeral: PortRange,
        is_refused: impl Fn(u16) -> bool,
    ) -> Result<u16, PortConflict> {
        let range = wanted.unwrap_or(ephemeral);
        let count = u32::from(range.last - range.first) + 1;
        let start = match wanted {
            Some(_) => 0,
            None => u32::from(self.cursor.saturating_sub(range.first)) % count,
        };
        let free = (0..count)
            .map(|step| range.first + ((start + step) % count) as u16)
            .find(|port| !is_refused(*port) && addresses.iter().all(|address| self.is_free(*address, protocol, *port)));
        let Some(port) = free else {
            return Err(match wanted {
                Some(range) if range.first == range.last => {
                    PortConflict::Allocated { address: show(addresses), port: range.first }
                }
                _ => PortConflict::Exhausted,
            });
        };
        if wanted.is_none() {
            self.cursor = port.checked_add(1).unwrap_or(range.first);
        }
        self.taken.entry((protocol, port)).or_default().extend_from_slice(addresses);
        Ok(port)
    }

    /// Puts back what a record says; used when the daemon finds its containers again.
    pub fn restore(&mut self, binding: Binding) {
        let holders = self.taken.entry((binding.protocol, binding.port)).or_default();
        if !holders.contains(&binding.address) {
            holders.push(binding.address);
        }
    }

    pub fn release(&mut self, binding: Binding) {
        if let Some(holders) = self.taken.get_mut(&(binding.protocol, binding.port)) {
            holders.retain(|address| *address != binding.address);
            if holders.is_empty() {
                self.taken.remove(&(binding.protocol, binding.port));
            }
        }
    }

    fn is_free(&self, address: IpAddr, protocol: Protocol, port: u16) -> bool {
        self.taken.get(&(protocol, port)).is_none_or(|holders| !holders.iter().any(|held| collides(*held, address)))
    }
}

/// An unspecified address covers all of its family.
fn collides(held: IpAddr, wanted: IpAddr) -> bool {
    held == wanted || (held.is_ipv4() == wanted.is_ipv4() && (held.is_unspecified() || wanted.is_unspecified()))
}

fn show(addresses: &[IpAddr]) -> String {
    match addresses.first() {
        Some(IpAddr::V6(address)) if *address != Ipv6Addr::UNSPECIFIED => format!("[{address}]"),
        Some(IpAddr::V6(_)) => "[::]".to_owned(),
        Some(IpAddr::V4(address)) => address.to_string(),
        None => Ipv4Addr::UNSPECIFIED.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPHEMERAL: PortRange = PortRange { first: 32768, last: 60999 };
    const ANY4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    const LOOP4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn take(table: &mut PortTable, address: IpAddr, first: u16, last: u16) -> Result<u16, PortConflict> {
        table.take(&[address], Protocol::Tcp, Some(PortRange { first, last }), EPHEMERAL, |_| false)
    }

    #[test]
    fn a_port_is_published_once_in_dockers_words() {
        let mut table = PortTable::new();
        assert_eq!(take(&mut table, ANY4, 80, 80), Ok(80));
        let error = take(&mut table, ANY4, 80, 80).expect_err("the port is taken");
        assert_eq!(error.to_string(), "Bind for 0.0.0.0:80 failed: port is already allocated");
    }

    #[test]
    fn all_addresses_collide_with_each_single_one() {
        let mut table = PortTable::new();
        assert_eq!(take(&mut table, LOOP4, 80, 80), Ok(80));
        assert_eq!(take(&mut table, IpAddr::from([10, 0, 0, 1]), 80, 80), Ok(80));
        assert!(take(&mut table, ANY4, 80, 80).is_err());
        assert_eq!(take(&mut table, IpAddr::V6(Ipv6Addr::UNSPECIFIED), 80, 80), Ok(80));
        table.release(Binding { address: LOOP4, protocol: Protocol::Tcp, port: 80 });
        assert_eq!(take(&mut table, LOOP4, 80, 80), Ok(80));
    }

    #[test]
    fn a_range_gives_its_first_free_port_and_then_says_that_all_are_taken() {
        let mut table = PortTable::new();
        assert_eq!(take(&mut table, ANY4, 8000, 8001), Ok(8000));
        assert_eq!(take(&mut table, ANY4, 8000, 8001), Ok(8001));
        assert_eq!(take(&mut table, ANY4, 8000, 8001), Err(PortConflict::Exhausted));
    }

    #[test]
    fn any_port_moves_on_and_skips_what_the_host_refused() {
        let mut table = PortTable::new();
        let mut any = |refused: u16| table.take(&[ANY4], Protocol::Tcp, None, EPHEMERAL, |port| port == refused);
        assert_eq!(any(0), Ok(32768));
        assert_eq!(any(32769), Ok(32770));
    }
}
