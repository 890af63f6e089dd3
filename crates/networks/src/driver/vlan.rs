//! The `macvlan` and `ipvlan` drivers: links over a link of the host, which the outside sees as machines of their own.
//!
//! Docker's user guide, "Macvlan network driver", "IPvlan network driver"; the kernel's `uapi/linux/if_link.h`.

use std::os::fd::BorrowedFd;

use errors::ErrorKind;
use netlink::{Batch, Child, ChildKind, PeerPlace, Route};

use super::{Driver, OPTION_MTU, Uplink, parse_mtu};
use crate::error::Error;
use crate::record::{NetworkRecord, ParentRecord};
use crate::request::Endpoint;

const OPTION_PARENT: &str = "parent";

pub(crate) struct Macvlan;
pub(crate) struct Ipvlan;

impl Driver for Macvlan {
    fn configure(&self, record: &mut NetworkRecord, others: &[&NetworkRecord]) -> Result<(), Error> {
        let mode = record.options.get("macvlan_mode").cloned().unwrap_or_default();
        let mode = if mode.is_empty() { "bridge".to_owned() } else { mode };
        if !["bridge", "private", "vepa", "passthru"].contains(&mode.as_str()) {
            let message = format!(
                "requested macvlan mode '{}' is not valid, 'bridge' mode is the macvlan driver default",
                short(&mode)
            );
            return Err(Error::docker(ErrorKind::InvalidArgument, message));
        }
        let parent = parent_of(record, mode, String::new())?;
        let shares = |other: &&&NetworkRecord| {
            let both = other.parent.as_ref().filter(|theirs| theirs.link == parent.link);
            both.is_some_and(|theirs| theirs.mode == "passthru" || parent.mode == "passthru")
        };
        if let Some(other) = others.iter().find(shares) {
            let message = format!("network {} is already using parent interface {}", other.name, parent.link);
            return Err(Error::docker(ErrorKind::PermissionDenied, message));
        }
        record.parent = Some(parent);
        Ok(())
    }

    fn adopt(&self, route: &Route, record: &mut NetworkRecord) -> Result<(), Error> {
        adopt(route, record)
    }

    fn find(&self, route: &Route, record: &NetworkRecord, _segment: u16) -> Result<Option<Uplink>, Error> {
        ensure(route, record).map(Some)
    }

    fn ensure(&self, route: &Route, record: &NetworkRecord, _segment: u16) -> Result<Uplink, Error> {
        ensure(route, record)
    }

    fn remove(&self, route: &Route, record: &NetworkRecord) -> Result<(), Error> {
        remove(route, record)
    }

    fn link(
        &self,
        batch: &mut Batch,
        record: &NetworkRecord,
        uplink: Uplink,
        endpoint: &Endpoint,
        namespace: BorrowedFd<'_>,
    ) {
        let mode = match record.parent.as_ref().map(|parent| parent.mode.as_str()) {
            Some("private") => 1,
            Some("vepa") => 2,
            Some("passthru") => 8,
            _ => 4,
        };
        child(batch, record, uplink, endpoint, namespace, ChildKind::Macvlan { mode });
    }
}

impl Driver for Ipvlan {
    fn configure(&self, record: &mut NetworkRecord, _others: &[&NetworkRecord]) -> Result<(), Error> {
        let word = |key: &str, default: &str| {
            let word = record.options.get(key).map(String::as_str).unwrap_or_default();
            if word.is_empty() { default } else { word }.to_owned()
        };
        let (mode, flag) = (word("ipvlan_mode", "l2"), word("ipvlan_flag", "bridge"));
        if !["l2", "l3", "l3s"].contains(&mode.as_str()) {
            let message = format!(
                "requested ipvlan mode '{}' is not valid, 'l2' mode is the ipvlan driver default",
                short(&mode)
            );
            return Err(Error::docker(ErrorKind::InvalidArgument, message));
        }
        if !["bridge", "private", "vepa"].contains(&flag.as_str()) {
            let message =
                format!("requested ipvlan flag '{}' is not valid, 'bridge' is the ipvlan driver default", short(&flag));
            return Err(Error::docker(ErrorKind::InvalidArgument, message));
        }
        record.parent = Some(parent_of(record, mode, flag)?);
        Ok(())
    }

    fn adopt(&self, route: &Route, record: &mut NetworkRecord) -> Result<(), Error> {
        adopt(route, record)
    }

    fn find(&self, route: &Route, record: &NetworkRecord, _segment: u16) -> Result<Option<Uplink>, Error> {
        ensure(route, record).map(Some)
    }

    fn ensure(&self, route: &Route, record: &NetworkRecord, _segment: u16) -> Result<Uplink, Error> {
        ensure(route, record)
    }

    fn remove(&self, route: &Route, record: &NetworkRecord) -> Result<(), Error> {
        remove(route, record)
    }

    fn link(
        &self,
        batch: &mut Batch,
        record: &NetworkRecord,
        uplink: Uplink,
        endpoint: &Endpoint,
        namespace: BorrowedFd<'_>,
    ) {
        let parent = record.parent.as_ref();
        let mode = match parent.map(|parent| parent.mode.as_str()) {
            Some("l3") => 1,
            Some("l3s") => 2,
            _ => 0,
        };
        let flags = match parent.map(|parent| parent.flag.as_str()) {
            Some("private") => 1,
            Some("vepa") => 2,
            _ => 0,
        };
        child(batch, record, uplink, endpoint, namespace, ChildKind::Ipvlan { mode, flags });
    }
}

fn child(
    batch: &mut Batch,
    record: &NetworkRecord,
    uplink: Uplink,
    endpoint: &Endpoint,
    namespace: BorrowedFd<'_>,
    kind: ChildKind,
) {
    let place = PeerPlace { namespace, name: &endpoint.link, mac: endpoint.mac.0 };
    batch.create_child(&Child { parent: uplink.index, kind, mtu: Some(record.mtu).filter(|mtu| *mtu != 0), place });
}

fn parent_of(record: &mut NetworkRecord, mode: String, flag: String) -> Result<ParentRecord, Error> {
    if let Some(text) = record.options.get(OPTION_MTU) {
        record.mtu = parse_mtu(text)?;
    }
    let link = record.options.get(OPTION_PARENT).cloned().unwrap_or_default();
    if link == "lo" {
        let message = format!("loopback interface is not a valid {} parent link", record.driver);
        return Err(Error::docker(ErrorKind::InvalidArgument, message));
    }
    // Without a parent the network leads nowhere: the containers reach each other.
    if link.is_empty() {
        record.internal = true;
        return Ok(ParentRecord { link: dummy_name(record), mode, flag, is_ours: true });
    }
    Ok(ParentRecord { link, mode, flag, is_ours: false })
}

fn dummy_name(record: &NetworkRecord) -> String {
    format!("dm-{}", record.id.get(..12).unwrap_or(&record.id))
}

/// Makes the parent that is not there: a dummy, or the VLAN that `eth0.10` names.
fn adopt(route: &Route, record: &mut NetworkRecord) -> Result<(), Error> {
    let dummy = dummy_name(record);
    let Some(parent) = &mut record.parent else { return Ok(()) };
    if route.link_by_name(&parent.link)?.is_some() {
        return Ok(());
    }
    if parent.link != dummy {
        vlan_of(&parent.link)?;
    }
    parent.is_ours = true;
    ensure(route, record).map(drop)
}

fn ensure(route: &Route, record: &NetworkRecord) -> Result<Uplink, Error> {
    let invalid = |message: String| Error::docker(ErrorKind::InvalidArgument, message);
    let Some(parent) = &record.parent else {
        return Err(invalid(format!("network {} has no parent interface", record.name)));
    };
    if let Some(link) = route.link_by_name(&parent.link)? {
        if !link.up && parent.is_ours {
            let mut batch = Batch::new();
            batch.set_up(link.index);
            route.perform(&batch)?;
        }
        return Ok(Uplink { index: link.index });
    }
    if !parent.is_ours {
        return Err(invalid(format!("the parent interface {} does not exist on the host", short(&parent.link))));
    }
    let mut batch = Batch::new();
    if parent.link == dummy_name(record) {
        batch.create_dummy(&parent.link);
    } else {
        let (name, id) = vlan_of(&parent.link)?;
        let Some(master) = route.link_by_name(name)? else {
            return Err(invalid(format!("failed to find master interface {name} on the Docker host: Link not found")));
        };
        batch.create_vlan(&parent.link, master.index, id);
    }
    route.perform(&batch)?;
    match route.link_by_name(&parent.link)? {
        Some(link) => Ok(Uplink { index: link.index }),
        None => Err(Error::docker(ErrorKind::Internal, format!("link {} vanished", parent.link))),
    }
}

fn remove(route: &Route, record: &NetworkRecord) -> Result<(), Error> {
    let Some(parent) = record.parent.as_ref().filter(|parent| parent.is_ours) else { return Ok(()) };
    if let Some(link) = route.link_by_name(&parent.link)? {
        let mut batch = Batch::new();
        batch.delete_link(link.index);
        route.perform(&batch)?;
    }
    Ok(())
}

/// `eth0.10`.
fn vlan_of(name: &str) -> Result<(&str, u16), Error> {
    let invalid = |message: String| Error::docker(ErrorKind::InvalidArgument, message);
    let format = || invalid(format!("invalid subinterface vlan name {}, example formatting is eth0.10", short(name)));
    let (parent, id) = name.rsplit_once('.').filter(|(parent, _)| !parent.is_empty()).ok_or_else(format)?;
    let id: i64 = id.parse().map_err(|_| format())?;
    if name.len() > network_core::MAX_INTERFACE_NAME {
        return Err(format());
    }
    match u16::try_from(id) {
        Ok(id @ 1..=4094) => Ok((parent, id)),
        _ => Err(invalid(format!("vlan id must be between 1-4094, received: {id}"))),
    }
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(options: &[(&str, &str)]) -> NetworkRecord {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        NetworkRecord {
            id: "0123456789abcdef".repeat(4),
            options,
            driver: "macvlan".into(),
            ..NetworkRecord::default()
        }
    }

    #[test]
    fn vlans_are_named_after_their_link() {
        assert_eq!(vlan_of("eth0.10").ok(), Some(("eth0", 10)));
        assert_eq!(vlan_of("a.b.4094").ok(), Some(("a.b", 4094)));
        let words = |name: &str| vlan_of(name).expect_err("it is wrong").to_string();
        assert_eq!(words("eth0"), "invalid subinterface vlan name eth0, example formatting is eth0.10");
        assert_eq!(words("eth0.5000"), "vlan id must be between 1-4094, received: 5000");
    }

    #[test]
    fn modes_and_parents_are_read_or_refused_in_dockers_words() {
        let mut wrong = record(&[("macvlan_mode", "loud")]);
        assert_eq!(
            Macvlan.configure(&mut wrong, &[]).expect_err("no mode").to_string(),
            "requested macvlan mode 'loud' is not valid, 'bridge' mode is the macvlan driver default"
        );
        let mut loopback = record(&[("parent", "lo")]);
        assert!(Macvlan.configure(&mut loopback, &[]).is_err());
        let mut nowhere = record(&[]);
        Macvlan.configure(&mut nowhere, &[]).expect("a network of its own");
        assert!(nowhere.internal);
        assert_eq!(nowhere.parent.expect("a parent").link, "dm-0123456789ab");
        let mut l3 = record(&[("parent", "eth0"), ("ipvlan_mode", "l3"), ("ipvlan_flag", "vepa")]);
        Ipvlan.configure(&mut l3, &[]).expect("a mode");
        assert_eq!(l3.parent.map(|parent| (parent.mode, parent.flag)), Some(("l3".into(), "vepa".into())));
    }

    #[test]
    fn a_parent_that_is_passed_through_is_not_shared() {
        let mut first = record(&[("parent", "eth0"), ("macvlan_mode", "passthru")]);
        first.name = "first".into();
        Macvlan.configure(&mut first, &[]).expect("the first");
        let mut second = record(&[("parent", "eth0")]);
        let refused = Macvlan.configure(&mut second, &[&first]).expect_err("it is taken").to_string();
        assert_eq!(refused, "network first is already using parent interface eth0");
    }
}
