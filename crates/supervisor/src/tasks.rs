//! Tasks: what runs in containers, each behind a shim of its own.
//!
//! Entry points: [`Tasks::create`], the operations on a task that go to its shim, and [`Tasks::reconnect`] at start. This
//! service owns which tasks there are; whether one runs is its shim's to say. A shim whose connection closes is dead: what
//! it left is cleaned up by its own program's `delete`, the exit (137 unless a better one is known) is published and
//! remembered until [`Tasks::delete`] asks or the container is made anew.
//!
//! Invariants: nothing waits for a shim without a limit except `wait` itself; a kill of this process at any moment leaves
//! a bundle from which the next start knows how far things went.

mod create;
mod death;
mod end;
mod reconnect;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use containerd_api::method::task as methods;
use containerd_api::prost::Message;
use containerd_api::types::Metric;
use containerd_api::v1::types::{Process, ProcessInfo, Status};
use containerd_api::{Any, Timestamp, task::v2, time};
use futures_util::future::join_all;
use tokio::sync::watch;

use crate::bundle::{Bundle, Exit, Places};
use crate::containers::Containers;
use crate::error::{Error, Result};
use crate::events::Exchange;
use crate::filter::{Fields, Filter};
use crate::fork_server::ForkServer;
use crate::messages;
use crate::runtimes::Runtimes;
use crate::shim_client::{Limit, ShimClient};
use crate::shim_program::Daemon;

pub use create::NewTask;

/// The exit status of a task whose shim was killed: 128 + SIGKILL.
pub const KILLED: u32 = 137;

/// The tasks of all namespaces. Cheap to clone.
#[derive(Clone)]
pub struct Tasks {
    shared: Arc<Shared>,
}

struct Shared {
    places: Places,
    daemon: Daemon,
    fork_server: ForkServer,
    runtimes: Runtimes,
    containers: Containers,
    events: Exchange,
    slots: Mutex<HashMap<Key, Slot>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    namespace: String,
    id: String,
}

/// The life of a task, as this service knows it.
#[derive(Clone)]
enum Slot {
    /// Its shim is being started.
    Creating,
    Live(Arc<Task>),
    /// Its shim is gone; the bundle holds nothing but this.
    Dead(Exit),
}

/// A task with a shim.
struct Task {
    bundle: Bundle,
    program: PathBuf,
    shim: ShimClient,
    pid: AtomicU32,
    /// The exit, once somebody has heard of it; it is in the bundle as well then.
    exit: OnceLock<Exit>,
    /// Deleted on purpose: the end of the connection means nothing any more.
    deleted: AtomicBool,
    /// Somebody is deleting it just now: a second one must not reach a bundle that is new by then.
    ending: AtomicBool,
    /// Set when a dead shim has been cleaned up after.
    ended: watch::Sender<Option<Exit>>,
}

impl Tasks {
    pub fn new(places: Places, daemon: Daemon, runtimes: Runtimes, containers: Containers, events: Exchange) -> Self {
        let slots = Mutex::new(HashMap::new());
        let fork_server = ForkServer::default();
        Self { shared: Arc::new(Shared { places, daemon, fork_server, runtimes, containers, events, slots }) }
    }

    /// Starts the created process, or an added one; answers its pid.
    pub async fn start(&self, namespace: &str, id: &str, exec: &str) -> Result<u32> {
        let task = self.live(namespace, id)?;
        let request = v2::StartRequest { id: id.to_owned(), exec_id: exec.to_owned() };
        let answer: v2::StartResponse = task.shim.call(methods::START, &request, Limit::Operation).await?;
        if exec.is_empty() && answer.pid != 0 {
            task.pid.store(answer.pid, Ordering::Relaxed);
        }
        Ok(answer.pid)
    }

    /// The state of the init process, or of an added one.
    pub async fn get(&self, namespace: &str, id: &str, exec: &str) -> Result<Process> {
        match self.slot(namespace, id)? {
            Slot::Dead(exit) if exec.is_empty() => Ok(dead_process(id, &exit)),
            Slot::Dead(_) => Err(messages::exec_not_found(exec)),
            Slot::Creating => Err(messages::task_not_found(id)),
            Slot::Live(task) => match task.state(exec).await {
                Ok(state) => Ok(process(id, exec, state)),
                Err(error) if exec.is_empty() && error.is_not_found() => {
                    task.exit.get().map(|exit| dead_process(id, exit)).ok_or(error)
                }
                Err(error) if exec.is_empty() && task.shim.is_closed() => {
                    task.exit_after_death().await.map(|exit| dead_process(id, &exit)).ok_or(error)
                }
                Err(error) => Err(error),
            },
        }
    }

    /// Every task of a namespace; one whose shim does not answer in time is listed as unknown.
    pub async fn list(&self, namespace: &str) -> Vec<Process> {
        let slots: Vec<(String, Slot)> = self
            .lock()
            .iter()
            .filter(|(key, _)| key.namespace == namespace)
            .map(|(key, slot)| (key.id.clone(), slot.clone()))
            .collect();
        let mut processes: Vec<Process> = join_all(slots.into_iter().map(|(id, slot)| async move {
            match slot {
                Slot::Creating => None,
                Slot::Dead(exit) => Some(dead_process(&id, &exit)),
                Slot::Live(task) => match task.state("").await {
                    Ok(state) => Some(process(&id, "", state)),
                    // Deleted in the shim by a call of which we died: its end is known, and still to be asked for.
                    Err(error) if error.is_not_found() => task.exit.get().map(|exit| dead_process(&id, exit)),
                    Err(_) => Some(task.unknown()),
                },
            }
        }))
        .await
        .into_iter()
        .flatten()
        .collect();
        processes.sort_by(|a, b| a.id.cmp(&b.id));
        processes
    }

    /// How many tasks a namespace has.
    pub fn count(&self, namespace: &str) -> usize {
        self.lock().keys().filter(|key| key.namespace == namespace).count()
    }

    pub async fn kill(&self, namespace: &str, request: v2::KillRequest) -> Result<()> {
        let id = request.id.clone();
        if let Slot::Dead(_) = self.slot(namespace, &id)? {
            return Err(messages::process_finished());
        }
        self.tell(namespace, &id, methods::KILL, &request).await
    }

    /// Adds a process to a task; it waits for [`Tasks::start`].
    pub async fn exec(&self, namespace: &str, request: v2::ExecProcessRequest) -> Result<()> {
        if request.exec_id.is_empty() {
            return Err(Error::InvalidArgument("exec id cannot be empty: invalid argument".to_owned()));
        }
        crate::identifier::check(&request.exec_id)?;
        let id = request.id.clone();
        self.tell(namespace, &id, methods::EXEC, &request).await
    }

    pub async fn resize(&self, namespace: &str, request: v2::ResizePtyRequest) -> Result<()> {
        let id = request.id.clone();
        self.tell(namespace, &id, methods::RESIZE_PTY, &request).await
    }

    pub async fn close_io(&self, namespace: &str, request: v2::CloseIoRequest) -> Result<()> {
        let id = request.id.clone();
        self.tell(namespace, &id, methods::CLOSE_IO, &request).await
    }

    pub async fn update(&self, namespace: &str, request: v2::UpdateTaskRequest) -> Result<()> {
        let id = request.id.clone();
        self.tell(namespace, &id, methods::UPDATE, &request).await
    }

    pub async fn pause(&self, namespace: &str, id: &str) -> Result<()> {
        self.tell(namespace, id, methods::PAUSE, &v2::PauseRequest { id: id.to_owned() }).await
    }

    pub async fn resume(&self, namespace: &str, id: &str) -> Result<()> {
        self.tell(namespace, id, methods::RESUME, &v2::ResumeRequest { id: id.to_owned() }).await
    }

    pub async fn pids(&self, namespace: &str, id: &str) -> Result<Vec<ProcessInfo>> {
        let task = self.live(namespace, id)?;
        let request = v2::PidsRequest { id: id.to_owned() };
        let answer: v2::PidsResponse = task.shim.call(methods::PIDS, &request, Limit::Operation).await?;
        Ok(answer.processes)
    }

    /// Figures of every task that a filter on `id` and `namespace` lets through; who does not answer is left out.
    pub async fn metrics(&self, namespace: &str, filters: &[String]) -> Result<Vec<Metric>> {
        let filter = Filter::parse_all(filters)?;
        let live: Vec<Arc<Task>> = self
            .lock()
            .iter()
            .filter(|(key, _)| key.namespace == namespace && filter.matches(*key))
            .filter_map(|(_, slot)| if let Slot::Live(task) = slot { Some(task.clone()) } else { None })
            .collect();
        let metrics = join_all(live.iter().map(|task| async {
            let request = v2::StatsRequest { id: task.bundle.id.clone() };
            let answer: v2::StatsResponse = task.shim.call(methods::STATS, &request, Limit::Question).await.ok()?;
            Some(Metric {
                timestamp: Some(time::to_timestamp(std::time::SystemTime::now())),
                id: task.bundle.id.clone(),
                data: answer.stats,
            })
        }))
        .await;
        Ok(metrics.into_iter().flatten().collect())
    }

    /// Waits until a process has ended; answers at once when it has.
    pub async fn wait(&self, namespace: &str, id: &str, exec: &str) -> Result<Exit> {
        let task = match self.slot(namespace, id)? {
            Slot::Dead(exit) => return Ok(exit),
            Slot::Creating => return Err(messages::task_not_found(id)),
            Slot::Live(task) => task,
        };
        let request = v2::WaitRequest { id: id.to_owned(), exec_id: exec.to_owned() };
        match task.shim.call::<v2::WaitResponse>(methods::WAIT, &request, Limit::Endless).await {
            Ok(answer) => {
                let pid = task.pid.load(Ordering::Relaxed);
                let exit = Exit::new(pid, answer.exit_status, time::from_timestamp(answer.exited_at.as_ref()));
                if exec.is_empty() {
                    task.note_exit(exit);
                }
                Ok(exit)
            }
            Err(error) if task.shim.is_closed() => task.exit_after_death().await.ok_or(error),
            Err(error) => Err(error),
        }
    }

    /// A shim told of an exit in an event: kept, in case the shim dies before anybody asks.
    pub fn note_exit_event(&self, namespace: &str, event: Option<&Any>) {
        let Some(Ok(exit)) = event.map(containerd_api::any::unpack::<containerd_api::events::TaskExit>) else { return };
        if exit.id != exit.container_id {
            return;
        }
        if let Ok(Slot::Live(task)) = self.slot(namespace, &exit.container_id) {
            let at = time::from_timestamp(exit.exited_at.as_ref());
            task.note_exit(Exit::new(exit.pid, exit.exit_status, at));
        }
    }

    /// An operation without an answer.
    async fn tell(&self, namespace: &str, id: &str, method: &str, request: &impl Message) -> Result<()> {
        let task = self.live(namespace, id)?;
        task.shim.call::<()>(method, request, Limit::Operation).await
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Slot>> {
        self.shared.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, namespace: &str, id: &str) -> Result<Slot> {
        self.lock().get(&Key::new(namespace, id)).cloned().ok_or_else(|| messages::task_not_found(id))
    }

    fn live(&self, namespace: &str, id: &str) -> Result<Arc<Task>> {
        match self.slot(namespace, id)? {
            Slot::Live(task) => Ok(task),
            Slot::Creating => Err(messages::task_not_found(id)),
            Slot::Dead(_) => Err(messages::process_finished()),
        }
    }
}

impl Key {
    fn new(namespace: &str, id: &str) -> Self {
        Self { namespace: namespace.to_owned(), id: id.to_owned() }
    }
}

impl Fields for Key {
    fn field(&self, path: &[&str]) -> Option<std::borrow::Cow<'_, str>> {
        match path[0] {
            "id" => crate::filter::non_empty(&self.id),
            "namespace" => crate::filter::non_empty(&self.namespace),
            _ => None,
        }
    }
}

impl Task {
    async fn state(&self, exec: &str) -> Result<v2::StateResponse> {
        let request = v2::StateRequest { id: self.bundle.id.clone(), exec_id: exec.to_owned() };
        let state: v2::StateResponse = self.shim.call(methods::STATE, &request, Limit::Question).await?;
        if exec.is_empty() && state.pid != 0 {
            self.pid.store(state.pid, Ordering::Relaxed);
        }
        Ok(state)
    }

    /// Remembers the exit, in the bundle too. The first one told counts.
    fn note_exit(&self, exit: Exit) {
        if self.exit.set(exit).is_ok()
            && !self.deleted.load(Ordering::Acquire)
            && let Err(error) = self.bundle.write_exit(&exit)
        {
            tracing::warn!(id = %self.bundle.id, error = %errors::chain(&error), "an exit could not be recorded");
        }
    }

    /// The exit of a task whose shim died, when that has been cleaned up; `None` if it was deleted meanwhile.
    async fn exit_after_death(&self) -> Option<Exit> {
        let mut ended = self.ended.subscribe();
        tokio::select! {
            exit = ended.wait_for(Option::is_some) => exit.ok().and_then(|exit| *exit),
            () = tokio::time::sleep(death::CLEANUP_LIMIT) => self.exit.get().copied(),
        }
    }

    fn unknown(&self) -> Process {
        Process {
            container_id: self.bundle.id.clone(),
            id: self.bundle.id.clone(),
            pid: self.pid.load(Ordering::Relaxed),
            status: Status::Unknown.into(),
            ..Process::default()
        }
    }
}

fn process(id: &str, exec: &str, state: v2::StateResponse) -> Process {
    Process {
        container_id: id.to_owned(),
        id: if exec.is_empty() { id.to_owned() } else { exec.to_owned() },
        pid: state.pid,
        status: state.status,
        stdin: state.stdin,
        stdout: state.stdout,
        stderr: state.stderr,
        terminal: state.terminal,
        exit_status: state.exit_status,
        exited_at: state.exited_at,
    }
}

fn dead_process(id: &str, exit: &Exit) -> Process {
    Process {
        container_id: id.to_owned(),
        id: id.to_owned(),
        pid: exit.pid,
        status: Status::Stopped.into(),
        exit_status: exit.status,
        exited_at: Some(timestamp(exit)),
        ..Process::default()
    }
}

/// The time of an exit as it is sent.
pub fn timestamp(exit: &Exit) -> Timestamp {
    time::to_timestamp(exit.exited_at())
}
