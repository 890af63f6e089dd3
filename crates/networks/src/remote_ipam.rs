//! Addresses that a plugin manages: Docker's remote IPAM protocol (`libnetwork/docs/ipam.md`).
//!
//! A plugin's pool is a subnet of the network, and its addresses are taken in our book too, so that everything else is as
//! with our own. Calls are made without a lock, before addresses are needed and after they are given back.
//!
//! What a plugin has given to a daemon that died before it could write it down stays given until its pool goes: the
//! protocol knows no question for what is given, and no name that a request could be repeated by.

use std::collections::BTreeMap;
use std::net::IpAddr;

use errors::ErrorKind;
use network_core::{Subnet, ipam};
use serde::Deserialize;
use serde_json::json;

use crate::error::Error;
use crate::record::{IpamRecord, NetworkRecord, SubnetRecord};
use crate::request::{Endpoint, EndpointRequest, SandboxMode, SandboxRequest};
use crate::service::Inner;

const IPAM_DRIVER: &str = "IpamDriver";
const REQUEST_TYPE: &str = "RequestAddressType";
const GATEWAY: &str = "com.docker.network.gateway";

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Spaces {
    local_default_address_space: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Pool {
    #[serde(rename = "PoolID")]
    id: String,
    #[serde(rename = "Pool")]
    subnet: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Addressed {
    address: String,
}

/// A network, and an address of it that a plugin gave.
pub(crate) type Given = (String, IpAddr);

impl IpamRecord {
    pub(crate) fn is_remote(&self) -> bool {
        !matches!(self.driver.as_str(), "" | "default" | "null")
    }

    /// Nobody manages addresses: a plugin that makes the endpoints may give some.
    pub(crate) fn is_null(&self) -> bool {
        self.driver == "null"
    }
}

impl Inner {
    /// Pools for a new network, with their gateways. On an error none is kept.
    pub(crate) fn request_pools(
        &self,
        record: &NetworkRecord,
        asked: &[ipam::Pool],
    ) -> Result<Vec<SubnetRecord>, Error> {
        let driver = &record.ipam.driver;
        let spaces: Spaces = self.remote.call(driver, IPAM_DRIVER, "GetDefaultAddressSpaces", &json!({}))?;
        let mut wanted: Vec<(bool, Option<&ipam::Pool>)> =
            asked.iter().map(|pool| (pool.subnet.is_ipv4(), Some(pool))).collect();
        for (is_ipv4, is_enabled) in [(true, record.enable_ipv4), (false, record.enable_ipv6)] {
            if is_enabled && !wanted.iter().any(|(family, _)| *family == is_ipv4) {
                wanted.push((is_ipv4, None));
            }
        }
        let mut subnets = Vec::new();
        for (is_ipv4, pool) in wanted {
            match self.request_pool(record, &spaces.local_default_address_space, is_ipv4, pool) {
                Ok(subnet) => subnets.push(subnet),
                Err(error) => {
                    self.release_pools(record, &subnets);
                    return Err(error);
                }
            }
        }
        Ok(subnets)
    }

    fn request_pool(
        &self,
        record: &NetworkRecord,
        space: &str,
        is_ipv4: bool,
        asked: Option<&ipam::Pool>,
    ) -> Result<SubnetRecord, Error> {
        let driver = &record.ipam.driver;
        let argument = json!({
            "AddressSpace": space,
            "Pool": asked.map(|pool| pool.subnet.to_string()).unwrap_or_default(),
            "SubPool": asked.and_then(|pool| pool.range).map(|range| range.to_string()).unwrap_or_default(),
            "Options": record.ipam.options.clone().unwrap_or_default(),
            "V6": !is_ipv4,
        });
        let pool: Pool = self.remote.call(driver, IPAM_DRIVER, "RequestPool", &argument)?;
        let subnet: Subnet = pool.subnet.parse().map_err(|_| invalid("pool", &pool.subnet))?;
        let mut found = SubnetRecord {
            subnet,
            range: asked.and_then(|pool| pool.range),
            gateway: None,
            bridge_address: None,
            auxiliary: asked.map(|pool| pool.auxiliary.clone()).unwrap_or_default(),
            pool: Some(pool.id),
        };
        let options = BTreeMap::from([(REQUEST_TYPE, GATEWAY)]);
        let given = self.request_address(driver, &found, asked.and_then(|pool| pool.gateway), &options);
        match given {
            Ok(gateway) if subnet.contains(gateway) && subnet.is_ipv4() == is_ipv4 => {
                found.gateway = Some(gateway);
                Ok(found)
            }
            other => {
                self.release_pools(record, std::slice::from_ref(&found));
                other.and_then(|gateway| Err(invalid("gateway", &gateway.to_string())))
            }
        }
    }

    fn request_address(
        &self,
        driver: &str,
        subnet: &SubnetRecord,
        wanted: Option<IpAddr>,
        options: &BTreeMap<&str, &str>,
    ) -> Result<IpAddr, Error> {
        let wanted = wanted.map(|address| address.to_string()).unwrap_or_default();
        let argument = json!({ "PoolID": subnet.pool, "Address": wanted, "Options": options });
        let given: Addressed = self.remote.call(driver, IPAM_DRIVER, "RequestAddress", &argument)?;
        let address = given.address.split('/').next().unwrap_or_default();
        address.parse().map_err(|_| invalid("address", &given.address))
    }

    /// Gives back a network's pools and their gateways.
    pub(crate) fn release_pools(&self, record: &NetworkRecord, subnets: &[SubnetRecord]) {
        for subnet in subnets.iter().filter(|subnet| subnet.pool.is_some()) {
            if let Some(gateway) = subnet.gateway {
                self.give_back(record, subnet, gateway);
            }
            let argument = json!({ "PoolID": subnet.pool });
            self.remote.bid_goodbye(&record.ipam.driver, IPAM_DRIVER, &["ReleasePool"], &argument);
        }
    }

    fn give_back(&self, record: &NetworkRecord, subnet: &SubnetRecord, address: IpAddr) {
        let argument = json!({ "PoolID": subnet.pool, "Address": address.to_string() });
        self.remote.bid_goodbye(&record.ipam.driver, IPAM_DRIVER, &["ReleaseAddress"], &argument);
    }

    fn managed_by_plugin(&self, network: &str) -> Option<NetworkRecord> {
        let state = self.state();
        let record = &state.find(network).ok()?.record;
        record.ipam.is_remote().then(|| record.clone())
    }

    /// The request with addresses that plugins gave, where they give any; the second says which, so that they can be given
    /// back.
    pub(crate) fn with_addresses(
        &self,
        request: &SandboxRequest,
    ) -> Result<(Option<SandboxRequest>, Vec<Given>), Error> {
        let mut given = Vec::new();
        let SandboxMode::Networks(endpoints) = &request.mode else { return Ok((None, given)) };
        if !endpoints.iter().any(|endpoint| self.managed_by_plugin(&endpoint.network).is_some()) {
            return Ok((None, given));
        }
        let mut endpoints = endpoints.clone();
        for endpoint in &mut endpoints {
            if let Err(error) = self.fill_addresses(endpoint, &mut given) {
                self.give_back_all(&given);
                return Err(error);
            }
        }
        Ok((Some(SandboxRequest { mode: SandboxMode::Networks(endpoints), ..request.clone() }), given))
    }

    pub(crate) fn fill_addresses(&self, endpoint: &mut EndpointRequest, given: &mut Vec<Given>) -> Result<(), Error> {
        let Some(record) = self.managed_by_plugin(&endpoint.network) else { return Ok(()) };
        for is_ipv4 in [true, false] {
            let Some(subnet) = record.subnets.iter().find(|subnet| subnet.subnet.is_ipv4() == is_ipv4) else {
                continue;
            };
            let wanted = if is_ipv4 { &mut endpoint.ipv4 } else { &mut endpoint.ipv6 };
            let address = self.request_address(&record.ipam.driver, subnet, *wanted, &BTreeMap::new())?;
            given.push((record.id.clone(), address));
            *wanted = Some(address);
        }
        Ok(())
    }

    pub(crate) fn give_back_all(&self, given: &[Given]) {
        for (network, address) in given {
            let Some(record) = self.managed_by_plugin(network) else { continue };
            if let Some(subnet) = record.subnets.iter().find(|subnet| subnet.subnet.contains(*address)) {
                self.give_back(&record, subnet, *address);
            }
        }
    }

    /// An endpoint that goes has addresses of plugins.
    pub(crate) fn give_back_addresses(&self, endpoint: &Endpoint) {
        let given: Vec<Given> =
            endpoint.addresses().into_iter().map(|address| (endpoint.network_id.clone(), address)).collect();
        self.give_back_all(&given);
    }
}

fn invalid(what: &str, text: &str) -> Error {
    let text: String = text.chars().take(64).collect();
    Error::docker(ErrorKind::Internal, format!("the plugin answered an invalid {what}: {text:?}"))
}
