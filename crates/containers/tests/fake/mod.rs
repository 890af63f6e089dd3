//! A containerd in this process: snapshots, containers, tasks and events over a real socket, with processes that end when
//! a test says so; and neighbours that always agree.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use containerd_api::services::containers::v1 as containers;
use containerd_api::services::containers::v1::containers_server::{Containers, ContainersServer};
use containerd_api::services::events::v1 as events;
use containerd_api::services::events::v1::events_server::{Events, EventsServer};
use containerd_api::services::snapshots::v1 as snapshots;
use containerd_api::services::snapshots::v1::snapshots_server::{Snapshots, SnapshotsServer};
use containerd_api::services::tasks::v1 as tasks;
use containerd_api::services::tasks::v1::tasks_server::{Tasks, TasksServer};
use containerd_api::types::{Envelope, Mount};
use containerd_api::v1::types::{Process, Status as TaskStatus};
use containerd_api::{Timestamp, any};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;
use tokio::sync::{broadcast, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;
type Streamed<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What a test looks at and moves.
#[derive(Clone)]
pub struct Fake {
    pub state: Arc<Mutex<State>>,
    events: broadcast::Sender<Envelope>,
    rootfs: PathBuf,
    changed: watch::Sender<u64>,
    /// Event streams end when it moves.
    cuts: watch::Sender<u64>,
}

#[derive(Default)]
pub struct State {
    pub snapshots: BTreeMap<String, String>,
    pub containers: BTreeMap<String, containers::Container>,
    pub tasks: BTreeMap<String, Task>,
    /// Signals sent, in order.
    pub signals: Vec<u32>,
    /// The next start of a task fails with this.
    pub refuse_start: Option<String>,
    /// Signals that end a process; the others are ignored by it.
    pub deadly: Vec<u32>,
    /// Ends are not told by events.
    pub silent: bool,
}

#[derive(Clone)]
pub struct Task {
    pub status: TaskStatus,
    pub code: u32,
}

impl Fake {
    pub fn new(rootfs: &Path) -> Self {
        let state = State { deadly: vec![9, 15], ..State::default() };
        Self {
            state: Arc::new(Mutex::new(state)),
            events: broadcast::Sender::new(64),
            rootfs: rootfs.to_owned(),
            changed: watch::Sender::new(0),
            cuts: watch::Sender::new(0),
        }
    }

    /// Breaks every event stream, as the death of a containerd does.
    pub fn cut(&self) {
        self.cuts.send_modify(|n| *n += 1);
    }

    /// Serves until the task is aborted.
    pub fn serve(&self, socket: &Path) -> tokio::task::JoinHandle<()> {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).expect("bind");
        let router = tonic::transport::Server::builder()
            .add_service(SnapshotsServer::new(self.clone()))
            .add_service(ContainersServer::new(self.clone()))
            .add_service(TasksServer::new(self.clone()))
            .add_service(EventsServer::new(self.clone()));
        tokio::spawn(async move {
            router.serve_with_incoming(UnixListenerStream::new(listener)).await.expect("serve");
        })
    }

    /// A container's process ends.
    pub fn end(&self, id: &str, code: u32) {
        let mut state = self.state.lock().expect("state");
        if let Some(task) = state.tasks.get_mut(id) {
            task.status = TaskStatus::Stopped;
            task.code = code;
        }
        let silent = state.silent;
        drop(state);
        self.changed.send_modify(|n| *n += 1);
        if !silent {
            let exit = containerd_api::events::TaskExit {
                container_id: id.to_owned(),
                id: id.to_owned(),
                pid: 7,
                exit_status: code,
                exited_at: Some(Timestamp { seconds: 2_000_000_000, nanos: 5 }),
            };
            let topic = "/tasks/exit".to_owned();
            // Nobody listening is part of some tests.
            let _ = self.events.send(Envelope { topic, event: Some(any::pack(&exit)), ..Envelope::default() });
        }
    }

    /// Waits until the fake's state is as wanted.
    pub async fn until(&self, wanted: impl Fn(&State) -> bool) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if wanted(&self.state.lock().expect("state")) {
                return;
            }
            changed.changed().await.expect("the fake lives");
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock().expect("state"));
        self.changed.send_modify(|n| *n += 1);
        result
    }

    fn mounts(&self) -> Vec<Mount> {
        let source = self.rootfs.to_string_lossy().into_owned();
        vec![Mount { r#type: "bind".to_owned(), source, options: vec!["rbind".to_owned()], ..Mount::default() }]
    }
}

fn absent() -> Status {
    Status::not_found("not found")
}

/// A pump as ARCHITECTURE.md has it: one line each way, then what the process prints.
fn serve_pump(path: PathBuf) {
    let listener = UnixListener::bind(path).expect("bind the pump");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut hello = String::new();
            stream.read_line(&mut hello).await.expect("hello");
            stream.get_mut().write_all(b"{\"ok\":true}\nprinted").await.expect("answer");
        }
    });
}

#[tonic::async_trait]
impl Snapshots for Fake {
    type ListStream = Streamed<snapshots::ListSnapshotsResponse>;

    async fn prepare(
        &self,
        request: Request<snapshots::PrepareSnapshotRequest>,
    ) -> Answer<snapshots::PrepareSnapshotResponse> {
        let request = request.into_inner();
        self.change(|state| state.snapshots.insert(request.key, request.parent));
        Ok(Response::new(snapshots::PrepareSnapshotResponse { mounts: self.mounts() }))
    }

    async fn mounts(&self, request: Request<snapshots::MountsRequest>) -> Answer<snapshots::MountsResponse> {
        let known = self.state.lock().expect("state").snapshots.contains_key(&request.into_inner().key);
        if known { Ok(Response::new(snapshots::MountsResponse { mounts: self.mounts() })) } else { Err(absent()) }
    }

    async fn remove(&self, request: Request<snapshots::RemoveSnapshotRequest>) -> Answer<()> {
        self.change(|state| state.snapshots.remove(&request.into_inner().key))
            .map(|_| Response::new(()))
            .ok_or_else(absent)
    }

    async fn list(&self, _: Request<snapshots::ListSnapshotsRequest>) -> Answer<Self::ListStream> {
        let label = "com.docker.longshore/container".to_owned();
        let info = |key: &String| snapshots::Info {
            name: key.clone(),
            labels: [(label.clone(), key.clone())].into(),
            ..snapshots::Info::default()
        };
        let info = self.state.lock().expect("state").snapshots.keys().map(info).collect();
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(snapshots::ListSnapshotsResponse { info })))))
    }

    async fn view(&self, _: Request<snapshots::ViewSnapshotRequest>) -> Answer<snapshots::ViewSnapshotResponse> {
        Err(Status::unimplemented("view"))
    }
    async fn commit(&self, _: Request<snapshots::CommitSnapshotRequest>) -> Answer<()> {
        Err(Status::unimplemented("commit"))
    }
    async fn stat(&self, _: Request<snapshots::StatSnapshotRequest>) -> Answer<snapshots::StatSnapshotResponse> {
        Err(Status::unimplemented("stat"))
    }
    async fn update(&self, _: Request<snapshots::UpdateSnapshotRequest>) -> Answer<snapshots::UpdateSnapshotResponse> {
        Err(Status::unimplemented("update"))
    }
    async fn usage(&self, _: Request<snapshots::UsageRequest>) -> Answer<snapshots::UsageResponse> {
        Err(Status::unimplemented("usage"))
    }
    async fn cleanup(&self, _: Request<snapshots::CleanupRequest>) -> Answer<()> {
        Err(Status::unimplemented("cleanup"))
    }
}

#[tonic::async_trait]
impl Containers for Fake {
    type ListStreamStream = Streamed<containers::ListContainerMessage>;

    async fn create(
        &self,
        request: Request<containers::CreateContainerRequest>,
    ) -> Answer<containers::CreateContainerResponse> {
        let container = request.into_inner().container.unwrap_or_default();
        let taken = self.change(|state| state.containers.insert(container.id.clone(), container.clone()).is_some());
        if taken {
            return Err(Status::already_exists("container exists"));
        }
        Ok(Response::new(containers::CreateContainerResponse { container: Some(container) }))
    }

    async fn delete(&self, request: Request<containers::DeleteContainerRequest>) -> Answer<()> {
        self.change(|state| state.containers.remove(&request.into_inner().id))
            .map(|_| Response::new(()))
            .ok_or_else(absent)
    }

    async fn list(&self, _: Request<containers::ListContainersRequest>) -> Answer<containers::ListContainersResponse> {
        let containers = self.state.lock().expect("state").containers.values().cloned().collect();
        Ok(Response::new(containers::ListContainersResponse { containers }))
    }

    async fn get(&self, _: Request<containers::GetContainerRequest>) -> Answer<containers::GetContainerResponse> {
        Err(Status::unimplemented("get"))
    }
    async fn list_stream(&self, _: Request<containers::ListContainersRequest>) -> Answer<Self::ListStreamStream> {
        Err(Status::unimplemented("list stream"))
    }
    async fn update(
        &self,
        _: Request<containers::UpdateContainerRequest>,
    ) -> Answer<containers::UpdateContainerResponse> {
        Err(Status::unimplemented("update"))
    }
}

fn process(id: &str, task: &Task) -> Process {
    let ended = task.status == TaskStatus::Stopped;
    Process {
        container_id: id.to_owned(),
        id: id.to_owned(),
        pid: 7,
        status: task.status.into(),
        exit_status: task.code,
        exited_at: ended.then_some(Timestamp { seconds: 2_000_000_000, nanos: 5 }),
        ..Process::default()
    }
}

#[tonic::async_trait]
impl Tasks for Fake {
    async fn create(&self, request: Request<tasks::CreateTaskRequest>) -> Answer<tasks::CreateTaskResponse> {
        let request = request.into_inner();
        let socket = request.stdin.trim_start_matches("pump://").split('?').next().unwrap_or("").to_owned();
        let _ = std::fs::remove_file(&socket);
        serve_pump(PathBuf::from(socket));
        let task = Task { status: TaskStatus::Created, code: 0 };
        self.change(|state| state.tasks.insert(request.container_id.clone(), task));
        Ok(Response::new(tasks::CreateTaskResponse { container_id: request.container_id, pid: 7 }))
    }

    async fn start(&self, request: Request<tasks::StartRequest>) -> Answer<tasks::StartResponse> {
        let id = request.into_inner().container_id;
        if let Some(refusal) = self.change(|state| state.refuse_start.take()) {
            return Err(Status::unknown(refusal));
        }
        self.change(|state| state.tasks.get_mut(&id).map(|task| task.status = TaskStatus::Running))
            .ok_or_else(absent)?;
        Ok(Response::new(tasks::StartResponse { pid: 7 }))
    }

    async fn delete(&self, request: Request<tasks::DeleteTaskRequest>) -> Answer<tasks::DeleteResponse> {
        let id = request.into_inner().container_id;
        let task = self.change(|state| state.tasks.remove(&id)).ok_or_else(absent)?;
        Ok(Response::new(tasks::DeleteResponse { id, exit_status: task.code, ..tasks::DeleteResponse::default() }))
    }

    async fn get(&self, request: Request<tasks::GetRequest>) -> Answer<tasks::GetResponse> {
        let id = request.into_inner().container_id;
        let state = self.state.lock().expect("state");
        let task = state.tasks.get(&id).ok_or_else(absent)?;
        Ok(Response::new(tasks::GetResponse { process: Some(process(&id, task)) }))
    }

    async fn list(&self, _: Request<tasks::ListTasksRequest>) -> Answer<tasks::ListTasksResponse> {
        let state = self.state.lock().expect("state");
        let tasks = state.tasks.iter().map(|(id, task)| process(id, task)).collect();
        Ok(Response::new(tasks::ListTasksResponse { tasks }))
    }

    async fn kill(&self, request: Request<tasks::KillRequest>) -> Answer<()> {
        let request = request.into_inner();
        let (task, deadly) = self.change(|state| {
            state.signals.push(request.signal);
            (state.tasks.get(&request.container_id).cloned(), state.deadly.contains(&request.signal))
        });
        let code = 128 + request.signal;
        match task.ok_or_else(absent)?.status {
            // A frozen process takes the signal when it is thawed.
            TaskStatus::Paused if deadly => {
                self.change(|state| state.tasks.get_mut(&request.container_id).map(|task| task.code = code));
            }
            _ if deadly => self.end(&request.container_id, code),
            _ => {}
        }
        Ok(Response::new(()))
    }

    async fn wait(&self, request: Request<tasks::WaitRequest>) -> Answer<tasks::WaitResponse> {
        let id = request.into_inner().container_id;
        self.until(|state| state.tasks.get(&id).is_none_or(|task| task.status == TaskStatus::Stopped)).await;
        Ok(Response::new(tasks::WaitResponse::default()))
    }

    async fn pause(&self, request: Request<tasks::PauseTaskRequest>) -> Answer<()> {
        let id = request.into_inner().container_id;
        self.change(|state| state.tasks.get_mut(&id).map(|task| task.status = TaskStatus::Paused))
            .ok_or_else(absent)?;
        Ok(Response::new(()))
    }

    async fn resume(&self, request: Request<tasks::ResumeTaskRequest>) -> Answer<()> {
        let id = request.into_inner().container_id;
        let pending = self.change(|state| {
            state.tasks.get_mut(&id).map(|task| {
                task.status = TaskStatus::Running;
                task.code
            })
        });
        match pending.ok_or_else(absent)? {
            0 => {}
            code => self.end(&id, code),
        }
        Ok(Response::new(()))
    }

    async fn delete_process(&self, _: Request<tasks::DeleteProcessRequest>) -> Answer<tasks::DeleteResponse> {
        Err(absent())
    }
    async fn exec(&self, _: Request<tasks::ExecProcessRequest>) -> Answer<()> {
        Err(Status::unimplemented("exec"))
    }
    async fn resize_pty(&self, _: Request<tasks::ResizePtyRequest>) -> Answer<()> {
        Ok(Response::new(()))
    }
    async fn close_io(&self, _: Request<tasks::CloseIoRequest>) -> Answer<()> {
        Ok(Response::new(()))
    }
    async fn list_pids(&self, _: Request<tasks::ListPidsRequest>) -> Answer<tasks::ListPidsResponse> {
        Err(Status::unimplemented("pids"))
    }
    async fn checkpoint(&self, _: Request<tasks::CheckpointTaskRequest>) -> Answer<tasks::CheckpointTaskResponse> {
        Err(Status::unimplemented("checkpoint"))
    }
    async fn update(&self, _: Request<tasks::UpdateTaskRequest>) -> Answer<()> {
        Err(Status::unimplemented("update"))
    }
    async fn metrics(&self, _: Request<tasks::MetricsRequest>) -> Answer<tasks::MetricsResponse> {
        Err(Status::unimplemented("metrics"))
    }
}

#[tonic::async_trait]
impl Events for Fake {
    type SubscribeStream = Streamed<Envelope>;

    async fn subscribe(&self, _: Request<events::SubscribeRequest>) -> Answer<Self::SubscribeStream> {
        let mut receiver = self.events.subscribe();
        let mut cuts = self.cuts.subscribe();
        let (sender, stream) = tokio::sync::mpsc::channel(64);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = cuts.changed() => break,
                    Ok(event) = receiver.recv() => if sender.send(Ok(event)).await.is_err() { break },
                }
            }
        });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(stream))))
    }

    async fn publish(&self, _: Request<events::PublishRequest>) -> Answer<()> {
        Err(Status::unimplemented("publish"))
    }
    async fn forward(&self, _: Request<events::ForwardRequest>) -> Answer<()> {
        Err(Status::unimplemented("forward"))
    }
}
