//! `docker start`: sandbox, files, specification, task, and the attached clients, in the order that loses nothing.
//!
//! The intent (`starting`) is durable before the task exists, so that a daemon that comes up after a crash knows whose
//! the task is. Everything else is undone when a later step fails.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use container_core::spec::{self, Join, Namespaces, NetworkFiles, Remap, UserNamespace};
use container_core::{Event, HostConfig, MountKind, NetworkMode, PortBinding, State, resolve_user, restart};
use containerd_api::types::Mount;
use containerd_api::v1::types::Status;
use errors::{ErrorKind, Kind};
use metadata::Durability;

use crate::containerd::NewTask;
use crate::error::Error;
use crate::ports::{Acquired, Completion, Sandbox, SandboxMode, SandboxRequest};
use crate::record::{Container, Record};
use crate::rootfs::{self, Layers};
use crate::runtimes::Chosen;
use crate::service::{Shared, now};
use crate::staging::{self, Staged};
use crate::stdio::{self, Stdin};
use crate::{
    cdi, devices, files, health, links, logging, membership, messages, owners, propagation, realtime, remove, runtimes,
    user_namespaces, volumes,
};

/// How long a shim may go on with a Create whose caller has died.
const CREATE_LIMIT: Duration = Duration::from_secs(10);
const CREATE_POLL: Duration = Duration::from_millis(20);

/// Why a container is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    User,
    /// A restart that was due; called off when the container is not waiting for it any more.
    Policy,
    /// The daemon came up.
    Daemon,
}

pub(crate) async fn start(shared: &Arc<Shared>, container: &Arc<Container>, cause: Cause) -> Result<(), Error> {
    let _gate = container.gate.lock().await;
    let record = container.record();
    match (&record.state, cause) {
        (State::Restarting { .. }, Cause::Policy) => {}
        (_, Cause::Policy) => return Ok(()),
        (State::Running { .. } | State::Restarting { .. }, _) => return Err(messages::already_running(&record.id)),
        (State::Paused { .. }, _) => return Err(messages::start_paused()),
        (State::Removing { .. } | State::Dead { .. }, _) => return Err(messages::start_removed()),
        (State::Created { .. } | State::Exited { .. }, _) => {}
    }
    let begun = now();
    container.change(|record| {
        record.starting = Some(begun);
        record.stopped_by_user = false;
        if cause != Cause::Policy {
            record.history = restart::History::default();
        }
    });
    match attempt(shared, container).await {
        Ok((pid, sandbox)) => {
            let event = Event::Started { pid, at: begun };
            // The gate is ours and the state was looked at: only the states above come here.
            container
                .take(event)
                .map_err(|refused| Error::Refused { kind: ErrorKind::Internal, message: refused.to_string() })?;
            let health = health::fresh(container);
            let record = container.change(|record| {
                record.starting = None;
                membership::remember(record, &sandbox);
                record.sandbox = Some(Arc::new(sandbox));
                record.health = health;
            });
            container.store(&shared.database, Durability::Lazy).await?;
            container.notify(|progress| {
                progress.running = true;
                progress.code = 0;
                progress.error = None;
            });
            health::watch(shared, container);
            links::tell_parents(shared, container);
            shared.publish(&record, "start", &[]);
            Ok(())
        }
        Err(error) => Err(give_up(shared, container, error).await),
    }
}

/// Leaves the failure in the container and answers it in Docker's words.
async fn give_up(shared: &Arc<Shared>, container: &Arc<Container>, error: Error) -> Error {
    let text = errors::chain(&error);
    let (kind, code, message) = match error {
        Error::Containerd { ref source, .. } if source.kind() == ErrorKind::Unavailable => {
            (ErrorKind::Unavailable, 128, text)
        }
        Error::Containerd { action, ref source } => {
            messages::start_failure(&messages::runtime_refusal(action, &errors::chain(source)))
        }
        other => (other.kind(), 128, text),
    };
    container.drop_pending();
    let failed = Event::StartFailed { code, error: message.clone(), at: now() };
    if let Err(refused) = container.take(failed) {
        tracing::error!(container = container.id, %refused, "a failed start has no place in the container's life");
    }
    container.change(|record| record.starting = None);
    if let Err(second) = container.store(&shared.database, Durability::Lazy).await {
        tracing::error!(container = container.id, error = %errors::chain(&second), "cannot store a failed start");
    }
    container.notify(|progress| {
        progress.running = false;
        progress.code = code;
        progress.error = Some(message.clone());
    });
    if container.record().host_config.auto_remove
        && let Err(second) = remove::begin_and_erase(shared, container, true).await
    {
        tracing::warn!(container = container.id, error = %errors::chain(&second), "cannot remove a container that failed to start");
    }
    Error::Refused { kind, message }
}

/// Everything from the intent to the running process.
async fn attempt(shared: &Arc<Shared>, container: &Arc<Container>) -> Result<(u32, Sandbox), Error> {
    let record = container.record();
    staging::begin(shared, &record.id)?;
    let users = user_namespaces::provide(shared, &record)?;
    let request = sandbox_request(shared, &record, user_namespaces::path(&users))?;
    let (stored, sandbox, rootfs) = tokio::join!(
        container.store(&shared.database, record.durability()),
        shared.neighbours.sandboxes.acquire(request),
        container.rootfs(&shared.containerd),
    );
    let Acquired { sandbox, complete } = sandbox.inspect_err(|_| staging::unstage(shared, &record.id))?;
    let mut complete = Some(complete);
    let run = async {
        stored?;
        let rootfs = rootfs?;
        let mut staged = staging::stage(shared, &record).await?;
        owners::stage(shared, &record, &rootfs, &mut staged)?;
        let spec = specification(shared, &record, &sandbox, &rootfs, &staged, users)?;
        realtime::provide(shared, &record)?;
        let runtime = runtimes::find(&shared.settings, &shared.defaults(), &record.host_config.runtime)?
            .for_root(user_namespaces::of(shared, &record.host_config).map(Remap::root));
        let maps = user_namespaces::maps(shared, &record.host_config);
        let rootfs = user_namespaces::through(maps.as_ref(), rootfs);
        // Sysctls of links mean those that are there.
        if !record.host_config.sysctls.is_empty() {
            finish_sandbox(&mut complete).await?;
        }
        shared.containerd.create_container(&record.id, &record.image_name, spec, record.life(), &runtime).await?;
        let run = run_task(shared, container, rootfs, runtime, &mut complete).await;
        if run.is_err() {
            // Behind the error that counts: what stays is removed by the next start of the daemon.
            let _ = shared.containerd.delete_container(&record.id).await;
        }
        run
    };
    let run = run.await;
    match run {
        Ok(pid) => Ok((pid, sandbox)),
        Err(error) => {
            // The error that counts is another one.
            let _ = finish_sandbox(&mut complete).await;
            staging::unstage(shared, &record.id);
            volumes::unmount_all(shared, &record).await;
            if let Err(second) = shared.neighbours.sandboxes.release(&record.id).await {
                tracing::warn!(container = record.id, error = %second, "cannot release the sandbox of a failed start");
            }
            Err(error)
        }
    }
}

/// Waits for what is still being done to the sandbox.
async fn finish_sandbox(complete: &mut Option<Completion>) -> Result<(), Error> {
    match complete.take() {
        Some(complete) => Ok(complete.await?),
        None => Ok(()),
    }
}

/// Task, clients, go. The sandbox is completed meanwhile.
async fn run_task(
    shared: &Arc<Shared>,
    container: &Arc<Container>,
    rootfs: Vec<Mount>,
    runtime: Chosen,
    complete: &mut Option<Completion>,
) -> Result<u32, Error> {
    let record = container.record();
    let socket = shared.settings.attach_path(&record.id);
    let logging = logging::prepare(shared, &record).await?;
    let streams = stdio::Streams {
        socket: socket.clone(),
        log: logging.file.clone(),
        stdin: match (record.config.open_stdin, record.config.stdin_once) {
            (false, _) => Stdin::None,
            (true, true) => Stdin::Once,
            (true, false) => Stdin::Open,
        },
    };
    let task = NewTask { id: record.id.clone(), rootfs, stdio: streams.uri(), terminal: record.config.tty, runtime };
    create_task(shared, &task).await?;
    let begun = async {
        if !socket.exists() {
            return Err(messages::foreign_shim());
        }
        logging.begin(shared, &record.id).await?;
        connect_waiting(shared, container).await;
        finish_sandbox(complete).await?;
        start_task(shared, &record.id).await
    };
    let begun = begun.await;
    if begun.is_err() {
        discard_task(shared, &record.id).await;
    }
    begun
}

/// A create that got no answer is looked at, and done again when nothing came of it.
async fn create_task(shared: &Arc<Shared>, task: &NewTask) -> Result<u32, Error> {
    match shared.containerd.create_task(task).await {
        Err(error) if error.kind() == ErrorKind::Unavailable => match shared.containerd.get(&task.id, "").await? {
            Some(state) if state.status == Status::Created => Ok(state.pid),
            Some(_) => Err(error),
            None => shared.containerd.create_task(task).await,
        },
        answer => answer,
    }
}

/// A start that got no answer is looked at: the process may run, or be over, by now.
async fn start_task(shared: &Arc<Shared>, id: &str) -> Result<u32, Error> {
    match shared.containerd.start(id, "").await {
        Err(error) if error.kind() == ErrorKind::Unavailable => match shared.containerd.get(id, "").await? {
            Some(state) if state.status == Status::Created => shared.containerd.start(id, "").await,
            Some(state) => Ok(state.pid),
            None => Err(error),
        },
        answer => answer,
    }
}

/// Ends a task whatever it does; used when its container must not run.
pub(crate) async fn discard_task(shared: &Arc<Shared>, id: &str) {
    let discard = || async {
        if shared.containerd.kill(id, "", 9).await? {
            shared.containerd.wait(id).await?;
        }
        shared.containerd.delete_task(id).await
    };
    let begun = Instant::now();
    loop {
        match discard().await {
            Ok(_) => return,
            // Its shim is still making it for a containerd that has died since: there is nothing to kill yet.
            Err(error) if error.kind() == ErrorKind::FailedPrecondition && begun.elapsed() < CREATE_LIMIT => {
                tokio::time::sleep(CREATE_POLL).await;
            }
            Err(error) => {
                tracing::warn!(container = id, error = %errors::chain(&error), "cannot discard a task");
                return;
            }
        }
    }
}

/// Hands every client that waits its stream, before the process runs.
async fn connect_waiting(shared: &Arc<Shared>, container: &Arc<Container>) {
    let waiting = {
        let mut attachable = container.attachable();
        attachable.now = true;
        std::mem::take(&mut attachable.waiting)
    };
    let socket = shared.settings.attach_path(&container.id);
    for pending in waiting {
        let stream = stdio::connect(&socket, pending.request).await;
        // A client that has gone meanwhile is no error of the start.
        let _ = pending.connected.send(stream);
    }
}

/// Bindings of exposed ports alone, as in Docker (its client exposes what it publishes); with `-P` the other exposed ports
/// are published, too.
fn published_ports(exposed: &BTreeSet<String>, host_config: &HostConfig) -> Vec<PortBinding> {
    let bindings = host_config.port_bindings.iter();
    let mut published: Vec<PortBinding> =
        bindings.filter(|binding| exposed.contains(&binding.container)).cloned().collect();
    if host_config.publish_all_ports {
        let is_bound = |port: &&String| published.iter().any(|binding| binding.container == **port);
        let unbound: Vec<String> = exposed.iter().filter(|port| !is_bound(port)).cloned().collect();
        published.extend(unbound.into_iter().map(|container| PortBinding { container, ..PortBinding::default() }));
    }
    published
}

fn sandbox_request(shared: &Shared, record: &Record, users: Option<PathBuf>) -> Result<SandboxRequest, Error> {
    let host_config = &record.host_config;
    let mode = match NetworkMode::parse(&host_config.network_mode) {
        _ if record.config.network_disabled => SandboxMode::None,
        NetworkMode::Host => SandboxMode::Host,
        NetworkMode::None => SandboxMode::None,
        NetworkMode::Container(reference) => {
            SandboxMode::Container(running_other(shared, record, reference)?.id.clone())
        }
        NetworkMode::Network(_) => SandboxMode::Networks,
    };
    let published = published_ports(&record.config.exposed_ports, host_config);
    Ok(SandboxRequest {
        container_id: record.id.clone(),
        name: record.name.clone(),
        hostname: record.config.hostname.clone(),
        domainname: record.config.domainname.clone(),
        mode,
        endpoints: (*record.endpoints).clone(),
        published,
        exposed: record.config.exposed_ports.iter().cloned().collect(),
        dns: host_config.dns.clone(),
        dns_options: host_config.dns_options.clone(),
        dns_search: host_config.dns_search.clone(),
        extra_hosts: host_config.extra_hosts.clone(),
        users,
    })
}

/// Another container whose network is joined.
fn running_other(shared: &Shared, record: &Record, reference: &str) -> Result<Arc<Record>, Error> {
    let other = shared.find(reference)?.record();
    match &other.state {
        _ if other.id == record.id => Err(messages::join_itself()),
        State::Restarting { .. } => Err(messages::is_restarting(&other.id)),
        state if state.has_process() => Ok(other),
        _ => Err(messages::join_not_running(&other.id)),
    }
}

/// Another container whose namespace of another sort is joined, by the path of the namespace.
fn joined(shared: &Shared, mode: &str, name: &'static str, file: &'static str) -> Result<Option<Join>, Error> {
    let Some(reference) = mode.strip_prefix("container:") else { return Ok(None) };
    let other = shared.find(reference)?.record();
    match &other.state {
        State::Restarting { .. } => Err(messages::is_restarting(&other.id)),
        state if state.has_process() => Ok(Some(Join::Path(format!("/proc/{}/ns/{file}", state.pid())))),
        _ => Err(messages::join_not_running_namespace(name, &other.id)),
    }
}

fn specification(
    shared: &Shared,
    record: &Record,
    sandbox: &Sandbox,
    rootfs: &[Mount],
    staged: &Staged,
    users: UserNamespace,
) -> Result<Vec<u8>, Error> {
    let namespaces = namespaces(shared, record, sandbox, users)?;
    let brought = links::bring(shared, record, &sandbox.endpoints)?;
    let files = network_files(shared, record, sandbox, &brought.hosts)?;
    let layers = Layers::of(rootfs).unwrap_or_default();
    let user = resolve_user(
        &record.config.user,
        &record.host_config.group_add,
        &rootfs::read_small(&layers, "etc", "passwd")?,
        &rootfs::read_small(&layers, "etc", "group")?,
    )?;
    for mount in record.mounts.iter().filter(|mount| mount.kind == MountKind::Bind) {
        provide_source(shared, mount)?;
        propagation::check(mount)?;
    }
    let spec = spec::generate(&spec::Input {
        id: &record.id,
        config: &record.config,
        host_config: &record.host_config,
        mounts: &staged.mounts,
        user: &user,
        namespaces: &namespaces,
        files: &files,
        devices: &devices::nodes(&record.host_config)?,
        block_io: &devices::block_io(&record.host_config.resources)?,
        shm: staged.shm.as_deref(),
        link_env: &brought.env,
        cdi: &cdi::edits(&record.host_config.resources.device_requests, &shared.settings.defaults.cdi_folders)?,
        host: &shared.host,
    })?;
    serde_json::to_vec(&spec).map_err(|source| Error::Refused {
        kind: ErrorKind::Internal,
        message: format!("cannot write the spec: {source}"),
    })
}

/// A `-v` source that is not there becomes a folder, as Docker has it; a `--mount` source must be there.
pub(crate) fn provide_source(shared: &Shared, mount: &container_core::MountPoint) -> Result<(), Error> {
    let path = std::path::Path::new(&mount.source);
    if path.exists() {
        return Ok(());
    }
    if !mount.create_source {
        return Err(messages::bind_source_missing(&mount.source));
    }
    user_namespaces::make_source(shared, path)
        .map_err(|source| Error::file("create the bind mount's source path", path, source))
}

fn namespaces(shared: &Shared, record: &Record, sandbox: &Sandbox, user: UserNamespace) -> Result<Namespaces, Error> {
    let host_config = &record.host_config;
    let or_own = |host: bool| if host { Join::Host } else { Join::Own };
    let network =
        sandbox.netns_path.as_ref().map_or(Join::Host, |path| Join::Path(path.to_string_lossy().into_owned()));
    let pid = joined(shared, &host_config.pid_mode, "PID", "pid")?;
    let ipc = joined(shared, &host_config.ipc_mode, "IPC", "ipc")?;
    Ok(Namespaces {
        network_is_own: sandbox.netns_path.is_some()
            && !matches!(NetworkMode::parse(&host_config.network_mode), NetworkMode::Container(_)),
        network,
        pid: pid.unwrap_or_else(|| or_own(host_config.pid_mode == "host")),
        ipc: ipc.unwrap_or_else(|| or_own(host_config.ipc_mode == "host")),
        uts: or_own(host_config.uts_mode == "host"),
        cgroup: or_own(host_config.cgroupns_mode != "private"),
        user,
    })
}

fn network_files(shared: &Shared, record: &Record, sandbox: &Sandbox, hosts: &str) -> Result<NetworkFiles, Error> {
    match NetworkMode::parse(&record.host_config.network_mode) {
        NetworkMode::Container(other) => Ok(files::shared(&shared.settings.container_folder(other))),
        _ => {
            let folder = shared.settings.container_folder(&record.id);
            let files = files::write(&folder, &record.config.hostname, sandbox, hosts)?;
            for file in [&files.hostname, &files.hosts, &files.resolv_conf].into_iter().flatten() {
                user_namespaces::give(shared, &record.host_config, file.as_ref())?;
            }
            Ok(files)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bound_is_published_when_it_is_exposed() {
        let exposed = BTreeSet::from(["80/tcp".to_owned(), "53/udp".to_owned()]);
        let binding = |port: &str| PortBinding { container: port.to_owned(), ..PortBinding::default() };
        let port_bindings = vec![binding("80/tcp"), binding("80/tcp"), binding("81/tcp")];
        let mut host_config = HostConfig { port_bindings, ..HostConfig::default() };
        let published = |host_config: &HostConfig| -> Vec<String> {
            published_ports(&exposed, host_config).into_iter().map(|binding| binding.container).collect()
        };
        assert_eq!(published(&host_config), ["80/tcp", "80/tcp"]);
        host_config.publish_all_ports = true;
        assert_eq!(published(&host_config), ["80/tcp", "80/tcp", "53/udp"]);
    }
}
