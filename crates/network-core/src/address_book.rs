//! The addresses of one subnet: gateway, what is given out, what is free. The lowest free address is given first.

use std::collections::BTreeSet;
use std::net::IpAddr;

use errors::{ErrorKind, Kind};

use crate::subnet::Subnet;

/// Who has which address of a subnet. Made anew from the endpoints' records after a restart.
#[derive(Debug, Clone)]
pub struct AddressBook {
    subnet: Subnet,
    /// Addresses are given from here only, unless asked for by name (`--ip-range`).
    range: Subnet,
    /// The network's own: never given out, never given back.
    reserved: BTreeSet<u128>,
    taken: BTreeSet<u128>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("no available IPv{} addresses on this network's address pools: {subnet}", if subnet.is_ipv4() { 4 } else { 6 })]
    Exhausted { subnet: Subnet },
    #[error("Address already in use")]
    InUse { address: IpAddr },
    #[error("no configured subnet contains IP address {address}")]
    Outside { address: IpAddr },
    #[error("invalid ip-range {range}: not in subnet {subnet}")]
    RangeOutside { range: Subnet, subnet: Subnet },
    #[error("subnet {subnet} is too small")]
    TooSmall { subnet: Subnet },
}

impl Kind for AddressError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Exhausted { .. } => ErrorKind::ResourceExhausted,
            Self::InUse { .. } => ErrorKind::PermissionDenied,
            Self::Outside { .. } | Self::RangeOutside { .. } | Self::TooSmall { .. } => ErrorKind::InvalidArgument,
        }
    }
}

impl AddressBook {
    /// `reserved` are the gateway, where there is one, and the auxiliary addresses.
    pub fn new(subnet: Subnet, range: Option<Subnet>, reserved: &[IpAddr]) -> Result<Self, AddressError> {
        if subnet.last_offset() < 2 {
            return Err(AddressError::TooSmall { subnet });
        }
        let range = range.unwrap_or(subnet);
        if range.length() < subnet.length() || !subnet.contains(range.base()) {
            return Err(AddressError::RangeOutside { range, subnet });
        }
        // The network's own address; in IPv4 also the broadcast address.
        let mut own = BTreeSet::from([0]);
        if subnet.is_ipv4() {
            own.insert(subnet.last_offset());
        }
        for address in reserved {
            let offset = subnet.offset_of(*address).ok_or(AddressError::Outside { address: *address })?;
            if !own.insert(offset) {
                return Err(AddressError::InUse { address: *address });
            }
        }
        Ok(Self { subnet, range, taken: own.clone(), reserved: own })
    }

    pub fn subnet(&self) -> Subnet {
        self.subnet
    }

    /// Takes the lowest free address of the range.
    pub fn take_next(&mut self) -> Result<IpAddr, AddressError> {
        let exhausted = AddressError::Exhausted { subnet: self.subnet };
        let first = self.subnet.offset_of(self.range.base()).ok_or_else(|| exhausted.clone())?;
        let last = first + self.range.last_offset();
        let mut free = first;
        for taken in self.taken.range(first..=last) {
            if *taken != free {
                break;
            }
            free += 1;
        }
        if free > last {
            return Err(exhausted);
        }
        self.taken.insert(free);
        self.subnet.nth(free).ok_or(exhausted)
    }

    /// Takes this very address.
    pub fn take(&mut self, address: IpAddr) -> Result<(), AddressError> {
        let offset = self.subnet.offset_of(address).ok_or(AddressError::Outside { address })?;
        if self.taken.insert(offset) { Ok(()) } else { Err(AddressError::InUse { address }) }
    }

    /// Gives an address back. The network's own ones stay taken.
    pub fn release(&mut self, address: IpAddr) {
        let Some(offset) = self.subnet.offset_of(address) else { return };
        if !self.reserved.contains(&offset) {
            self.taken.remove(&offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(subnet: &str) -> AddressBook {
        let subnet: Subnet = subnet.parse().expect("a subnet");
        let gateway = subnet.nth(1).expect("a first address");
        AddressBook::new(subnet, None, &[gateway]).expect("a book")
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn containers_follow_the_gateway() {
        let mut book = book("172.17.0.0/16");
        assert_eq!(book.take_next(), Ok(address("172.17.0.2")));
        assert_eq!(book.take_next(), Ok(address("172.17.0.3")));
        book.release(address("172.17.0.2"));
        assert_eq!(book.take_next(), Ok(address("172.17.0.2")));
    }

    #[test]
    fn a_static_address_is_given_once() {
        let mut book = book("10.0.0.0/24");
        assert_eq!(book.take(address("10.0.0.2")), Ok(()));
        assert_eq!(book.take(address("10.0.0.2")), Err(AddressError::InUse { address: address("10.0.0.2") }));
        assert_eq!(book.take_next(), Ok(address("10.0.0.3")));
        assert!(matches!(book.take(address("10.0.1.2")), Err(AddressError::Outside { .. })));
    }

    #[test]
    fn a_full_subnet_says_so_and_reserved_addresses_stay() {
        let mut book = book("10.0.0.0/30");
        assert_eq!(book.take_next(), Ok(address("10.0.0.2")));
        assert!(matches!(book.take_next(), Err(AddressError::Exhausted { .. })));
        for reserved in ["10.0.0.0", "10.0.0.1", "10.0.0.3"] {
            book.release(address(reserved));
        }
        assert!(book.take_next().is_err());
    }

    #[test]
    fn auxiliary_addresses_stay_free_and_twice_is_refused() {
        let subnet = "10.0.0.0/24".parse().expect("a subnet");
        let mut book = AddressBook::new(subnet, None, &[address("10.0.0.2"), address("10.0.0.1")]).expect("a book");
        assert_eq!(book.take_next(), Ok(address("10.0.0.3")));
        assert!(AddressBook::new(subnet, None, &[address("10.0.0.2"), address("10.0.0.2")]).is_err());
        assert!(AddressBook::new(subnet, None, &[address("10.0.1.2")]).is_err());
    }

    #[test]
    fn addresses_come_from_the_range_only() {
        let range = "10.0.0.128/30".parse().expect("a subnet");
        let mut book = AddressBook::new("10.0.0.0/24".parse().expect("a subnet"), Some(range), &[]).expect("a book");
        let given: Vec<_> = std::iter::from_fn(|| book.take_next().ok()).map(|address| address.to_string()).collect();
        assert_eq!(given, ["10.0.0.128", "10.0.0.129", "10.0.0.130", "10.0.0.131"]);
    }

    #[test]
    fn a_large_ipv6_subnet_needs_no_loop() {
        let mut book = book("fd00::/64");
        assert_eq!(book.take_next(), Ok(address("fd00::2")));
        assert!(AddressBook::new("10.0.0.0/31".parse().expect("a subnet"), None, &[]).is_err());
    }
}
