//! What a kind of network is: a small trait, and the kinds that are built in.
//!
//! A driver decides and describes. It keeps nothing: everything is in the records and in the kernel, so that a restarted
//! daemon finds it again. Endpoints of all drivers go through one batch a namespace (`plumbing.rs`).

mod bridge;
mod vlan;

use std::os::fd::BorrowedFd;

use errors::ErrorKind;
use netlink::{Batch, Route};

use crate::error::Error;
use crate::record::NetworkRecord;
use crate::request::Endpoint;

pub(crate) use bridge::{enable_forwarding, segment_items};

/// Of all drivers with links.
const OPTION_MTU: &str = "com.docker.network.driver.mtu";
/// The kernel's limits of a link's MTU; Docker's 0 leaves the kernel's own value.
const MTU: std::ops::RangeInclusive<u32> = 68..=65535;

/// The link of the host that endpoints of one network (and segment) plug into, looked up anew each time: an index kept in
/// memory could be another link's by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Uplink {
    pub index: u32,
}

pub(crate) trait Driver: Sync {
    /// Reads the options into the record; refuses what cannot be. `others` are the networks that are there.
    fn configure(&self, record: &mut NetworkRecord, others: &[&NetworkRecord]) -> Result<(), Error>;

    /// Once, when the network is made; what it finds in the kernel goes into the record.
    fn adopt(&self, route: &Route, record: &mut NetworkRecord) -> Result<(), Error>;

    /// What endpoints plug into, if it stands ready: the way of every start. None: [`Driver::ensure`] is to see to it.
    fn find(&self, route: &Route, record: &NetworkRecord, segment: u16) -> Result<Option<Uplink>, Error>;

    /// Sees to it that what endpoints plug into is there. Idempotent.
    fn ensure(&self, route: &Route, record: &NetworkRecord, segment: u16) -> Result<Uplink, Error>;

    /// Takes away what the network has in the kernel. That it is gone already is no error.
    fn remove(&self, route: &Route, record: &NetworkRecord) -> Result<(), Error>;

    /// Adds the steps that make an endpoint's link, down, inside a namespace.
    fn link(
        &self,
        batch: &mut Batch,
        record: &NetworkRecord,
        uplink: Uplink,
        endpoint: &Endpoint,
        namespace: BorrowedFd<'_>,
    );
}

/// By the word of `docker network create --driver`; none: it is no driver of ours. `host` and `null` have nothing of their
/// own in the kernel.
pub(crate) fn find(name: &str) -> Option<&'static dyn Driver> {
    match name {
        "bridge" => Some(&bridge::Bridge),
        "macvlan" => Some(&vlan::Macvlan),
        "ipvlan" => Some(&vlan::Ipvlan),
        _ => None,
    }
}

/// An option that cannot be read.
pub(crate) fn invalid_option(key: &str, value: &str, why: &str) -> Error {
    let value: String = value.chars().take(64).collect();
    Error::docker(ErrorKind::InvalidArgument, format!("failed to parse {key} value: {value} ({why})"))
}

fn parse_mtu(text: &str) -> Result<u32, Error> {
    let is_number = text.strip_prefix(['+', '-']).unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(mtu) if mtu == 0 || MTU.contains(&mtu) => Ok(mtu),
        Err(_) if !is_number || text.is_empty() => {
            let why = format!("strconv.Atoi: parsing {text:?}: invalid syntax");
            Err(invalid_option(OPTION_MTU, text, &why))
        }
        _ => Err(invalid_option(OPTION_MTU, text, "no MTU of a link")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_mtu_is_what_a_link_can_have_or_the_kernels_own() {
        assert_eq!(
            (parse_mtu("0").ok(), parse_mtu("68").ok(), parse_mtu("65535").ok()),
            (Some(0), Some(68), Some(65535))
        );
        let told = |text: &str| parse_mtu(text).map_err(|error| error.to_string()).unwrap_err();
        let begins = "failed to parse com.docker.network.driver.mtu value: ";
        assert_eq!(told("abc"), format!("{begins}abc (strconv.Atoi: parsing \"abc\": invalid syntax)"));
        assert_eq!(told(""), format!("{begins} (strconv.Atoi: parsing \"\": invalid syntax)"));
        for text in ["67", "65536", "-1", "99999999999"] {
            assert_eq!(told(text), format!("{begins}{text} (no MTU of a link)"));
        }
    }
}
