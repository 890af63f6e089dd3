//! Containers ask for sandboxes, the networks service makes them.

use std::net::IpAddr;

use async_trait::async_trait;
use container_core::{EndpointRequest, PortBinding};
use containers::{
    Acquired, Endpoint, LiveSandbox, PortError, PublishedPort, Sandbox, SandboxMode, SandboxRequest, Sandboxes,
};
use errors::{ErrorKind, Kind};
use networks::{Address, Networks, Overrides, Publish, parse_container_port, parse_host_port};

use crate::options::Config;

/// The networks service, as containers see it, with the configuration's defaults for who asks for nothing of his own.
pub struct NetworkSandboxes {
    networks: Networks,
    defaults: Defaults,
    /// `--bridge none`.
    has_no_bridge: bool,
}

/// `--dns`, `--dns-opt`, `--dns-search`, `--host-gateway-ip`.
struct Defaults {
    servers: Vec<IpAddr>,
    search: Vec<String>,
    options: Vec<String>,
    gateways: Vec<IpAddr>,
}

impl NetworkSandboxes {
    pub fn new(networks: Networks, config: &Config) -> Self {
        let defaults = Defaults {
            servers: config.dns.clone(),
            search: config.dns_search.clone(),
            options: config.dns_opts.clone(),
            gateways: config.host_gateway_ips.clone(),
        };
        Self { networks, defaults, has_no_bridge: config.bridge.as_deref() == Some("none") }
    }

    /// Who wants the default bridge where there is none has the others that he wants, or the loopback alone, as in Docker.
    fn without_bridge(&self, mut request: SandboxRequest) -> SandboxRequest {
        if self.has_no_bridge && matches!(request.mode, SandboxMode::Networks) {
            request.endpoints.retain(|endpoint| endpoint.network != "bridge");
            if request.endpoints.is_empty() {
                request.mode = SandboxMode::None;
            }
        }
        request
    }
}

impl Defaults {
    fn fill(&self, request: &mut networks::SandboxRequest) {
        let names = &mut request.dns;
        if names.servers.is_empty() {
            names.servers.clone_from(&self.servers);
        }
        if names.search.is_empty() {
            names.search.clone_from(&self.search);
        }
        if names.options.is_empty() {
            names.options.clone_from(&self.options);
        }
        if !self.gateways.is_empty() {
            let hosts = std::mem::take(&mut request.extra_hosts);
            request.extra_hosts = hosts.into_iter().flat_map(|host| self.gateway_hosts(host)).collect();
        }
    }

    /// `name:host-gateway` as one line an address.
    fn gateway_hosts(&self, host: String) -> Vec<String> {
        match host.strip_suffix("host-gateway") {
            Some(name) if name.ends_with([':', '=']) => {
                self.gateways.iter().map(|address| format!("{name}{address}")).collect()
            }
            _ => vec![host],
        }
    }
}

#[async_trait]
impl Sandboxes for NetworkSandboxes {
    fn expect(&self) {
        self.networks.expect_sandbox();
    }

    async fn acquire(&self, request: SandboxRequest) -> Result<Acquired, PortError> {
        let mut request = to_networks(self.without_bridge(request))?;
        self.defaults.fill(&mut request);
        let begun = self.networks.begin(request).await.map_err(refused)?;
        let sandbox = from_networks(begun.sandbox().clone());
        Ok(Acquired { sandbox, complete: Box::pin(async { begun.complete().await.map(drop).map_err(refused) }) })
    }

    async fn release(&self, container_id: &str) -> Result<(), PortError> {
        self.networks.release(container_id).await.map_err(refused)
    }

    async fn restore(&self, live: &[LiveSandbox]) -> Result<(), PortError> {
        let live = live.iter().map(|sandbox| networks::Live {
            container_id: sandbox.container_id.clone(),
            networks: sandbox.networks.clone(),
        });
        self.networks.restore(&live.collect::<Vec<_>>()).await.map_err(refused)
    }

    async fn current(&self, container_id: &str) -> Option<Sandbox> {
        self.networks.sandbox(container_id).map(from_networks)
    }

    async fn rename(&self, container_id: &str, name: &str) -> Result<(), PortError> {
        self.networks.rename(container_id, name).await.map_err(refused)
    }

    async fn connect(&self, container_id: &str, wanted: EndpointRequest) -> Result<Sandbox, PortError> {
        let sandbox = self.networks.connect(container_id, endpoint(wanted)?).await.map_err(refused)?;
        Ok(from_networks(sandbox))
    }

    async fn disconnect(&self, container_id: &str, network: &str) -> Result<Sandbox, PortError> {
        let sandbox = self.networks.disconnect(container_id, network).await.map_err(refused)?;
        Ok(from_networks(sandbox))
    }

    async fn check(&self, wanted: &EndpointRequest) -> Result<(), PortError> {
        self.networks.check(endpoint(wanted.clone())?).await.map_err(refused)
    }
}

fn refused<E: Kind + std::error::Error + 'static>(error: E) -> PortError {
    PortError { kind: error.kind(), message: errors::chain(&error) }
}

fn invalid(what: &str, text: &str) -> PortError {
    PortError { kind: ErrorKind::InvalidArgument, message: format!("invalid {what}: {text}") }
}

fn to_networks(request: SandboxRequest) -> Result<networks::SandboxRequest, PortError> {
    let mode = match request.mode {
        SandboxMode::Host => networks::SandboxMode::Host,
        SandboxMode::None => networks::SandboxMode::None,
        SandboxMode::Container(id) => networks::SandboxMode::Container(id),
        SandboxMode::Networks => {
            networks::SandboxMode::Networks(request.endpoints.into_iter().map(endpoint).collect::<Result<_, _>>()?)
        }
    };
    let servers = request.dns.iter().map(|text| text.parse().map_err(|_| invalid("DNS server", text)));
    Ok(networks::SandboxRequest {
        container_id: request.container_id,
        name: request.name,
        hostname: request.hostname,
        domainname: request.domainname,
        mode,
        publish: request.published.into_iter().map(publish).collect::<Result<_, _>>()?,
        // Exposing is saying: what nobody could publish is no mistake.
        exposed: request.exposed.iter().filter_map(|port| parse_container_port(port).ok()).collect(),
        dns: Overrides {
            servers: servers.collect::<Result<_, _>>()?,
            search: request.dns_search,
            options: request.dns_options,
        },
        extra_hosts: request.extra_hosts,
        users: request.users,
    })
}

fn endpoint(wanted: EndpointRequest) -> Result<networks::EndpointRequest, PortError> {
    let address = |text: Option<String>, family: &str| {
        let wrong = |text: &str| PortError {
            kind: ErrorKind::InvalidArgument,
            message: format!("invalid endpoint settings:\ninvalid {family} address: {text}"),
        };
        text.map(|text| text.parse().map_err(|_| wrong(&text))).transpose()
    };
    Ok(networks::EndpointRequest {
        network: wanted.network,
        aliases: wanted.aliases,
        ipv4: address(wanted.ipv4, "IPv4")?,
        ipv6: address(wanted.ipv6, "IPv6")?,
        mac: wanted.mac.map(|text| text.parse().map_err(refused)).transpose()?,
        link_local: wanted
            .link_local
            .iter()
            .map(|text| text.parse().map_err(|_| invalid("link-local IP address", text)))
            .collect::<Result<_, _>>()?,
        gateway_priority: wanted.gateway_priority,
        links: wanted.links,
        driver_options: wanted.driver_options,
    })
}

fn publish(binding: PortBinding) -> Result<Publish, PortError> {
    let (container_port, protocol) = parse_container_port(&binding.container).map_err(refused)?;
    let host_address = match binding.host_ip.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| invalid("host address", text))?),
    };
    let host_ports = parse_host_port(&binding.host_port).map_err(refused)?;
    Ok(Publish { container_port, protocol, host_address, host_ports })
}

fn from_networks(sandbox: networks::Sandbox) -> Sandbox {
    let published = sandbox.ports.iter().map(|port| PublishedPort {
        container: format!("{}/{}", port.container_port, port.protocol),
        host_ip: port.host_address.to_string(),
        host_port: port.host_port,
    });
    let routed = sandbox.open_ports.iter().map(|port| PublishedPort {
        container: format!("{}/{}", port.port, port.protocol),
        host_ip: if port.address.is_ipv4() { "0.0.0.0".to_owned() } else { "::".to_owned() },
        host_port: 0,
    });
    Sandbox {
        netns_path: sandbox.netns_path.clone(),
        endpoints: sandbox.endpoints.iter().map(from_endpoint).collect(),
        published: published.chain(routed).collect(),
        resolv_conf: sandbox.resolv_conf.clone(),
        hosts: sandbox.hosts.clone(),
    }
}

fn from_endpoint(endpoint: &networks::Endpoint) -> Endpoint {
    let text = |address: Option<Address>| address.map(|a| a.address.to_string()).unwrap_or_default();
    let gateway = |address: Option<Address>| {
        address.and_then(|a| a.gateway).map(|gateway| gateway.to_string()).unwrap_or_default()
    };
    let prefix = |address: Option<Address>| address.map_or(0, |a| a.prefix);
    Endpoint {
        network_name: endpoint.network_name.clone(),
        network_id: endpoint.network_id.clone(),
        endpoint_id: endpoint.endpoint_id.clone(),
        mac: endpoint.mac.to_string(),
        ipv4: text(endpoint.ipv4),
        ipv4_prefix: prefix(endpoint.ipv4),
        gateway: gateway(endpoint.ipv4),
        ipv6: text(endpoint.ipv6),
        ipv6_prefix: prefix(endpoint.ipv6),
        ipv6_gateway: gateway(endpoint.ipv6),
        aliases: endpoint.aliases.clone(),
        dns_names: endpoint.dns_names.clone(),
    }
}
