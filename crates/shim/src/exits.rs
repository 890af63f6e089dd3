//! Ends of child processes: of the runtime's commands, and of the container's processes.

use crate::container::read_pid;
use crate::messages;
use crate::operation::{Ended, Kind, Operation, Streams};
use crate::outcome::{Outcome, ended};
use crate::process::{Life, Process, Reply};
use crate::server::Shim;
use crate::service::Answer;
use crate::work::Work;
use ::runtime::RuntimeError;
use containerd_api::any;
use containerd_api::events::{
    TaskCreate, TaskExecStarted, TaskExit, TaskIo, TaskOom, TaskPaused, TaskResumed, TaskStart,
};
use containerd_api::runc::v1::ProcessDetails;
use containerd_api::task::v2 as task;
use containerd_api::v1::types::ProcessInfo;
use nix::sys::wait::{WaitPidFlag, waitpid};
use prost::Message;
use std::fs;
use std::time::Instant;
use ttrpc::Status;

/// What a shell reports for a process that could not be run.
const NOT_STARTED: u32 = 255;

impl Shim {
    /// Reaps every child that has ended. Commands come first: they bring the numbers of the processes they started.
    pub fn reap(&mut self) {
        let (mut commands, mut processes) = (Vec::new(), Vec::new());
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            if status == nix::sys::wait::WaitStatus::StillAlive {
                break;
            }
            let Some((pid, status)) = ended(status) else { continue };
            match self.operations.finish(pid) {
                Ended::Operation(operation) => commands.push((operation, status)),
                Ended::Reported => {}
                Ended::Other => processes.push((pid, Outcome::now(status))),
            }
        }
        // A process whose number is not known yet may be the one that a command of the same round has started.
        let (known, unknown): (Vec<_>, Vec<_>) =
            processes.into_iter().partition(|(pid, _)| self.container.as_ref().is_some_and(|c| c.find(*pid).is_some()));
        self.newcomers = unknown;
        for (operation, status) in commands {
            self.command_ended(operation, status);
        }
        for (pid, outcome) in std::mem::take(&mut self.newcomers) {
            if !self.publisher.child_ended(&self.poller, pid, outcome.status) {
                self.operations.remember(pid, outcome);
            }
        }
        for (pid, outcome) in known {
            if let Some(exec_id) = self.container.as_ref().and_then(|container| container.find(pid)) {
                self.process_ended(&exec_id, outcome);
            }
        }
    }

    /// Goes on with what our own runtime has done, while the copies that did it end.
    pub fn take_reports(&mut self) {
        for (operation, status) in self.operations.reported() {
            self.command_ended(operation, status);
        }
    }

    /// The end of a process with a number that has just become known.
    fn recall(&mut self, pid: i32) -> Option<Outcome> {
        let newcomer = self.newcomers.iter().position(|(newcomer, _)| *newcomer == pid);
        let earlier = self.operations.recall(pid);
        newcomer.map(|index| self.newcomers.remove(index).1).or(earlier)
    }

    fn command_ended(&mut self, mut operation: Operation, status: u32) {
        let Some(container) = &mut self.container else {
            // Deleted while the runtime was at it.
            if let Some(reply) = operation.reply {
                self.respond(reply, Err(messages::not_created()));
            }
            return;
        };
        let failure = (status != 0).then(|| operation.failure(&container.runtime, status));
        let exclusive =
            !matches!(operation.kind, Kind::StartExec(_) | Kind::Kill | Kind::KillLeftovers | Kind::Processes);
        if exclusive {
            container.busy = false;
        }
        let kind = operation.kind.clone();
        let created = kind == Kind::Create;
        let (result, early) = match kind {
            Kind::Create => self.create_ended(&operation, failure),
            Kind::Discard(status) => {
                self.discard();
                (Err(status), None)
            }
            Kind::Start => self.start_ended(failure),
            Kind::StartExec(id) => self.exec_ended(&id, failure),
            Kind::Delete => (self.delete_ended(failure), None),
            Kind::Pause | Kind::Resume => (self.pause_ended(&operation.kind, failure), None),
            Kind::Update => (self.update_ended(failure), None),
            Kind::Kill => (kill_ended(failure), None),
            Kind::KillLeftovers => {
                container.killing = false;
                (Ok(None), None)
            }
            Kind::Processes => (self.processes_ended(&mut operation, failure), None),
        };
        if let (Some(reply), Some(result)) = (operation.reply, result.transpose()) {
            self.respond(reply, result);
        }
        if created {
            self.find_cgroup();
        }
        // Only after the answer and the event of the start: an end is the last thing heard of a process.
        if let Some((exec_id, outcome)) = early {
            self.process_ended(&exec_id, outcome);
        }
        if exclusive {
            self.call_waiting();
        }
    }

    /// Calls that waited for the runtime, until one of them makes it busy again.
    fn call_waiting(&mut self) {
        while let Some(container) = self.container.as_mut().filter(|container| !container.busy) {
            let Some((reply, request)) = container.waiting.pop_front() else { return };
            self.call(reply, request);
        }
    }

    fn create_ended(&mut self, operation: &Operation, failure: Option<String>) -> (Answer, Option<(String, Outcome)>) {
        let Some(container) = &mut self.container else { return (Err(messages::not_created()), None) };
        if let Some(message) = failure {
            self.discard();
            return (Err(messages::unknown(format!("OCI runtime create failed: {message}"))), None);
        }
        let prepared = read_pid(&container.bundle.join("init.pid")).and_then(|pid| {
            container.init.pid = pid;
            container.take_terminal("", &self.poller)
        });
        if let Err(status) = prepared {
            return (self.spawn_discard(operation, status), None);
        }
        let container = self.container.as_mut().expect("the container of this command is here until its end");
        container.init.life = Life::Created;
        container.init.ends = None;
        let (pid, uris) = (container.init.pid, container.init.uris.clone());
        let event = TaskCreate {
            container_id: container.id.clone(),
            bundle: container.bundle.display().to_string(),
            rootfs: self.rootfs_mounts.clone(),
            io: Some(TaskIo { stdin: uris.stdin, stdout: uris.stdout, stderr: uris.stderr, terminal: uris.terminal }),
            checkpoint: String::new(),
            pid: pid as u32,
        };
        self.publisher.publish(&self.poller, "/tasks/create", &event);
        let early = self.recall(pid).map(|outcome| (String::new(), outcome));
        (Ok(Some(task::CreateTaskResponse { pid: pid as u32 }.encode_to_vec())), early)
    }

    /// Takes a created container back, for its caller gets an error.
    fn spawn_discard(&mut self, operation: &Operation, status: Status) -> Answer {
        let Some(container) = &mut self.container else { return Err(status) };
        container.busy = true;
        let (work, kind) = (Work::Delete { force: true }, Kind::Discard(status.clone()));
        let (runtime, streams) = (&container.runtime, Streams::Captured);
        match self.operations.begin(runtime, &container.id, &work, streams, kind, operation.reply) {
            Ok(()) => Ok(None),
            Err(_) => {
                self.discard();
                Err(status)
            }
        }
    }

    fn discard(&mut self) {
        let Some(mut container) = self.container.take() else { return };
        self.memory = None;
        container.init.stdio.end(&self.poller, &mut self.scratch);
        if !self.rootfs_mounts.is_empty() {
            container.unmount();
            self.rootfs_mounts = Vec::new();
        }
        for (reply, _) in container.waiting.drain(..) {
            self.respond(reply, Err(messages::not_created()));
        }
        let waiters = std::mem::take(&mut container.init.waiters);
        for reply in waiters {
            self.respond(reply, Err(messages::not_created()));
        }
    }

    /// Init has said that it comes through.
    pub fn gate_ready(&mut self) {
        let Some(container) = &mut self.container else { return };
        let Some((gate, reply)) = container.gate.take_if(|(gate, _)| gate.is_passed()) else { return };
        // It would be watched as long as a copy of this process has it open (epoll(7), Q6).
        let _ = self.poller.remove(&gate);
        let failure = gate.remove().err().map(|error| errors::chain(&error));
        self.gate_settled(reply, failure);
    }

    /// Init has ended while it was being started: behind the gate, or before it.
    fn gate_deserted(&mut self) {
        self.gate_ready();
        let Some((gate, reply)) = self.container.as_mut().and_then(|container| container.gate.take()) else { return };
        let _ = self.poller.remove(&gate);
        self.gate_settled(reply, Some(errors::chain(&RuntimeError::StartStopped)));
    }

    fn gate_settled(&mut self, reply: Reply, failure: Option<String>) {
        let Some(container) = &mut self.container else { return };
        container.busy = false;
        let (result, early) = self.start_ended(failure);
        if let Some(result) = result.transpose() {
            self.respond(reply, result);
        }
        if let Some((exec_id, outcome)) = early {
            self.process_ended(&exec_id, outcome);
        }
        self.call_waiting();
    }

    fn start_ended(&mut self, failure: Option<String>) -> (Answer, Option<(String, Outcome)>) {
        let Some(container) = &mut self.container else { return (Err(messages::not_created()), None) };
        let early = match container.init.life {
            Life::Starting { early } => early.map(|outcome| (String::new(), outcome)),
            _ => None,
        };
        if let Some(message) = failure {
            container.init.life = Life::Created;
            return (Err(messages::unknown(format!("OCI runtime start failed: {message}"))), early);
        }
        container.init.life = Life::Running;
        container.init.stdio.started(&self.poller);
        let pid = container.init.pid as u32;
        let event = TaskStart { container_id: container.id.clone(), pid };
        self.publisher.publish(&self.poller, "/tasks/start", &event);
        (Ok(Some(task::StartResponse { pid }.encode_to_vec())), early)
    }

    fn exec_ended(&mut self, id: &str, failure: Option<String>) -> (Answer, Option<(String, Outcome)>) {
        let Some(container) = &mut self.container else { return (Err(messages::not_created()), None) };
        // Gone with the container's bundle if it cannot be removed now.
        let _ = fs::remove_file(container.bundle.join(format!("{id}.process.json")));
        let pid_file = container.bundle.join(format!("{id}.pid"));
        let started = match failure {
            Some(message) => Err(messages::unknown(format!("OCI runtime exec failed: {message}"))),
            None => read_pid(&pid_file).and_then(|pid| {
                container.process(id)?.pid = pid;
                container.take_terminal(id, &self.poller).inspect_err(|_| {
                    // Without its terminal it cannot be used; its end is then reported as any other.
                    let _ = sys::process::kill(pid, nix::libc::SIGKILL);
                })?;
                Ok(pid)
            }),
        };
        let container_id = container.id.clone();
        let Ok(process) = container.process(id) else { return (Err(messages::no_process(id)), None) };
        let pid = match started {
            Ok(pid) => pid,
            Err(status) => {
                process.stdio.end(&self.poller, &mut self.scratch);
                process.life = Life::Stopped(Outcome::now(NOT_STARTED));
                self.answer_waiters(id);
                return (Err(status), None);
            }
        };
        process.life = Life::Running;
        process.stdio.started(&self.poller);
        let event = TaskExecStarted { container_id, exec_id: id.to_owned(), pid: pid as u32 };
        self.publisher.publish(&self.poller, "/tasks/exec-started", &event);
        let early = self.recall(pid).map(|outcome| (id.to_owned(), outcome));
        (Ok(Some(task::StartResponse { pid: pid as u32 }.encode_to_vec())), early)
    }

    fn delete_ended(&mut self, failure: Option<String>) -> Answer {
        match failure {
            // A runtime that has lost it already has done what was asked.
            Some(message) if !message.contains("does not exist") => {
                Err(messages::unknown(format!("failed to delete task: {message}")))
            }
            _ => self.deleted(),
        }
    }

    fn pause_ended(&mut self, kind: &Kind, failure: Option<String>) -> Answer {
        let Some(container) = &mut self.container else { return Err(messages::not_created()) };
        let pausing = *kind == Kind::Pause;
        if let Some(message) = failure {
            let verb = if pausing { "pause" } else { "resume" };
            return Err(messages::unknown(format!("OCI runtime {verb} failed: {message}")));
        }
        container.paused = pausing;
        let container_id = container.id.clone();
        if pausing {
            self.publisher.publish(&self.poller, "/tasks/paused", &TaskPaused { container_id });
        } else {
            self.publisher.publish(&self.poller, "/tasks/resumed", &TaskResumed { container_id });
        }
        Ok(Some(Vec::new()))
    }

    fn update_ended(&mut self, failure: Option<String>) -> Answer {
        if let Some(container) = &self.container {
            // Gone with the bundle otherwise.
            let _ = fs::remove_file(container.bundle.join("resources.json"));
        }
        match failure {
            Some(message) => Err(messages::unknown(format!("OCI runtime update failed: {message}"))),
            None => Ok(Some(Vec::new())),
        }
    }

    fn processes_ended(&mut self, operation: &mut Operation, failure: Option<String>) -> Answer {
        if let Some(message) = failure {
            return Err(messages::unknown(message));
        }
        let pids = operation.pids();
        let pids =
            pids.map_err(|error| messages::unknown(format!("cannot read the runtime's list of processes: {error}")))?;
        let Some(container) = &self.container else { return Err(messages::not_created()) };
        let info = |pid: i32| {
            let exec = container.execs.iter().find(|(_, process)| process.pid == pid);
            exec.map(|(id, _)| any::pack(&ProcessDetails { exec_id: id.clone() }))
        };
        let processes = pids.into_iter().map(|pid| ProcessInfo { pid: pid as u32, info: info(pid) }).collect();
        Ok(Some(task::PidsResponse { processes }.encode_to_vec()))
    }

    /// Finds the cgroups by the process that has just been put there, and watches them. After the answer: until Start
    /// nothing happens in them.
    fn find_cgroup(&mut self) {
        let Some(container) = &mut self.container else { return };
        let Ok(group) = cgroup::Group::of_process(container.init.pid) else { return };
        match cgroup::OomWatch::new(&group) {
            Ok(watch) => self.watch_memory(watch),
            Err(error) => eprintln!("failed to add oom event monitor: {}", errors::chain(&error)),
        }
        if let Some(container) = &mut self.container {
            container.cgroup = Some(group);
        }
    }

    /// Tells of the kernel's killer, if it came.
    pub fn check_memory(&mut self) {
        let killed = self.memory.as_mut().is_some_and(cgroup::OomWatch::take);
        let Some(container) = self.container.as_ref().filter(|_| killed) else { return };
        let event = TaskOom { container_id: container.id.clone() };
        self.publisher.publish(&self.poller, "/tasks/oom", &event);
    }

    /// A process of the container has ended: what it wrote is passed on before its end is told.
    fn process_ended(&mut self, exec_id: &str, outcome: Outcome) {
        // An end may be the killer's work: that is heard first.
        self.check_memory();
        let Some(container) = &mut self.container else { return };
        let Ok(process) = container.process(exec_id) else { return };
        if let Life::Starting { early } = &mut process.life {
            *early = Some(outcome);
            if exec_id.is_empty() {
                self.gate_deserted();
            }
            return;
        }
        if process.life.outcome().is_some() || matches!(process.life, Life::Ending(_)) {
            return;
        }
        process.life = Life::Ending(outcome);
        process.stdio.end(&self.poller, &mut self.scratch);
        if exec_id.is_empty() {
            container.paused = false;
            if !container.dies_with_init {
                self.kill_leftovers();
            }
        }
        self.settle(Instant::now());
    }

    /// Processes outside a PID namespace of their own outlive their init: they are killed, as containerd does.
    fn kill_leftovers(&mut self) {
        let Some(container) = &mut self.container else { return };
        let work = Work::Kill { all: true, signal: nix::libc::SIGKILL };
        let (runtime, streams) = (&container.runtime, Streams::Captured);
        let begun = self.operations.begin(runtime, &container.id, &work, streams, Kind::KillLeftovers, None);
        container.killing = begun.is_ok();
    }

    /// Reports the ends whose output is complete; init's comes last.
    pub fn settle(&mut self, now: Instant) {
        let ready = |process: &Process| matches!(process.life, Life::Ending(_)) && process.stdio.is_settled(now);
        let Some(container) = &mut self.container else { return };
        let execs: Vec<_> =
            container.execs.iter().filter(|(_, process)| ready(process)).map(|(id, _)| id.clone()).collect();
        for id in execs {
            self.report_end(&id);
        }
        let Some(container) = &mut self.container else { return };
        let alone = !container.killing && container.execs.values().all(|process| !process.life.is_alive());
        if alone && ready(&container.init) {
            self.report_end("");
        }
    }

    fn report_end(&mut self, exec_id: &str) {
        let Some(container) = &mut self.container else { return };
        let container_id = container.id.clone();
        let Ok(process) = container.process(exec_id) else { return };
        let Life::Ending(outcome) = process.life else { return };
        process.life = Life::Stopped(outcome);
        let event = TaskExit {
            id: if exec_id.is_empty() { container_id.clone() } else { exec_id.to_owned() },
            container_id,
            pid: process.pid as u32,
            exit_status: outcome.status,
            exited_at: outcome.timestamp(),
        };
        self.publisher.publish(&self.poller, "/tasks/exit", &event);
        self.answer_waiters(exec_id);
    }

    fn answer_waiters(&mut self, exec_id: &str) {
        let Some(container) = &mut self.container else { return };
        let Ok(process) = container.process(exec_id) else { return };
        let Life::Stopped(outcome) = process.life else { return };
        let response = task::WaitResponse { exit_status: outcome.status, exited_at: outcome.timestamp() };
        for waiter in std::mem::take(&mut process.waiters) {
            self.respond(waiter, Ok(response.encode_to_vec()));
        }
    }
}

/// containerd's words for what runtimes say about a container that is not there (any more).
fn kill_ended(failure: Option<String>) -> Answer {
    let Some(message) = failure else { return Ok(Some(Vec::new())) };
    let lower = message.to_lowercase();
    if ["process already finished", "container not running", "no such process"].iter().any(|word| lower.contains(word))
    {
        return Err(messages::already_finished());
    }
    if lower.contains("does not exist") {
        return Err(messages::no_such_container());
    }
    Err(messages::unknown(format!("unknown error after kill: {message}")))
}
