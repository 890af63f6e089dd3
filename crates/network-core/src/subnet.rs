//! A network address with its prefix length; arithmetic for both families on 128-bit numbers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use errors::{ErrorKind, Kind};
use serde::{Deserialize, Serialize};

/// The network part of an address: the host bits are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    base: IpAddr,
    length: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address: {0}")]
pub struct SubnetError(pub String);

impl Kind for SubnetError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

impl Subnet {
    /// The subnet that `address` lies in. None where the prefix is longer than an address.
    pub fn of(address: IpAddr, length: u8) -> Option<Self> {
        let bits = width(address);
        if length > bits {
            return None;
        }
        let host_mask = low_bits(bits - length);
        Some(Self { base: from_number(to_number(address) & !host_mask, address.is_ipv4()), length })
    }

    pub fn base(&self) -> IpAddr {
        self.base
    }

    pub fn length(&self) -> u8 {
        self.length
    }

    pub fn is_ipv4(&self) -> bool {
        self.base.is_ipv4()
    }

    /// Number of addresses less one.
    pub(crate) fn last_offset(&self) -> u128 {
        low_bits(width(self.base) - self.length)
    }

    /// The address at that distance from the base, if it is inside.
    pub fn nth(&self, offset: u128) -> Option<IpAddr> {
        (offset <= self.last_offset()).then(|| from_number(to_number(self.base) + offset, self.is_ipv4()))
    }

    pub(crate) fn offset_of(&self, address: IpAddr) -> Option<u128> {
        self.contains(address).then(|| to_number(address) - to_number(self.base))
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        Self::of(address, self.length).is_some_and(|subnet| subnet == *self)
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        if self.is_ipv4() != other.is_ipv4() {
            return false;
        }
        if self.length <= other.length { self.contains(other.base) } else { other.contains(self.base) }
    }

    /// Where the first block of that size behind this subnet begins; none at the end of the address space.
    pub(crate) fn block_behind(&self, length: u8) -> Option<Self> {
        let next = to_number(self.base).checked_add(self.last_offset())?.checked_add(1)?;
        if next > low_bits(width(self.base)) {
            return None;
        }
        let size = low_bits(width(self.base) - length).checked_add(1)?;
        let aligned = next.checked_next_multiple_of(size)?;
        if aligned > low_bits(width(self.base)) {
            return None;
        }
        Some(Self { base: from_number(aligned, self.is_ipv4()), length })
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn low_bits(count: u8) -> u128 {
    if count == 0 { 0 } else { u128::MAX >> (128 - u32::from(count)) }
}

fn to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn from_number(number: u128, is_ipv4: bool) -> IpAddr {
    if is_ipv4 { IpAddr::V4(Ipv4Addr::from(number as u32)) } else { IpAddr::V6(Ipv6Addr::from(number)) }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.length)
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    /// Host bits that are set are dropped, as Go's `ParseCIDR` does for its network part.
    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let invalid = || SubnetError(text.chars().take(64).collect());
        let (address, length) = text.split_once('/').ok_or_else(invalid)?;
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let length: u8 = length.parse().map_err(|_| invalid())?;
        Self::of(address, length).ok_or_else(invalid)
    }
}

impl TryFrom<String> for Subnet {
    type Error = SubnetError;

    fn try_from(text: String) -> Result<Self, SubnetError> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().expect("a valid subnet")
    }

    #[test]
    fn host_bits_are_dropped() {
        assert_eq!(subnet("172.17.5.9/16").to_string(), "172.17.0.0/16");
        assert_eq!(subnet("fd00:1::5/64").to_string(), "fd00:1::/64");
    }

    #[test]
    fn subnets_overlap_when_one_holds_the_other() {
        assert!(subnet("10.0.0.0/8").overlaps(&subnet("10.200.0.0/16")));
        assert!(subnet("10.200.0.0/16").overlaps(&subnet("10.0.0.0/8")));
        assert!(!subnet("10.0.0.0/16").overlaps(&subnet("10.1.0.0/16")));
        assert!(!subnet("0.0.0.0/0").overlaps(&subnet("::/0")));
    }

    #[test]
    fn the_block_behind_is_aligned_to_its_own_size() {
        assert_eq!(subnet("172.17.3.0/24").block_behind(16), Some(subnet("172.18.0.0/16")));
        assert_eq!(subnet("255.255.0.0/16").block_behind(16), None);
        assert_eq!(subnet("::/0").block_behind(64), None);
    }

    #[test]
    fn nonsense_is_refused_and_cut_short_in_the_error() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/-1"] {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
        }
        let error = "x".repeat(1000).parse::<Subnet>().expect_err("no subnet");
        assert_eq!(error.0.len(), 64);
    }

    proptest::proptest! {
        #[test]
        fn every_address_of_a_subnet_is_inside_it(number: u32, length in 0u8..=32, offset: u32) {
            let subnet = Subnet::of(Ipv4Addr::from(number).into(), length).expect("length fits");
            let offset = u128::from(offset) & subnet.last_offset();
            let address = subnet.nth(offset).expect("offset fits");
            proptest::prop_assert!(subnet.contains(address));
            proptest::prop_assert_eq!(subnet.offset_of(address), Some(offset));
        }
    }
}
