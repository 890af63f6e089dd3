//! `docker exec`: processes beside a container's own. They live in memory and in the shim; an exec's id is containerd's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use container_core::{ExecConfig, State, resolve_user, spec};
use containerd_api::v1::types::Status;
use errors::{ErrorKind, Kind};
use tokio::net::UnixStream;
use tokio::sync::watch;

use crate::containerd::{Exit, NewExec};
use crate::create::new_id;
use crate::error::Error;
use crate::messages;
use crate::record::Container;
use crate::request::{AttachRequest, ExecStart, ExecView, TtySize};
use crate::rootfs::{self, Layers};
use crate::service::{Shared, detached};
use crate::stdio::{self, Stdin};

/// Execs that were made and never run are bounded; the oldest containers' ones are not thrown away for new ones.
const MOST_EXECS: usize = 10_000;
/// How long a process may outlive its output before its caller is told that it still runs.
const AFTER_OUTPUT: Duration = Duration::from_secs(2);

/// A client resizes as soon as it has asked for the start, which may still be under way.
const UNTIL_READY: Duration = Duration::from_secs(10);

pub(crate) struct Exec {
    id: String,
    container_id: String,
    config: ExecConfig,
    phase: Mutex<Phase>,
    ended: watch::Sender<bool>,
    /// Its start is over, one way or the other.
    ready: watch::Sender<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Created,
    Starting,
    Running { pid: u32 },
    Ended { code: i32 },
}

impl Exec {
    pub fn container_id(&self) -> &str {
        &self.container_id
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self) -> ExecView {
        let phase = *self.phase();
        ExecView {
            id: self.id.clone(),
            container_id: self.container_id.clone(),
            config: self.config.clone(),
            running: matches!(phase, Phase::Starting | Phase::Running { .. }),
            exit_code: if let Phase::Ended { code } = phase { Some(code) } else { None },
            pid: if let Phase::Running { pid } = phase { pid } else { 0 },
        }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// The exit code, once there is one.
    pub async fn wait(&self) -> i32 {
        let mut ended = self.ended.subscribe();
        // The sender is this exec's own: it lives as long as the wait.
        let _ = ended.wait_for(|ended| *ended).await;
        if let Phase::Ended { code } = *self.phase() { code } else { -1 }
    }

    /// `true` when it was not known yet. Who waits for the end is told by [`Exec::announce`].
    fn end(&self, code: i32) -> bool {
        let mut phase = self.phase();
        let fresh = !matches!(*phase, Phase::Ended { .. });
        if fresh {
            *phase = Phase::Ended { code };
        }
        fresh
    }

    fn announce(&self) {
        self.ready.send_replace(true);
        self.ended.send_replace(true);
    }
}

/// Execs of all containers.
#[derive(Clone)]
pub struct Execs {
    shared: Arc<Shared>,
}

impl Execs {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Its id.
    pub fn create(&self, reference: &str, config: ExecConfig) -> Result<String, Error> {
        let container = self.shared.find(reference)?;
        if config.cmd.is_empty() {
            return Err(messages::no_exec_command());
        }
        may_run_in(&container, reference)?;
        Ok(add(&self.shared, &container, config)?.id.clone())
    }

    /// Whether [`Execs::start`] may be tried: what is wrong is known before a connection is hijacked.
    pub fn check(&self, exec_id: &str) -> Result<ExecView, Error> {
        let exec = self.find(exec_id)?;
        let container = self.shared.index().get(&exec.container_id).ok_or_else(|| messages::no_such_exec(exec_id))?;
        match *exec.phase() {
            Phase::Starting | Phase::Running { .. } => return Err(messages::exec_is_running(exec_id)),
            Phase::Ended { .. } => return Err(messages::exec_has_run(exec_id)),
            Phase::Created => {}
        }
        may_run_in(&container, &container.id)?;
        Ok(exec.view())
    }

    /// Runs it. With `detach` there is no stream. A refusal by the runtime is the exec's end, with Docker's exit code.
    pub async fn start(&self, exec_id: &str, start: ExecStart) -> Result<Option<UnixStream>, Error> {
        let exec = self.find(exec_id)?;
        let container = self.shared.index().get(&exec.container_id).ok_or_else(|| messages::no_such_exec(exec_id))?;
        may_run_in(&container, &container.id)?;
        {
            let mut phase = exec.phase();
            match *phase {
                Phase::Created => *phase = Phase::Starting,
                Phase::Ended { .. } => return Err(messages::exec_has_run(exec_id)),
                _ => return Err(messages::exec_is_running(exec_id)),
            }
        }
        let shared = Arc::clone(&self.shared);
        detached(async move { run(&shared, &container, &exec, start).await }).await
    }

    pub fn inspect(&self, exec_id: &str) -> Result<ExecView, Error> {
        Ok(self.find(exec_id)?.view())
    }

    /// For who copied the output to its end: returns when the exit code is known, or after a short while.
    pub async fn settle(&self, exec_id: &str) -> Result<ExecView, Error> {
        let exec = self.find(exec_id)?;
        let mut ended = exec.ended.subscribe();
        // A process that closed its output and goes on is told as running.
        let _ = tokio::time::timeout(AFTER_OUTPUT, ended.wait_for(|ended| *ended)).await;
        Ok(exec.view())
    }

    pub async fn resize(&self, exec_id: &str, size: TtySize) -> Result<(), Error> {
        let exec = self.find(exec_id)?;
        let container = self.shared.index().get(&exec.container_id).ok_or_else(|| messages::no_such_exec(exec_id))?;
        may_run_in(&container, &container.id)?;
        let mut ready = exec.ready.subscribe();
        if tokio::time::timeout(UNTIL_READY, ready.wait_for(|ready| *ready)).await.is_err() {
            return Err(messages::exec_not_ready());
        }
        if !matches!(*exec.phase(), Phase::Running { .. }) {
            return Err(messages::exec_not_started());
        }
        self.shared.containerd.resize(&exec.container_id, &exec.id, size.width, size.height).await
    }

    fn find(&self, exec_id: &str) -> Result<Arc<Exec>, Error> {
        let execs = self.shared.execs();
        execs.get(exec_id).cloned().ok_or_else(|| messages::no_such_exec(exec_id))
    }
}

/// Makes an exec known, and tells of it.
fn add(shared: &Shared, container: &Container, config: ExecConfig) -> Result<Arc<Exec>, Error> {
    let mut config = config;
    if config.user.is_empty() {
        config.user.clone_from(&container.record().config.user);
    }
    let command = told(&config);
    let exec = Arc::new(Exec {
        id: new_id()?,
        container_id: container.id.clone(),
        config,
        phase: Mutex::new(Phase::Created),
        ended: watch::Sender::new(false),
        ready: watch::Sender::new(false),
    });
    {
        let mut execs = shared.execs();
        if execs.len() >= MOST_EXECS {
            let message = format!("too many execs: at most {MOST_EXECS} are kept");
            return Err(Error::Refused { kind: ErrorKind::ResourceExhausted, message });
        }
        execs.insert(exec.id.clone(), Arc::clone(&exec));
    }
    shared.publish(&container.record(), format!("exec_create: {command}"), &[("execID", exec.id.clone())]);
    Ok(exec)
}

/// A process of the engine's own beside a container's, and its output.
pub(crate) struct Begun {
    pub exec: Arc<Exec>,
    pub stream: Option<UnixStream>,
}

/// Runs a probe.
pub(crate) async fn begin(
    shared: &Arc<Shared>,
    container: &Arc<Container>,
    config: ExecConfig,
) -> Result<Begun, Error> {
    may_run_in(container, &container.id)?;
    let exec = add(shared, container, config)?;
    *exec.phase() = Phase::Starting;
    match run(shared, container, &exec, ExecStart::default()).await {
        Ok(stream) => Ok(Begun { exec, stream }),
        Err(error) => {
            forget(shared, &exec.id);
            Err(error)
        }
    }
}

/// Nobody asks for it any more.
pub(crate) fn forget(shared: &Shared, exec_id: &str) {
    shared.execs().remove(exec_id);
}

/// The command as events tell it: the program, a blank, and the words behind it, which may be none.
fn told(config: &ExecConfig) -> String {
    let (program, words) = config.cmd.split_first().map_or(("", &[][..]), |(program, words)| (program.as_str(), words));
    format!("{program} {}", words.join(" "))
}

fn may_run_in(container: &Container, reference: &str) -> Result<(), Error> {
    match container.record().state {
        State::Running { .. } => Ok(()),
        State::Paused { .. } => Err(messages::exec_paused(reference)),
        State::Restarting { .. } => Err(messages::is_restarting(&container.id)),
        _ => Err(messages::not_running(&container.id)),
    }
}

async fn run(
    shared: &Arc<Shared>,
    container: &Arc<Container>,
    exec: &Arc<Exec>,
    start: ExecStart,
) -> Result<Option<UnixStream>, Error> {
    match attempt(shared, container, exec, start).await {
        Ok((pid, stream)) => {
            let mut phase = exec.phase();
            // A short-lived process may have ended already.
            if *phase == Phase::Starting {
                *phase = Phase::Running { pid };
            }
            drop(phase);
            exec.ready.send_replace(true);
            Ok(stream)
        }
        Err(error) => {
            let (kind, code, message) = match &error {
                Error::Containerd { source, .. } if source.kind() == ErrorKind::Unavailable => {
                    (ErrorKind::Unavailable, 126, errors::chain(&error))
                }
                Error::Containerd { source, .. } => {
                    messages::start_failure(&messages::exec_refusal(&errors::chain(source)))
                }
                other => (other.kind(), 126, errors::chain(other)),
            };
            // Docker's code for everything that is neither found nor allowed.
            exec.end(if code == 128 { 126 } else { code });
            exec.announce();
            Err(Error::Refused { kind, message })
        }
    }
}

async fn attempt(
    shared: &Arc<Shared>,
    container: &Arc<Container>,
    exec: &Arc<Exec>,
    start: ExecStart,
) -> Result<(u32, Option<UnixStream>), Error> {
    let config = &exec.config;
    // Told before it is tried, as Docker does.
    shared.publish(&container.record(), format!("exec_start: {}", told(config)), &[("execID", exec.id.clone())]);
    let process = process(shared, container, exec, start.console_size).await?;
    let socket = shared.settings.attach_path(&exec.id);
    let attached = !start.detach && (config.attach_stdin || config.attach_stdout || config.attach_stderr);
    let stdin = if config.attach_stdin && attached { Stdin::Once } else { Stdin::None };
    let stdio = stdio::Streams { socket: socket.clone(), log: None, stdin }.uri();
    let new = NewExec {
        container_id: exec.container_id.clone(),
        exec_id: exec.id.clone(),
        process,
        stdio,
        terminal: config.tty,
    };
    shared.containerd.exec(&new).await?;
    let begun = async {
        let stream = if attached {
            let wanted = AttachRequest {
                stdin: config.attach_stdin,
                stdout: config.attach_stdout,
                stderr: config.attach_stderr,
            };
            Some(stdio::connect(&socket, wanted).await?)
        } else {
            None
        };
        let pid = shared.containerd.start(&exec.container_id, &exec.id).await?;
        Ok((pid, stream))
    };
    let begun: Result<_, Error> = begun.await;
    if begun.is_err() {
        // Behind the error that counts; with the container the shim forgets it anyway.
        let _ = shared.containerd.delete_process(&exec.container_id, &exec.id).await;
    }
    begun
}

/// The process in the OCI's words, as JSON.
async fn process(
    shared: &Arc<Shared>,
    container: &Arc<Container>,
    exec: &Arc<Exec>,
    size: Option<TtySize>,
) -> Result<Vec<u8>, Error> {
    let record = container.record();
    let mounts = container.rootfs(&shared.containerd).await?;
    let layers = Layers::of(&mounts).unwrap_or_default();
    let user = resolve_user(
        &exec.config.user,
        &record.host_config.group_add,
        &rootfs::read_small(&layers, "etc", "passwd")?,
        &rootfs::read_small(&layers, "etc", "group")?,
    )?;
    let size = size.map(|size| (size.height, size.width)).or(exec.config.console_size);
    let process = spec::exec_process(&exec.config, &record.config, &record.host_config, &user, size, &shared.host)?;
    serde_json::to_vec(&process).map_err(|source| Error::Refused {
        kind: ErrorKind::Internal,
        message: format!("cannot write the process: {source}"),
    })
}

/// The shim says that an exec has ended. One that nobody here knows is of a daemon before this one: the shim may forget it.
pub(crate) async fn ended(shared: &Arc<Shared>, container_id: &str, exec_id: &str, exit: Exit) {
    let exec = shared.execs().get(exec_id).cloned();
    if let Some(exec) = exec {
        // An exec whose start is being refused is ended by its start, with a better code.
        if *exec.phase() == Phase::Starting && !starts_to_run(shared, &exec).await {
            return;
        }
        tell_end(shared, &exec, exit.code);
    }
    if let Err(error) = shared.containerd.delete_process(container_id, exec_id).await {
        tracing::debug!(container = container_id, exec = exec_id, error = %errors::chain(&error), "cannot delete an exec");
    }
}

/// Whether the start that is under way got its process going, or the process ran and ended within it.
async fn starts_to_run(shared: &Arc<Shared>, exec: &Arc<Exec>) -> bool {
    matches!(shared.containerd.get(&exec.container_id, &exec.id).await, Ok(Some(task)) if task.pid != 0)
}

fn tell_end(shared: &Arc<Shared>, exec: &Arc<Exec>, code: i32) {
    if !exec.end(code) {
        return;
    }
    let container = shared.index().get(&exec.container_id);
    if let Some(container) = container {
        let attributes = [("execID", exec.id.clone()), ("exitCode", code.to_string())];
        shared.publish(&container.record(), "exec_die", &attributes);
    }
    // What follows from it, as a container's health does from a probe, is told behind it.
    exec.announce();
}

/// With the container's own process all others are gone.
pub(crate) fn container_ended(shared: &Arc<Shared>, container_id: &str, code: i32) {
    let running = running(shared, |exec| exec.container_id == container_id);
    for exec in running {
        tell_end(shared, &exec, code);
    }
}

/// After a connection was lost: ends that nobody told.
pub(crate) async fn compare(shared: &Arc<Shared>) {
    for exec in running(shared, |_| true) {
        let code = match shared.containerd.get(&exec.container_id, &exec.id).await {
            Ok(Some(task)) if task.status == Status::Stopped => task.code,
            Ok(None) => 137,
            _ => continue,
        };
        ended(shared, &exec.container_id, &exec.id, Exit { code, at: None }).await;
    }
}

fn running(shared: &Shared, wanted: impl Fn(&Exec) -> bool) -> Vec<Arc<Exec>> {
    let execs = shared.execs();
    execs.values().filter(|exec| matches!(*exec.phase(), Phase::Running { .. }) && wanted(exec)).cloned().collect()
}

/// Ids of a container's execs that have not ended, for `inspect`.
pub(crate) fn unfinished(shared: &Shared, container_id: &str) -> Vec<String> {
    let execs = shared.execs();
    let mut ids: Vec<String> = execs
        .values()
        .filter(|exec| exec.container_id == container_id && !matches!(*exec.phase(), Phase::Ended { .. }))
        .map(|exec| exec.id.clone())
        .collect();
    ids.sort();
    ids
}
