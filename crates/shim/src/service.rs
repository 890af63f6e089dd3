//! The calls of the task service, from decoding to the runtime's command or the answer.

use crate::arguments::is_file_name;
use crate::container::{Container, MAX_EXECS, MAX_WAITING, Traits};
use crate::messages;
use crate::metrics;
use crate::operation::{Kind, Streams};
use crate::process::{Life, Process, Reply};
use crate::rootfs;
use crate::runtime::{Runtime, RuntimeOptions};
use crate::server::{GATE, Shim};
use crate::stdio::{ChildEnds, Owner, Stdio, StdioUris, failed};
use crate::work::Work;
use ::runtime::start::Gate;
use containerd_api::events::{TaskDelete, TaskExecAdded};
use containerd_api::runc::v1::Options;
use containerd_api::task::v2 as task;
use containerd_api::{any, method};
use logs::poller::Interest;
use prost::Message;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use ttrpc::{Request, Status};

/// An answer now, or `None` for one that comes later.
pub type Answer = Result<Option<Vec<u8>>, Status>;

fn decode<M: Message + Default>(request: &Request) -> Result<M, Status> {
    M::decode(request.payload.as_slice())
        .map_err(|error| messages::invalid(format!("unmarshal of {} failed: {error}", request.method)))
}

fn answer(message: &impl Message) -> Answer {
    Ok(Some(message.encode_to_vec()))
}

fn empty() -> Answer {
    Ok(Some(Vec::new()))
}

impl Shim {
    /// Does what a call asks and answers it, now or when the runtime is done.
    pub fn call(&mut self, reply: Reply, request: Request) {
        if is_exclusive(&request.method)
            && let Some(container) = self.container.as_mut().filter(|container| container.busy)
        {
            if container.waiting.len() < MAX_WAITING {
                container.waiting.push_back((reply, request));
            } else {
                self.respond(reply, Err(messages::unknown("too many calls are waiting")));
            }
            return;
        }
        match self.answer(reply, &request) {
            Ok(None) => {}
            Ok(Some(payload)) => self.respond(reply, Ok(payload)),
            Err(status) => self.respond(reply, Err(status)),
        }
    }

    fn answer(&mut self, reply: Reply, request: &Request) -> Answer {
        if request.service != method::TASK_V2 && request.service != method::TASK_V3 {
            return Err(Status::unknown_method(&request.service, &request.method));
        }
        match request.method.as_str() {
            method::task::CREATE => self.create(reply, decode(request)?),
            method::task::START => self.start(reply, &decode(request)?),
            method::task::EXEC => self.exec(decode(request)?),
            method::task::DELETE => self.delete(reply, &decode(request)?),
            method::task::KILL => self.kill(reply, &decode(request)?),
            method::task::STATE => self.state(&decode(request)?),
            method::task::WAIT => self.wait(reply, &decode(request)?),
            method::task::PIDS => self.pids(reply),
            method::task::PAUSE => self.pause(reply),
            method::task::RESUME => self.resume(reply),
            method::task::UPDATE => self.update(reply, &decode(request)?),
            method::task::RESIZE_PTY => self.resize(&decode(request)?),
            method::task::CLOSE_IO => self.close_io(&decode(request)?),
            method::task::CHECKPOINT => Err(messages::no_checkpoints()),
            method::task::STATS => self.stats(),
            method::task::CONNECT => answer(&task::ConnectResponse {
                shim_pid: std::process::id(),
                task_pid: self.container.as_ref().map_or(0, |container| container.init.pid as u32),
                version: String::new(),
            }),
            method::task::SHUTDOWN => {
                if self.container.is_none() {
                    self.shut_down();
                }
                empty()
            }
            other => Err(Status::unknown_method(&request.service, other)),
        }
    }

    fn container(&mut self) -> Result<&mut Container, Status> {
        self.container.as_mut().ok_or_else(messages::not_created)
    }

    fn create(&mut self, reply: Reply, request: task::CreateTaskRequest) -> Answer {
        if self.container.is_some() {
            return Err(messages::container_exists(&request.id));
        }
        if !request.checkpoint.is_empty() {
            return Err(messages::no_checkpoints());
        }
        if !is_file_name(&request.id) {
            return Err(messages::invalid(format!("id {:?} cannot be a part of a path", request.id)));
        }
        let options = options(&request)?;
        if !options.task_api_address.is_empty() {
            return Err(messages::unsupported("task_api_address"));
        }
        let kept = RuntimeOptions::from(&options);
        let bundle = Path::new(&request.bundle);
        kept.save(bundle).map_err(failed("cannot keep the runtime's options in the bundle"))?;
        let root = bundle.join("rootfs");
        rootfs::mount_all(&request.rootfs, &root).map_err(|error| messages::unknown(errors::chain(&error)))?;
        let created = self.spawn_create(reply, &request, &options, &kept);
        if created.is_err() {
            self.container = None;
            if !request.rootfs.is_empty() {
                rootfs::unmount(&root);
            }
        }
        created.map(|()| None)
    }

    fn spawn_create(
        &mut self,
        reply: Reply,
        request: &task::CreateTaskRequest,
        options: &Options,
        kept: &RuntimeOptions,
    ) -> Result<(), Status> {
        let bundle = Path::new(&request.bundle);
        let namespace = self.arguments.namespace.clone();
        let uris = StdioUris {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        let base = self.next_base();
        let (uid, gid) = (options.io_uid, options.io_gid);
        let owner = Owner { namespace: &namespace, id: &request.id, bundle, uid, gid };
        let (stdio, ends) = Stdio::open(&uris, owner, &self.poller, base)?;
        let runtime = Runtime::new(kept, &namespace, bundle, Path::new(&self.arguments.program));
        let work = Work::Create {
            bundle: bundle.to_owned(),
            pid_file: bundle.join("init.pid"),
            console: stdio.console_path(),
            no_pivot_root: kept.no_pivot_root,
            no_new_keyring: kept.no_new_keyring,
        };
        let streams = if request.terminal { Streams::Captured } else { Streams::Process(ends) };
        self.operations.begin(&runtime, &request.id, &work, streams, Kind::Create, Some(reply))?;
        let traits = Traits::of(bundle);
        self.rootfs_mounts = request.rootfs.clone();
        self.container = Some(Container {
            id: request.id.clone(),
            dies_with_init: traits.own_pid_namespace,
            poststart: traits.poststart,
            gate: None,
            bundle: bundle.to_owned(),
            init: Process::new(uris, stdio, ChildEnds::default(), base),
            namespace,
            runtime,
            execs: Default::default(),
            uid,
            gid,
            paused: false,
            cgroup: None,
            killing: false,
            busy: true,
            waiting: Default::default(),
        });
        Ok(())
    }

    fn start(&mut self, reply: Reply, request: &task::StartRequest) -> Answer {
        if !request.exec_id.is_empty() {
            return self.start_exec(reply, &request.exec_id);
        }
        let container = self.container.as_mut().ok_or_else(messages::not_created)?;
        if container.init.life != Life::Created {
            return Err(messages::wrong_state("start", container.init.life.word()));
        }
        match container.runtime.inside().filter(|_| !container.poststart) {
            Some(root) => {
                let failed = |error: String| messages::unknown(format!("OCI runtime start failed: {error}"));
                let gate = Gate::open(root, &container.id).map_err(|error| failed(errors::chain(&error)))?;
                self.poller.add(&gate, GATE, Interest::READ).map_err(|errno| failed(errno.to_string()))?;
                container.gate = Some((gate, reply));
            }
            None => {
                let (runtime, streams) = (&container.runtime, Streams::Captured);
                self.operations.begin(runtime, &container.id, &Work::Start, streams, Kind::Start, Some(reply))?;
            }
        }
        container.init.life = Life::Starting { early: None };
        container.busy = true;
        Ok(None)
    }

    fn exec(&mut self, request: task::ExecProcessRequest) -> Answer {
        let base = self.next_base();
        let container = self.container.as_mut().ok_or_else(messages::not_created)?;
        let id = request.exec_id;
        if !is_file_name(&id) {
            return Err(messages::invalid(format!("exec id {id:?} cannot be a part of a path")));
        }
        if container.execs.contains_key(&id) || id == container.id {
            return Err(messages::exec_exists(&id));
        }
        if container.execs.len() >= MAX_EXECS {
            return Err(messages::unknown("too many execs that were not deleted"));
        }
        if matches!(container.init.life, Life::Ending(_) | Life::Stopped(_)) {
            return Err(messages::unknown("cannot exec in a stopped state"));
        }
        if container.paused {
            return Err(messages::unknown("cannot exec in a paused state"));
        }
        let spec = with_terminal(request.spec.map(|spec| spec.value).unwrap_or_default(), request.terminal)?;
        let uris = StdioUris {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            terminal: request.terminal,
        };
        let (namespace, bundle) = (&container.namespace, &container.bundle);
        let owner = Owner { namespace, id: &id, bundle, uid: container.uid, gid: container.gid };
        let (stdio, ends) = Stdio::open(&uris, owner, &self.poller, base)?;
        let mut process = Process::new(uris, stdio, ends, base);
        process.spec = spec;
        container.execs.insert(id.clone(), process);
        let event = TaskExecAdded { container_id: container.id.clone(), exec_id: id };
        self.publisher.publish(&self.poller, "/tasks/exec-added", &event);
        empty()
    }

    fn start_exec(&mut self, reply: Reply, id: &str) -> Answer {
        let container = self.container.as_mut().ok_or_else(messages::not_created)?;
        let init_lives = matches!(container.init.life, Life::Created | Life::Running);
        let process = container.execs.get_mut(id).ok_or_else(|| messages::no_process(id))?;
        if process.life != Life::New {
            return Err(messages::wrong_state("start", process.life.word()));
        }
        if !init_lives {
            return Err(messages::init_not_running(&container.id));
        }
        let file = container.bundle.join(format!("{id}.process.json"));
        write_private(&file, &process.spec).map_err(failed("cannot hand the process to the runtime"))?;
        let work = Work::Exec {
            process: file,
            pid_file: container.bundle.join(format!("{id}.pid")),
            console: process.stdio.console_path(),
        };
        let ends = process.ends.take().unwrap_or_default();
        let streams = if process.uris.terminal { Streams::Captured } else { Streams::Process(ends) };
        let kind = Kind::StartExec(id.to_owned());
        self.operations.begin(&container.runtime, &container.id, &work, streams, kind, Some(reply))?;
        process.life = Life::Starting { early: None };
        process.spec = Vec::new();
        Ok(None)
    }

    fn delete(&mut self, reply: Reply, request: &task::DeleteRequest) -> Answer {
        let container = self.container.as_mut().ok_or_else(messages::not_created)?;
        let process = container.process(&request.exec_id)?;
        if process.life.is_alive() {
            return Err(messages::wrong_state("delete", "running"));
        }
        if !request.exec_id.is_empty() {
            let outcome = process.life.outcome();
            let response = task::DeleteResponse {
                pid: process.pid as u32,
                exit_status: outcome.map_or(0, |outcome| outcome.status),
                exited_at: outcome.and_then(|outcome| outcome.timestamp()),
            };
            // Missing where the exec was never started.
            let _ = fs::remove_file(container.bundle.join(format!("{}.pid", request.exec_id)));
            if let Some(mut process) = container.execs.remove(&request.exec_id) {
                process.stdio.end(&self.poller, &mut self.scratch);
                self.let_go(process);
            }
            return answer(&response);
        }
        let work = Work::Delete { force: container.init.life == Life::Created };
        self.work(work, Kind::Delete, reply)
    }

    /// The runtime has deleted the container: the last answer, with which the shim has nothing left to keep.
    pub fn deleted(&mut self) -> Answer {
        let Some(mut container) = self.container.take() else { return Err(messages::not_created()) };
        self.emptied = true;
        self.memory = None;
        if !self.rootfs_mounts.is_empty() {
            container.unmount();
            self.rootfs_mounts = Vec::new();
        }
        let outcome = container.init.life.outcome().unwrap_or_else(|| crate::outcome::Outcome::now(137));
        let (pid, exited_at) = (container.init.pid as u32, outcome.timestamp());
        let event = TaskDelete {
            container_id: container.id.clone(),
            pid,
            exit_status: outcome.status,
            exited_at,
            id: String::new(),
        };
        self.publisher.publish(&self.poller, "/tasks/delete", &event);
        let waiters: Vec<_> = container.processes().flat_map(|process| std::mem::take(&mut process.waiters)).collect();
        let response = task::WaitResponse { exit_status: outcome.status, exited_at };
        for waiter in waiters {
            self.respond(waiter, Ok(response.encode_to_vec()));
        }
        for (reply, request) in container.waiting.drain(..).collect::<Vec<_>>() {
            self.call(reply, request);
        }
        // An exec that was never started, or deleted by nobody, ends here with its attach socket.
        for mut process in std::iter::once(container.init).chain(container.execs.into_values()) {
            process.stdio.end(&self.poller, &mut self.scratch);
            self.let_go(process);
        }
        answer(&task::DeleteResponse { pid, exit_status: outcome.status, exited_at })
    }

    fn kill(&mut self, reply: Reply, request: &task::KillRequest) -> Answer {
        let container = self.container.as_mut().ok_or_else(messages::not_created)?;
        let needs_runtime = request.exec_id.is_empty() && (request.all || container.paused);
        if !needs_runtime {
            return process_signal(container, request).and_then(|()| empty());
        }
        let signal = i32::try_from(request.signal).map_err(|_| messages::invalid("no such signal"))?;
        let work = Work::Kill { all: request.all, signal };
        let (runtime, streams) = (&container.runtime, Streams::Captured);
        self.operations.begin(runtime, &container.id, &work, streams, Kind::Kill, Some(reply))?;
        Ok(None)
    }

    fn state(&mut self, request: &task::StateRequest) -> Answer {
        let container = self.container()?;
        let (bundle, paused, id) = (container.bundle.display().to_string(), container.paused, container.id.clone());
        let process = container.process(&request.exec_id)?;
        let status = if paused && process.life.outcome().is_none() {
            containerd_api::v1::types::Status::Paused
        } else {
            process.life.wire()
        };
        let outcome = process.life.outcome();
        answer(&task::StateResponse {
            id: if request.exec_id.is_empty() { id } else { request.exec_id.clone() },
            bundle,
            pid: process.pid as u32,
            status: status as i32,
            stdin: process.uris.stdin.clone(),
            stdout: process.uris.stdout.clone(),
            stderr: process.uris.stderr.clone(),
            terminal: process.uris.terminal,
            exit_status: outcome.map_or(0, |outcome| outcome.status),
            exited_at: outcome.and_then(|outcome| outcome.timestamp()),
            exec_id: request.exec_id.clone(),
        })
    }

    fn wait(&mut self, reply: Reply, request: &task::WaitRequest) -> Answer {
        let connections = &self.connections;
        let container = self.container.as_mut().ok_or_else(messages::not_created)?;
        let process = container.process(&request.exec_id)?;
        match process.life.outcome() {
            Some(outcome) => {
                answer(&task::WaitResponse { exit_status: outcome.status, exited_at: outcome.timestamp() })
            }
            None => {
                // Those whose connections broke have asked again over a new one.
                process.waiters.retain(|waiter| connections.is_open(*waiter));
                process.waiters.push(reply);
                Ok(None)
            }
        }
    }

    fn pids(&mut self, reply: Reply) -> Answer {
        let container = self.container.as_mut().ok_or_else(messages::not_created)?;
        let (runtime, work, streams) = (&container.runtime, Work::Processes, Streams::Captured);
        self.operations.begin(runtime, &container.id, &work, streams, Kind::Processes, Some(reply))?;
        Ok(None)
    }

    fn stats(&mut self) -> Answer {
        let container = self.container()?;
        let group = container.cgroup.as_ref().ok_or_else(messages::no_cgroup)?;
        let statistics = group.statistics().map_err(|_| messages::no_cgroup())?;
        answer(&task::StatsResponse { stats: Some(metrics::pack(&statistics)) })
    }

    fn pause(&mut self, reply: Reply) -> Answer {
        let container = self.running("pause")?;
        if container.paused {
            return Err(messages::wrong_state("pause", "paused"));
        }
        self.work(Work::Pause, Kind::Pause, reply)
    }

    fn resume(&mut self, reply: Reply) -> Answer {
        let container = self.running("resume")?;
        if !container.paused {
            return Err(messages::wrong_state("resume", "running"));
        }
        self.work(Work::Resume, Kind::Resume, reply)
    }

    fn update(&mut self, reply: Reply, request: &task::UpdateTaskRequest) -> Answer {
        let container = self.container()?;
        if container.init.life.outcome().is_some() {
            return Err(messages::wrong_state("update", "stopped"));
        }
        let Some(resources) = &request.resources else { return Err(messages::invalid("no resources to update")) };
        let file = container.bundle.join("resources.json");
        write_private(&file, &resources.value).map_err(failed("cannot hand the resources to the runtime"))?;
        self.work(Work::Update { resources: file }, Kind::Update, reply)
    }

    fn running(&mut self, verb: &str) -> Result<&mut Container, Status> {
        let container = self.container()?;
        match container.init.life {
            Life::Running => Ok(container),
            life => Err(messages::unknown(format!("cannot {verb} task in {} state", life.word()))),
        }
    }

    /// Work that changes the container: calls that do so, too, wait for its end.
    fn work(&mut self, work: Work, kind: Kind, reply: Reply) -> Answer {
        let container = self.container.as_mut().ok_or_else(messages::not_created)?;
        let (runtime, streams) = (&container.runtime, Streams::Captured);
        self.operations.begin(runtime, &container.id, &work, streams, kind, Some(reply))?;
        container.busy = true;
        Ok(None)
    }

    fn resize(&mut self, request: &task::ResizePtyRequest) -> Answer {
        let side = |value: u32| u16::try_from(value).map_err(|_| messages::invalid("a terminal is not that large"));
        let (rows, columns) = (side(request.height)?, side(request.width)?);
        let process = self.container()?.process(&request.exec_id)?;
        process.stdio.resize(rows, columns)?;
        empty()
    }

    fn close_io(&mut self, request: &task::CloseIoRequest) -> Answer {
        let container = self.container.as_mut().ok_or_else(messages::not_created)?;
        let process = container.process(&request.exec_id)?;
        if request.stdin {
            process.stdio.close_stdin(&self.poller);
        }
        empty()
    }
}

/// Calls that change the container wait for one another.
fn is_exclusive(name: &str) -> bool {
    use method::task::{DELETE, PAUSE, RESUME, START, UPDATE};
    [START, DELETE, PAUSE, RESUME, UPDATE].contains(&name)
}

fn process_signal(container: &mut Container, request: &task::KillRequest) -> Result<(), Status> {
    container.process(&request.exec_id)?.signal(request.signal)
}

fn options(request: &task::CreateTaskRequest) -> Result<Options, Status> {
    match &request.options {
        Some(options) if !options.value.is_empty() => any::unpack(options).map_err(messages::invalid),
        _ => Ok(Options::default()),
    }
}

/// The runtime takes the terminal from the process, containerd says it in the request.
fn with_terminal(spec: Vec<u8>, terminal: bool) -> Result<Vec<u8>, Status> {
    let mut process: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&spec).map_err(|error| {
        messages::invalid(format!("the process of an exec is not one of the runtime spec: {error}"))
    })?;
    process.insert("terminal".to_owned(), terminal.into());
    serde_json::to_vec(&process).map_err(|error| messages::unknown(error.to_string()))
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}
