//! `docker create`: from a request to a stored container with a snapshot of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use container_core::{
    Config, ConfigError, EndpointRequest, HostConfig, MountKind, MountPoint, NetworkMode, State, merge_image, restart,
    validate, wanted_mounts,
};
use ids::{ContainerId, check_container_name, generated_name};

use crate::error::Error;
use crate::ports::Image;
use crate::record::{Container, Record};
use crate::request::{CreateRequest, Created};
use crate::service::{Shared, now, random};
use crate::{files, host, logging, messages, volumes};

/// Names that are tried before giving up.
const NAME_ATTEMPTS: u32 = 6;
/// Runtimes by name; both are the one that this daemon was given.
const RUNTIMES: [&str; 4] = ["", "runc", "io.containerd.runc.v2", "docker-runc"];

pub(crate) async fn create(shared: &Arc<Shared>, request: CreateRequest) -> Result<Created, Error> {
    let image = shared.neighbours.images.resolve(&request.config.image).await?;
    let id = new_id()?;
    let mut host_config = request.host_config;
    let mut config = merge_image(request.config, &image.defaults)?;
    let mut warnings = validate(&config, &host_config, &shared.host)?;
    complete(shared, &mut config, &mut host_config, &id)?;
    check_here(shared, &host_config)?;
    let endpoints = endpoints(request.endpoints, &host_config);
    let mounts = mounts(shared, &config, &host_config)?;
    if host_config.publish_all_ports && host_config.network_mode == "host" {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    let name = take_name(shared, request.name.as_deref(), &id)?;
    let record = Record {
        id: id.clone(),
        name: name.clone(),
        created: now(),
        image_id: image.id.clone(),
        image_name: image.name.clone(),
        config: Arc::new(config),
        host_config: Arc::new(host_config),
        mounts: Arc::new(mounts),
        endpoints: Arc::new(endpoints),
        state: State::default(),
        starting: None,
        stopped_by_user: false,
        history: restart::History::default(),
        restart_count: 0,
        sandbox: None,
    };
    match keep(shared, record, &image).await {
        Ok(container) => {
            shared.publish(&container.record(), "create", &[]);
            Ok(Created { id, warnings })
        }
        Err(error) => {
            shared.index().release(&name);
            Err(error)
        }
    }
}

/// The intent first, then what it asks for; on failure nothing stays.
async fn keep(shared: &Arc<Shared>, record: Record, image: &Image) -> Result<Arc<Container>, Error> {
    let container = Arc::new(Container::new(record));
    let record = container.record();
    container.store(&shared.database, record.durability()).await?;
    let folder = shared.settings.container_folder(&record.id);
    let made = async {
        files::make_folder(&folder)?;
        let snapshot = shared.containerd.prepare_snapshot(&record.id, &image.chain_id, record.life()).await?;
        volumes::provide(shared, &container, container.rootfs.get_or_init(|| snapshot)).await
    };
    if let Err(error) = made.await {
        if let Err(second) = crate::remove::erase(shared, &container, true).await {
            tracing::warn!(container = record.id, error = %errors::chain(&second), "cannot clean up a failed create");
        }
        return Err(error);
    }
    shared.index().insert(Arc::clone(&container));
    Ok(container)
}

/// Defaults of host and daemon filled in, references resolved.
fn complete(shared: &Shared, config: &mut Config, host_config: &mut HostConfig, id: &str) -> Result<(), Error> {
    let own_hostname = !config.hostname.is_empty();
    let mode = host_config.network_mode.clone();
    if mode.is_empty() || mode == "default" {
        host_config.network_mode = "bridge".to_owned();
    }
    if host_config.uts_mode == "host" && own_hostname {
        return Err(messages::conflicting("hostname and the UTS mode"));
    }
    match NetworkMode::parse(&mode) {
        NetworkMode::Container(reference) => {
            // Who is not there yet may be there at the start.
            config.hostname = ids::short(id).to_owned();
            if let Ok(other) = shared.find(reference) {
                host_config.network_mode = format!("container:{}", other.id);
                config.hostname.clone_from(&other.record().config.hostname);
            }
        }
        _ if own_hostname => {}
        NetworkMode::Host => config.hostname = host::hostname(),
        _ if host_config.uts_mode == "host" => config.hostname = host::hostname(),
        _ => config.hostname = ids::short(id).to_owned(),
    }
    if let Some(reference) = host_config.pid_mode.strip_prefix("container:") {
        host_config.pid_mode =
            format!("container:{}", shared.find(reference).map_err(|_| messages::volumes_from_missing(reference))?.id);
    }
    logging::complete(&mut host_config.log_config, &shared.settings.log_defaults)?;
    if host_config.ipc_mode.is_empty() {
        host_config.ipc_mode = "private".to_owned();
    }
    if host_config.cgroupns_mode.is_empty() {
        host_config.cgroupns_mode = if shared.host.cgroup_v2 { "private" } else { "host" }.to_owned();
    }
    if host_config.shm_size == 0 {
        host_config.shm_size = 64 << 20;
    }
    Ok(())
}

/// The networks to join, that of the mode first. Clients call the default bridge `default`, and name modes that are no
/// networks, too.
fn endpoints(asked: Vec<EndpointRequest>, host_config: &HostConfig) -> Vec<EndpointRequest> {
    let NetworkMode::Network(first) = NetworkMode::parse(&host_config.network_mode) else { return Vec::new() };
    let mut endpoints = asked;
    for endpoint in endpoints.iter_mut().filter(|endpoint| matches!(endpoint.network.as_str(), "" | "default")) {
        first.clone_into(&mut endpoint.network);
    }
    match endpoints.iter().position(|endpoint| endpoint.network == first) {
        Some(at) => endpoints.swap(0, at),
        None => endpoints.insert(0, EndpointRequest { network: first.to_owned(), ..EndpointRequest::default() }),
    }
    endpoints
}

/// What only this daemon can know to be impossible.
fn check_here(shared: &Shared, host_config: &HostConfig) -> Result<(), Error> {
    if !RUNTIMES.contains(&host_config.runtime.as_str()) {
        return Err(messages::unknown_runtime(&host_config.runtime));
    }
    if host_config.init == Some(true) && shared.host.init_path.is_none() {
        return Err(ConfigError::NotBuilt("--init without docker-init".to_owned()).into());
    }
    Ok(())
}

/// The user's mounts, those of `--volumes-from`, and the image's volumes.
fn mounts(shared: &Shared, config: &Config, host_config: &HostConfig) -> Result<Vec<MountPoint>, Error> {
    let mut mounts = wanted_mounts(config, host_config)?;
    let mut inherited: BTreeMap<String, MountPoint> = BTreeMap::new();
    for from in &host_config.volumes_from {
        let (reference, mode) = from.split_once(':').unwrap_or((from, "rw"));
        if !matches!(mode, "ro" | "rw" | "z" | "Z") {
            return Err(ConfigError::Value(format!("invalid mode: {mode}")).into());
        }
        let other = shared.find(reference).map_err(|_| messages::volumes_from_missing(reference))?.record();
        for mount in other.mounts.iter().filter(|mount| mount.kind != MountKind::Tmpfs) {
            let read_write = mount.read_write && mode != "ro";
            let mount = MountPoint { read_write, anonymous: false, copy_up: false, ..mount.clone() };
            inherited.insert(mount.destination.clone(), mount);
        }
    }
    // What the user mounts by hand wins over what is inherited, and both over the image's volumes.
    mounts.retain(|mount| !(mount.anonymous && inherited.contains_key(&mount.destination)));
    for (destination, mount) in inherited {
        if !mounts.iter().any(|known| known.destination == destination) {
            mounts.push(mount);
        }
    }
    for mount in mounts.iter().filter(|mount| mount.kind == MountKind::Bind && !mount.create_source) {
        if !std::path::Path::new(&mount.source).exists() {
            return Err(messages::bind_source_missing(&mount.source));
        }
    }
    volumes::place(shared, &mut mounts)?;
    Ok(mounts)
}

/// 32 random bytes whose first 12 digits are not a number.
pub(crate) fn new_id() -> Result<String, Error> {
    loop {
        let id = ContainerId::from_random(random()?);
        if !id.is_numeric() {
            return Ok(id.as_str().to_owned());
        }
    }
}

fn take_name(shared: &Shared, asked: Option<&str>, id: &str) -> Result<String, Error> {
    if let Some(asked) = asked.filter(|name| !name.is_empty()) {
        let name = check_container_name(asked)?;
        shared.index().reserve(name, id)?;
        return Ok(name.to_owned());
    }
    for attempt in 0..NAME_ATTEMPTS {
        let name = generated_name(u64::from_le_bytes(random()?), attempt);
        if shared.index().reserve(&name, id).is_ok() {
            return Ok(name);
        }
    }
    let short = ids::short(id);
    shared.index().reserve(short, id).map_err(|_| messages::no_free_name())?;
    Ok(short.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(mode: &str, asked: &[&str]) -> Vec<String> {
        let asked = asked
            .iter()
            .map(|network| EndpointRequest { network: (*network).to_owned(), ..EndpointRequest::default() });
        let host_config = HostConfig { network_mode: mode.to_owned(), ..HostConfig::default() };
        endpoints(asked.collect(), &host_config).into_iter().map(|endpoint| endpoint.network).collect()
    }

    #[test]
    fn the_network_of_the_mode_comes_first_and_modes_are_no_networks() {
        assert_eq!(joined("bridge", &[]), ["bridge"]);
        assert_eq!(joined("bridge", &["default"]), ["bridge"]);
        assert_eq!(joined("mine", &["other", "mine"]), ["mine", "other"]);
        assert_eq!(joined("mine", &["other"]), ["mine", "other"]);
        assert!(joined("host", &["host"]).is_empty());
        assert!(joined("none", &["default"]).is_empty());
    }

    #[test]
    fn ids_are_long_and_never_look_like_numbers() {
        for _ in 0..100 {
            let id = new_id().unwrap();
            assert_eq!(id.len(), 64);
            assert!(id[..12].bytes().any(|byte| !byte.is_ascii_digit()));
        }
    }
}
