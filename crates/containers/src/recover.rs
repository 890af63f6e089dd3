//! The start of the daemon: intents on one side, tasks on the other, and what it takes to make them agree.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use container_core::{Event, State, restart};
use containerd_api::v1::types::Status;
use metadata::Durability;

use crate::containerd::{Exit, TaskState};
use crate::error::Error;
use crate::ports::LiveSandbox;
use crate::record::Container;
use crate::service::Shared;
use crate::start::{self, Cause};
use crate::{ending, files, health, logging, membership, remove, staging, volumes};

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    pub running: usize,
    /// Ended while no daemon was there.
    pub ended: usize,
    /// Tasks, containerd's containers, snapshots and folders without intent.
    pub strays: usize,
}

pub(crate) async fn recover(shared: &Arc<Shared>) -> Result<Recovered, Error> {
    let tasks: HashMap<String, TaskState> =
        shared.containerd.list_patiently().await?.into_iter().map(|task| (task.container_id.clone(), task)).collect();
    let containers = shared.index().all();
    let mut recovered = Recovered::default();
    let mut live = Vec::new();
    let (mut mounted, mut begun) = (Vec::new(), Vec::new());
    let mut ended = Vec::new();
    for container in &containers {
        ending::tell_late(shared, container).await?;
        let record = container.record();
        if record.state.has_process() || record.starting.is_some() {
            mounted.extend(volumes::live(&record));
            begun.push(Arc::clone(container));
        }
        match reconcile(shared, container, tasks.get(&container.id)).await? {
            Found::Running => {
                recovered.running += 1;
                let pid = container.record().state.pid();
                health::watch(shared, container);
                let networks = membership::wanted(&container.record());
                live.push(LiveSandbox { container_id: container.id.clone(), pid, networks });
            }
            Found::Ended(exit) => ended.push((Arc::clone(container), exit)),
            Found::AtRest => {}
        }
    }
    shared.neighbours.sandboxes.restore(&live).await?;
    membership::look_again(shared, &containers).await;
    shared.neighbours.volumes.restore(&mounted).await;
    for container in begun.iter().filter(|container| !container.record().state.has_process()) {
        // A start that the daemon did not live to finish.
        volumes::unmount_all(shared, &container.record()).await;
    }
    // Before anything is removed: what has ended may have left something to ship.
    for container in &containers {
        logging::resume(shared, container).await;
    }
    recovered.ended = ended.len();
    for (container, exit) in ended {
        let _gate = container.gate.lock().await;
        ending::finish(shared, &container, exit).await;
    }
    recovered.strays = clear_strays(shared, &tasks).await?;
    for container in containers {
        resume_intent(shared, &container).await;
    }
    Ok(recovered)
}

enum Found {
    Running,
    Ended(Exit),
    AtRest,
}

/// One container against its task. A start that the daemon did not live to finish is taken over.
async fn reconcile(shared: &Arc<Shared>, container: &Arc<Container>, task: Option<&TaskState>) -> Result<Found, Error> {
    let record = container.record();
    let begun = task.filter(|task| matches!(task.status, Status::Running | Status::Paused | Status::Stopped));
    if let (Some(at), Some(task)) = (record.starting, begun)
        && !record.state.has_process()
        && container.take(Event::Started { pid: task.pid, at }).is_ok()
    {
        shared.publish(&record, "start", &[]);
    }
    let was_starting = record.starting.is_some();
    let record = container.change(|record| record.starting = None);
    // Ten thousand containers that are as they were need ten thousand writes less.
    let mut changed = was_starting;
    if !record.state.has_process() {
        // Never started, or not wanted: whatever task there is has no intent.
        if task.is_some() {
            start::discard_task(shared, &container.id).await;
        }
        if changed {
            container.store(&shared.database, Durability::Lazy).await?;
        }
        return Ok(Found::AtRest);
    }
    let found = match task {
        Some(task) if task.status == Status::Stopped => Found::Ended(Exit { code: task.code, at: task.exited }),
        Some(task) => {
            let event = match (&record.state, task.status) {
                (State::Running { .. }, Status::Paused) => Some(Event::Paused),
                (State::Paused { .. }, Status::Running) => Some(Event::Unpaused),
                _ => None,
            };
            changed |= event.is_some();
            if let Some(event) = event
                && let Err(refused) = container.take(event)
            {
                tracing::error!(container = container.id, %refused, "a pause has no place in the container's life");
            }
            container.attachable().now = true;
            Found::Running
        }
        // The shim died with the machine, or was killed: what Docker reports then.
        None => Found::Ended(Exit { code: 137, at: None }),
    };
    container.notify(|progress| progress.running = true);
    if changed {
        container.store(&shared.database, Durability::Lazy).await?;
    }
    Ok(found)
}

/// What containerd and the disk have of containers that nobody wants any more.
async fn clear_strays(shared: &Arc<Shared>, tasks: &HashMap<String, TaskState>) -> Result<usize, Error> {
    let (known, running): (HashSet<String>, HashSet<String>) = {
        let all = shared.index().all();
        let running = all.iter().filter(|container| container.record().state.has_process());
        (all.iter().map(|container| container.id.clone()).collect(), running.map(|c| c.id.clone()).collect())
    };
    let mut strays = 0;
    for id in tasks.keys().filter(|id| !known.contains(*id)) {
        strays += 1;
        start::discard_task(shared, id).await;
    }
    for id in shared.containerd.container_ids().await?.iter().filter(|id| !running.contains(*id)) {
        strays += 1;
        shared.containerd.delete_container(id).await?;
    }
    staging::unstage_others(shared, |id| running.contains(id));
    let own = shared.containerd.own_snapshots().await?;
    for key in own.iter().filter(|key| !known.contains(staging::owner_of_snapshot(key))) {
        strays += 1;
        shared.containerd.remove_snapshot(key).await?;
    }
    strays += clear_sockets(shared, &known)?;
    let folder = shared.settings.data_root.join("containers");
    let entries = fs::read_dir(&folder).map_err(|source| Error::file("read", &folder, source))?;
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(|name| !known.contains(name)) {
            strays += 1;
            files::remove_folder(&entry.path())?;
        }
    }
    Ok(strays)
}

/// Attach sockets of execs: these are known to nobody in a new daemon's life.
fn clear_sockets(shared: &Shared, known: &HashSet<String>) -> Result<usize, Error> {
    let of_containers: HashSet<_> = known.iter().map(|id| shared.settings.attach_path(id)).collect();
    let folder = shared.settings.attach_folder();
    let mut strays = 0;
    for entry in fs::read_dir(&folder).map_err(|source| Error::file("read", &folder, source))?.flatten() {
        let path = entry.path();
        if !of_containers.contains(&path) {
            strays += 1;
            fs::remove_file(&path).map_err(|source| Error::file("remove", &path, source))?;
        }
    }
    Ok(strays)
}

/// A creation that the daemon did not live to answer is undone.
async fn abandon(shared: &Arc<Shared>, container: &Arc<Container>, volume: &str) {
    let _gate = container.gate.lock().await;
    let undone = async {
        volumes::abandon(shared, &container.record(), volume).await?;
        remove::begin_and_erase(shared, container, true).await
    };
    if let Err(error) = undone.await {
        tracing::warn!(container = container.id, error = %errors::chain(&error), "cannot undo a creation");
    }
}

/// A removal that was under way, `--rm` that was not carried out, restart policies.
async fn resume_intent(shared: &Arc<Shared>, container: &Arc<Container>) {
    let record = container.record();
    if let Some(volume) = &record.filling {
        return abandon(shared, container, volume).await;
    }
    let removed = match &record.state {
        State::Removing { .. } => remove::erase(shared, container, record.removes_volumes).await,
        // As in Docker, also one that was never started: the command that was about to start it died with the daemon.
        State::Created { .. } | State::Exited { .. } if record.host_config.auto_remove => {
            let _gate = container.gate.lock().await;
            remove::begin_and_erase(shared, container, true).await
        }
        State::Restarting { .. } => {
            ending::restart_later(shared, container, Duration::ZERO);
            return;
        }
        State::Created { .. } | State::Exited { .. } => {
            let before = restart::Before {
                ever_started: record.state.started().is_some(),
                stopped_by_user: record.stopped_by_user,
                code: record.state.exit_code(),
                restarts: record.history.restarts,
            };
            if restart::starts_with_daemon(record.host_config.restart_policy, before) {
                let (shared, container) = (Arc::clone(shared), Arc::clone(container));
                // Not waited for: the API serves meanwhile, and the start leaves its error in the container.
                tokio::spawn(async move { start::start(&shared, &container, Cause::Daemon).await });
            }
            return;
        }
        _ => return,
    };
    if let Err(error) = removed {
        tracing::warn!(container = container.id, error = %errors::chain(&error), "cannot remove a container");
    }
}
