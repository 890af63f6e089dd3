//! `docker create`: from a request to a stored container with a snapshot of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use container_core::spec::default_paths;
use container_core::{
    Config, ConfigError, DEFAULT_PROPAGATION, EndpointRequest, HostConfig, MountKind, MountPoint, NetworkMode,
    ReadOnly, State, merge_image, restart, validate, wanted_mounts,
};
use containerd_api::types::Mount;
use errors::ErrorKind;
use ids::{ContainerId, check_container_name, generated_name};

use crate::error::Error;
use crate::ports::Image;
use crate::record::{Container, Record};
use crate::request::{CreateRequest, Created};
use crate::rootfs::Layers;
use crate::service::{Shared, blocking, now, random};
use crate::{files, host, links, logging, messages, propagation, runtimes, staging, user_namespaces, volumes};

/// Names that are tried before giving up.
const NAME_ATTEMPTS: u32 = 6;

pub(crate) async fn create(shared: &Arc<Shared>, request: CreateRequest) -> Result<Created, Error> {
    let mut host_config = request.host_config;
    before_image(&request.config, &host_config)?;
    let image = shared.neighbours.images.resolve(&request.config.image).await?;
    let id = new_id()?;
    let mut config = merge_image(request.config, &image.defaults)?;
    let warnings = validate(&config, &mut host_config, &shared.host)?;
    complete(shared, &mut config, &mut host_config, &id)?;
    let links = links::resolve(shared, &host_config.links)?;
    check_endpoints(shared, &request.endpoints).await?;
    let mut endpoints = endpoints(request.endpoints, &host_config);
    links::as_aliases(&links, &mut endpoints, &host_config.network_mode);
    let mut mounts = mounts(shared, &config, &host_config)?;
    for mount in mounts.iter_mut().filter(|mount| mount.kind == MountKind::Bind && mount.read_only == ReadOnly::Default)
    {
        mount.read_only = request.read_only;
    }
    check_here(shared, &host_config)?;
    let name = take_name(shared, request.name.as_deref(), &id)?;
    let mode = NetworkMode::parse(&host_config.network_mode);
    if !matches!(mode, NetworkMode::Host | NetworkMode::Container(_))
        && user_namespaces::maps(shared, &host_config).is_none()
    {
        shared.neighbours.sandboxes.expect();
    }
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
        links: Arc::new(links),
        state: State::default(),
        starting: None,
        stopped_by_user: false,
        history: restart::History::default(),
        restart_count: 0,
        sandbox: None,
        health: None,
        filling: None,
        removes_volumes: false,
        untold: None,
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
        check_working_dir(&record, &snapshot).await?;
        view_images(shared, &record).await?;
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

/// The image must not have anything but a folder at the process's place; where it has nothing, the runtime makes one.
async fn check_working_dir(record: &Record, rootfs: &[Mount]) -> Result<(), Error> {
    let place = record.config.working_dir.clone();
    let Some(layers) = Layers::of(rootfs).filter(|_| !matches!(place.as_str(), "" | "/")) else { return Ok(()) };
    let inside = place.clone();
    let is_file = blocking(move || layers.has_other_than_folder(Path::new(&inside))).await?;
    match is_file {
        Ok(true) => Err(messages::working_dir_is_file(&place)),
        Ok(false) => Ok(()),
        Err(error) => Err(Error::file("look in the image at", Path::new(&place), error)),
    }
}

/// A snapshot for each image that is mounted, which keeps the layers there.
async fn view_images(shared: &Arc<Shared>, record: &Record) -> Result<(), Error> {
    for (index, mount) in record.mounts.iter().enumerate().filter(|(_, mount)| mount.kind == MountKind::Image) {
        let image = shared.neighbours.images.resolve(&mount.name).await?;
        let key = staging::image_snapshot(&record.id, index);
        shared.containerd.view_snapshot(&key, &image.chain_id, &record.id, record.life()).await?;
    }
    Ok(())
}

/// Contradictions between what the user asks for, before the image's wishes are among them.
fn before_image(config: &Config, host_config: &HostConfig) -> Result<(), Error> {
    if let NetworkMode::Container(_) = NetworkMode::parse(&host_config.network_mode)
        && !config.exposed_ports.is_empty()
    {
        return Err(messages::conflicting("port exposing and the container type network mode"));
    }
    let words = config.entrypoint.iter().chain(&config.cmd).flatten().count();
    if config.image.is_empty() && words == 0 {
        return Err(ConfigError::NoCommand.into());
    }
    Ok(())
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
        _ => config.hostname = ids::short(id).to_owned(),
    }
    logging::complete(&mut host_config.log_config, &shared.settings.log_defaults)?;
    complete_namespaces(shared, host_config)?;
    let defaults = shared.defaults();
    if host_config.runtime.is_empty() {
        host_config.runtime = if defaults.runtime.is_empty() { "runc".to_owned() } else { defaults.runtime.clone() };
    }
    if host_config.shm_size == 0 {
        host_config.shm_size = if defaults.shm_size > 0 { defaults.shm_size } else { 64 << 20 };
    }
    let resources = &mut host_config.resources;
    if resources.memory > 0 && resources.memory_swap == 0 {
        // As much swap as memory.
        resources.memory_swap = resources.memory.saturating_mul(2);
    }
    if shared.host.supports.oom_kill_disable {
        resources.oom_kill_disable.get_or_insert(false);
    }
    let (masked, read_only) = default_paths(host_config.privileged);
    host_config.masked_paths = host_config.masked_paths.take().or(masked);
    host_config.readonly_paths = host_config.readonly_paths.take().or(read_only);
    Ok(())
}

/// Modes that were left open, and other containers by their ids: these may be renamed.
fn complete_namespaces(shared: &Shared, host_config: &mut HostConfig) -> Result<(), Error> {
    let defaults = shared.defaults();
    for mode in [&mut host_config.pid_mode, &mut host_config.ipc_mode] {
        if let Some(reference) = mode.strip_prefix("container:") {
            // For Docker a bad configuration, not a container that a request is about.
            let other = shared.find(reference).map_err(|error| messages::bad_mode(&error))?;
            *mode = format!("container:{}", other.id);
        }
    }
    if host_config.ipc_mode.is_empty() {
        let default = if defaults.ipc_mode.is_empty() { "private" } else { &defaults.ipc_mode };
        default.clone_into(&mut host_config.ipc_mode);
    }
    if host_config.cgroupns_mode.is_empty() {
        let default = match (shared.host.cgroup_v2, defaults.cgroupns_mode.as_str()) {
            (false, _) if host_config.privileged => "host",
            (true, "") => "private",
            (false, "") => "host",
            (_, configured) => configured,
        };
        default.clone_into(&mut host_config.cgroupns_mode);
    }
    // What shares the host's processes or memory is not confined by a label (SELinux).
    let unlabelled = host_config.privileged || host_config.pid_mode == "host" || host_config.ipc_mode == "host";
    if unlabelled && !host_config.security_opt.iter().any(|option| option.starts_with("label")) {
        host_config.security_opt.push("label=disable".to_owned());
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

/// Those that ask for something. A network that is not there yet may be there at the start.
async fn check_endpoints(shared: &Shared, asked: &[EndpointRequest]) -> Result<(), Error> {
    for endpoint in asked {
        let plain = EndpointRequest { network: endpoint.network.clone(), ..EndpointRequest::default() };
        if *endpoint == plain {
            continue;
        }
        let mut named = endpoint.clone();
        if matches!(named.network.as_str(), "" | "default") {
            "bridge".clone_into(&mut named.network);
        }
        match shared.neighbours.sandboxes.check(&named).await {
            Err(error) if error.kind != ErrorKind::NotFound => {
                return Err(messages::bad_endpoint(&endpoint.network, error.kind, &error.message));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What only this daemon can know to be impossible.
fn check_here(shared: &Shared, host_config: &HostConfig) -> Result<(), Error> {
    runtimes::find(&shared.settings, &shared.defaults(), &host_config.runtime)?;
    if host_config.init == Some(true) && shared.host.init_path.is_none() {
        return Err(ConfigError::NoInit.into());
    }
    Ok(())
}

/// The user's mounts, those of `--volumes-from`, and the image's volumes.
fn mounts(shared: &Shared, config: &Config, host_config: &HostConfig) -> Result<Vec<MountPoint>, Error> {
    let mut mounts = wanted_mounts(config, host_config)?;
    for mount in mounts.iter_mut().filter(|mount| mount.kind == MountKind::Bind) {
        settle_propagation(shared, mount)?;
    }
    let mut inherited: BTreeMap<String, MountPoint> = BTreeMap::new();
    for from in &host_config.volumes_from {
        let (reference, mode) = parse_volumes_from(from)?;
        let other = shared.find(reference).map_err(|_| messages::volumes_from_missing(reference))?.record();
        for mount in other.mounts.iter().filter(|mount| mount.kind != MountKind::Tmpfs) {
            let read_write = mount.read_write && !mode.split(',').any(|option| option == "ro");
            let mode = String::new();
            let mount = MountPoint { mode, read_write, anonymous: false, copy_up: false, ..mount.clone() };
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

/// `container[:mode]`; of the modes of `-v` those that a mount of somebody else's can still take.
fn parse_volumes_from(text: &str) -> Result<(&str, &str), Error> {
    if text.is_empty() {
        return Err(ConfigError::Value("volumes-from specification cannot be an empty string".to_owned()).into());
    }
    let (reference, mode) = text.split_once(':').unwrap_or((text, ""));
    let (mut rights, mut labels) = (0, 0);
    for option in mode.split(',').filter(|_| !mode.is_empty()) {
        match option {
            "ro" | "rw" => rights += 1,
            "z" | "Z" => labels += 1,
            _ => return Err(ConfigError::Value(format!("invalid mode: {mode}")).into()),
        }
    }
    if rights > 1 || labels > 1 {
        return Err(ConfigError::Value(format!("invalid mode: {mode}")).into());
    }
    Ok((reference, mode))
}

/// What a container has of the daemon's own folders must follow when mounts in them go, or they never would.
fn settle_propagation(shared: &Shared, mount: &mut MountPoint) -> Result<(), Error> {
    let (root, source) = (&shared.settings.data_root, std::path::Path::new(&mount.source));
    let is_of_daemon = source.starts_with(root) || root.starts_with(source);
    match mount.propagation.as_str() {
        "" => {
            // Where the root's mount is private there is nothing to follow.
            let slave = MountPoint { propagation: "rslave".to_owned(), ..mount.clone() };
            let follows = is_of_daemon && propagation::check(&slave).is_ok();
            mount.propagation = if follows { slave.propagation } else { DEFAULT_PROPAGATION.to_owned() };
            Ok(())
        }
        "rslave" | "rshared" => Ok(()),
        other if is_of_daemon => Err(messages::daemon_root_propagation(&root.to_string_lossy(), &mount.source, other)),
        _ => Ok(()),
    }
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
