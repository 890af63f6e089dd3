//! `GET /containers/x/json`: what the service knows becomes the wire's answer.

use std::collections::BTreeMap;

use container_core::health::{Health, ProbeResult};
use container_core::{MountPoint, NetworkMode, State, rfc3339};
use containers::{ContainerView, Endpoint, GraphDirs, Sandbox};
use engine_api::Empty;
use engine_api::container as wire;
use engine_api::host_config as wire_host;
use engine_api::mount as wire_mount;
use engine_api::network::{EndpointIpamConfig, EndpointSettings, PortBinding};

pub fn to_wire(view: ContainerView) -> wire::Inspect {
    let mut words = view.args.iter();
    let path = words.next().cloned().unwrap_or_default();
    let args = words.cloned().collect();
    let networks = network_settings(&view);
    wire::Inspect {
        created: rfc3339(Some(view.created)),
        path,
        args,
        state: wire::State { health: view.health.as_ref().map(health), ..state(&view.state) },
        image: view.image_id.clone(),
        resolv_conf_path: view.files.resolv_conf.clone(),
        hostname_path: view.files.hostname.clone(),
        hosts_path: view.files.hosts.clone(),
        log_path: view.files.log.clone(),
        name: format!("/{}", view.name),
        restart_count: i64::from(view.restart_count),
        driver: "overlay2".to_owned(),
        platform: "linux".to_owned(),
        exec_ids: Some(view.exec_ids.clone()).filter(|ids| !ids.is_empty()),
        host_config: super::host_config::to_wire(&view.host_config),
        graph_driver: wire::DriverData { data: view.graph.as_ref().map(graph), name: "overlay2".to_owned() },
        mounts: view.mounts.iter().map(mount).collect(),
        config: config(&view),
        network_settings: networks,
        id: view.id,
        ..wire::Inspect::default()
    }
}

fn graph(dirs: &GraphDirs) -> BTreeMap<String, String> {
    let merged = dirs.upper.strip_suffix("/fs").map(|base| format!("{base}/merged")).unwrap_or_default();
    let pairs = [("LowerDir", &dirs.lower), ("UpperDir", &dirs.upper), ("WorkDir", &dirs.work), ("MergedDir", &merged)];
    pairs.into_iter().filter(|(_, path)| !path.is_empty()).map(|(key, path)| (key.to_owned(), path.clone())).collect()
}

/// The wire's booleans from the one state.
pub fn state(state: &State) -> wire::State {
    wire::State {
        status: state.word().to_owned(),
        running: state.counts_as_running(),
        paused: matches!(state, State::Paused { .. }),
        restarting: matches!(state, State::Restarting { .. }),
        oom_killed: state.oom_killed(),
        dead: matches!(state, State::Dead { .. }),
        pid: i64::from(state.pid()),
        exit_code: i64::from(state.exit_code()),
        error: state.error().to_owned(),
        started_at: rfc3339(state.started()),
        finished_at: rfc3339(state.finished()),
        health: None,
    }
}

fn health(health: &Health) -> wire::Health {
    let result = |probe: &ProbeResult| wire::HealthResult {
        start: rfc3339(Some(probe.start)),
        end: rfc3339(Some(probe.end)),
        exit_code: i64::from(probe.code),
        output: probe.output.clone(),
    };
    wire::Health {
        status: health.status.as_str().to_owned(),
        failing_streak: i64::from(health.failing_streak),
        log: health.log.iter().map(result).collect(),
    }
}

fn config(view: &ContainerView) -> wire::Config {
    let config = &view.config;
    let set = |keys: &std::collections::BTreeSet<String>| {
        let map: BTreeMap<String, Empty> = keys.iter().map(|key| (key.clone(), Empty {})).collect();
        Some(map).filter(|map| !map.is_empty())
    };
    wire::Config {
        hostname: config.hostname.clone(),
        domainname: config.domainname.clone(),
        user: config.user.clone(),
        attach_stdin: config.attach_stdin,
        attach_stdout: config.attach_stdout,
        attach_stderr: config.attach_stderr,
        exposed_ports: set(&config.exposed_ports),
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        env: Some(config.env.clone()).filter(|env| !env.is_empty()),
        cmd: config.cmd.clone().map(Into::into),
        healthcheck: config.healthcheck.as_ref().map(healthcheck),
        image: config.image.clone(),
        volumes: set(&config.volumes),
        working_dir: config.working_dir.clone(),
        entrypoint: config.entrypoint.clone().map(Into::into),
        network_disabled: config.network_disabled,
        labels: Some(config.labels.clone()),
        stop_signal: config.stop_signal.clone().unwrap_or_default(),
        stop_timeout: config.stop_timeout_s,
        args_escaped: config.args_escaped,
        on_build: Some(config.on_build.clone()).filter(|triggers| !triggers.is_empty()),
        shell: config.shell.clone().map(Into::into),
        mac_address: own_mac(view).unwrap_or_default().to_owned(),
    }
}

/// The address that was asked for on the container's own network: what the configuration itself had before API 1.44.
fn own_mac(view: &ContainerView) -> Option<&str> {
    let NetworkMode::Network(own) = NetworkMode::parse(&view.host_config.network_mode) else { return None };
    view.endpoints_wanted.iter().find(|endpoint| endpoint.network == own)?.mac.as_deref()
}

fn healthcheck(check: &container_core::Healthcheck) -> wire::HealthConfig {
    wire::HealthConfig {
        test: check.test.clone(),
        interval: check.interval_ns,
        timeout: check.timeout_ns,
        start_period: check.start_period_ns,
        start_interval: check.start_interval_ns,
        retries: check.retries,
    }
}

pub fn mount(mount: &MountPoint) -> wire_mount::MountPoint {
    wire_mount::MountPoint {
        kind: mount.kind.as_str().to_owned(),
        name: mount.name.clone(),
        source: mount.source.clone(),
        destination: mount.destination.clone(),
        driver: mount.driver.clone(),
        mode: mount.mode.clone(),
        writable: mount.read_write,
        propagation: mount.propagation.clone(),
    }
}

fn network_settings(view: &ContainerView) -> wire::NetworkSettings {
    let sandbox = view.sandbox.clone().unwrap_or_default();
    let mut settings = wire::NetworkSettings {
        sandbox_id: if view.files.sandbox_key.is_empty() { String::new() } else { view.id.clone() },
        sandbox_key: view.files.sandbox_key.clone(),
        ports: if view.sandbox.is_some() { ports(view, &sandbox) } else { BTreeMap::new() },
        networks: networks(view, &sandbox),
        ..wire::NetworkSettings::default()
    };
    if let Some(bridge) = sandbox.endpoints.iter().find(|endpoint| endpoint.network_name == "bridge") {
        settings.endpoint_id = bridge.endpoint_id.clone();
        settings.gateway = bridge.gateway.clone();
        settings.ip_address = bridge.ipv4.clone();
        settings.ip_prefix_len = bridge.ipv4_prefix;
        settings.global_ipv6_address = bridge.ipv6.clone();
        settings.global_ipv6_prefix_len = bridge.ipv6_prefix;
        settings.ipv6_gateway = bridge.ipv6_gateway.clone();
        settings.mac_address = bridge.mac.clone();
    }
    settings
}

/// Published ports with their host sockets, exposed ones with none.
fn ports(view: &ContainerView, sandbox: &Sandbox) -> wire_host::PortMap {
    let mut map: wire_host::PortMap = view.config.exposed_ports.iter().map(|port| (port.clone(), None)).collect();
    for port in &sandbox.published {
        let host_port = if port.host_port == 0 { String::new() } else { port.host_port.to_string() };
        let binding = PortBinding { host_ip: port.host_ip.clone(), host_port };
        map.entry(port.container.clone()).or_default().get_or_insert_default().push(binding);
    }
    map
}

/// Endpoints as they are; those that are only wanted while the container does not run.
fn networks(view: &ContainerView, sandbox: &Sandbox) -> BTreeMap<String, EndpointSettings> {
    let wanted = view.endpoints_wanted.iter().map(|wanted| {
        let has_addresses = wanted.ipv4.is_some() || wanted.ipv6.is_some() || !wanted.link_local.is_empty();
        let ipam = has_addresses.then(|| EndpointIpamConfig {
            ipv4_address: wanted.ipv4.clone().unwrap_or_default(),
            ipv6_address: wanted.ipv6.clone().unwrap_or_default(),
            link_local_ips: wanted.link_local.clone(),
        });
        let settings = EndpointSettings {
            ipam_config: ipam,
            links: Some(wanted.links.clone()).filter(|links| !links.is_empty()),
            aliases: Some(wanted.aliases.clone()).filter(|aliases| !aliases.is_empty()),
            mac_address: wanted.mac.clone().unwrap_or_default(),
            driver_opts: Some(wanted.driver_options.clone()).filter(|options| !options.is_empty()),
            gw_priority: wanted.gateway_priority,
            network_id: wanted.network_id.clone(),
            ..EndpointSettings::default()
        };
        (wanted.network.clone(), settings)
    });
    let mut map: BTreeMap<String, EndpointSettings> = wanted.collect();
    // The modes that are no bridges have a network of their name.
    let mode = view.host_config.network_mode.as_str();
    if matches!(mode, "none" | "host") {
        map.entry(mode.to_owned()).or_default();
    }
    for endpoint in &sandbox.endpoints {
        let settings = map.entry(endpoint.network_name.clone()).or_default();
        fill(settings, endpoint);
    }
    map
}

fn fill(settings: &mut EndpointSettings, endpoint: &Endpoint) {
    settings.network_id = endpoint.network_id.clone();
    settings.endpoint_id = endpoint.endpoint_id.clone();
    settings.mac_address = endpoint.mac.clone();
    settings.gateway = endpoint.gateway.clone();
    settings.ip_address = endpoint.ipv4.clone();
    settings.ip_prefix_len = endpoint.ipv4_prefix;
    settings.global_ipv6_address = endpoint.ipv6.clone();
    settings.global_ipv6_prefix_len = endpoint.ipv6_prefix;
    settings.ipv6_gateway = endpoint.ipv6_gateway.clone();
    if !endpoint.aliases.is_empty() {
        settings.aliases = Some(endpoint.aliases.clone());
    }
    settings.dns_names = Some(endpoint.dns_names.clone()).filter(|names| !names.is_empty());
}

/// For lists: endpoints without what only inspect shows.
pub fn summary_networks(endpoints: &[Endpoint]) -> BTreeMap<String, EndpointSettings> {
    let filled = endpoints.iter().map(|endpoint| {
        let mut settings = EndpointSettings::default();
        fill(&mut settings, endpoint);
        (endpoint.network_name.clone(), settings)
    });
    filled.collect()
}
