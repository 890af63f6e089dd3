//! The calls to containerd that this service makes. Not-found answers become `None`; calls that may be repeated are, for a
//! bounded time, while containerd restarts.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use container_core::Timestamp;
use containerd_api::any;
use containerd_api::services::containers::v1 as containers;
use containerd_api::services::events::v1 as events;
use containerd_api::services::snapshots::v1 as snapshots;
use containerd_api::services::tasks::v1 as tasks;
use containerd_api::types::{Envelope, Mount};
use containerd_api::v1::types::{Process, Status};
use containerd_client::Client;
use errors::{ErrorKind, Kind};
use tonic::Streaming;

use crate::error::Error;
use crate::mountpoints::MountPoints;
use crate::runtimes::Chosen;

pub(crate) const SNAPSHOTTER: &str = "overlayfs";
/// On our snapshots and containers, so that what has no intent is recognised as ours.
pub(crate) const OWNER_LABEL: &str = "com.docker.longshore/container";
/// On what dies with the machine anyway (`--rm`): our docker-containerd syncs nothing for it. Others pass it by.
const EPHEMERAL_LABEL: &str = "com.longshore/ephemeral";
/// Longest wait for a containerd that is being restarted.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(crate) struct Containerd {
    client: Client,
    mount_points: MountPoints,
}

/// Whether a container outlives the machine's next boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Lasting,
    Ephemeral,
}

impl Life {
    fn labels(self, id: &str) -> HashMap<String, String> {
        let mut labels = HashMap::from([(OWNER_LABEL.to_owned(), id.to_owned())]);
        if self == Self::Ephemeral {
            labels.insert(EPHEMERAL_LABEL.to_owned(), "true".to_owned());
        }
        labels
    }
}

/// A process of the shim's as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskState {
    pub container_id: String,
    pub pid: u32,
    pub status: Status,
    pub code: i32,
    pub exited: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit {
    pub code: i32,
    pub at: Option<Timestamp>,
}

/// A task about to be made.
pub(crate) struct NewTask {
    pub id: String,
    pub rootfs: Vec<Mount>,
    pub stdio: String,
    pub terminal: bool,
    pub runtime: Chosen,
}

pub(crate) struct NewExec {
    pub container_id: String,
    pub exec_id: String,
    pub process: Vec<u8>,
    pub stdio: String,
    pub terminal: bool,
}

impl Containerd {
    pub fn new(client: Client, mount_points: MountPoints) -> Self {
        Self { client, mount_points }
    }

    /// A container's own layer on its image's.
    pub async fn prepare_snapshot(&self, key: &str, parent: &str, life: Life) -> Result<Vec<Mount>, Error> {
        let mut labels = life.labels(key);
        // Nothing in containerd refers to it until the container starts (containerd docs/garbage-collection.md).
        labels.insert("containerd.io/gc.root".to_owned(), "true".to_owned());
        let prepare = || async {
            let request = snapshots::PrepareSnapshotRequest {
                snapshotter: SNAPSHOTTER.to_owned(),
                key: key.to_owned(),
                parent: parent.to_owned(),
                labels: labels.clone(),
            };
            let answer = self.client.snapshots().prepare(request).await;
            Ok(answer.map_err(|status| failed("cannot prepare the container's snapshot", status))?.into_inner().mounts)
        };
        match repeat(prepare).await {
            // The call before the last one got through, its answer did not.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => self.snapshot_mounts(key).await,
            prepared => prepared,
        }
        .map(|mounts| self.mount_points.below(mounts))
    }

    /// An image's layers to look at, for a container that mounts them.
    pub async fn view_snapshot(&self, key: &str, parent: &str, owner: &str, life: Life) -> Result<(), Error> {
        let mut labels = life.labels(owner);
        labels.insert("containerd.io/gc.root".to_owned(), "true".to_owned());
        let view = || async {
            let request = snapshots::ViewSnapshotRequest {
                snapshotter: SNAPSHOTTER.to_owned(),
                key: key.to_owned(),
                parent: parent.to_owned(),
                labels: labels.clone(),
            };
            let answer = self.client.snapshots().view(request).await;
            answer.map(|_| ()).map_err(|status| failed("cannot make a view of the image", status))
        };
        match repeat(view).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            viewed => viewed,
        }
    }

    /// Root of a container whose snapshot was prepared.
    pub async fn rootfs(&self, id: &str) -> Result<Vec<Mount>, Error> {
        self.snapshot_mounts(id).await.map(|mounts| self.mount_points.below(mounts))
    }

    /// The same without waiting for a containerd that is away.
    pub async fn rootfs_now(&self, id: &str) -> Result<Vec<Mount>, Error> {
        self.snapshot_mounts_now(id).await.map(|mounts| self.mount_points.below(mounts))
    }

    pub async fn snapshot_mounts(&self, key: &str) -> Result<Vec<Mount>, Error> {
        repeat(|| self.snapshot_mounts_now(key)).await
    }

    async fn snapshot_mounts_now(&self, key: &str) -> Result<Vec<Mount>, Error> {
        let request = snapshots::MountsRequest { snapshotter: SNAPSHOTTER.to_owned(), key: key.to_owned() };
        let answer = self.client.snapshots().mounts(request).await;
        Ok(answer.map_err(|status| failed("cannot find the container's snapshot", status))?.into_inner().mounts)
    }

    /// The snapshot that one lies on; empty at the bottom.
    pub async fn snapshot_parent(&self, key: &str) -> Result<String, Error> {
        let request = snapshots::StatSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key: key.to_owned() };
        let answer = self.client.snapshots().stat(request).await;
        let answer = answer.map_err(|status| failed("cannot find the container's snapshot", status))?.into_inner();
        Ok(answer.info.map(|info| info.parent).unwrap_or_default())
    }

    /// What one snapshot takes on disk, without those below.
    pub async fn snapshot_bytes(&self, key: &str) -> Result<u64, Error> {
        let request = snapshots::UsageRequest { snapshotter: SNAPSHOTTER.to_owned(), key: key.to_owned() };
        let answer = self.client.snapshots().usage(request).await;
        let answer = answer.map_err(|status| failed("cannot measure a snapshot", status))?.into_inner();
        Ok(u64::try_from(answer.size).unwrap_or(0))
    }

    pub async fn remove_snapshot(&self, key: &str) -> Result<(), Error> {
        repeat(|| async {
            let request = snapshots::RemoveSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key: key.to_owned() };
            let answer = self.client.snapshots().remove(request).await;
            absent_is_none(answer.map_err(|status| failed("cannot remove the container's snapshot", status)))
        })
        .await
        .map(|_| ())
    }

    /// Keys of the snapshots that this engine made for containers.
    pub async fn own_snapshots(&self) -> Result<Vec<String>, Error> {
        let request = snapshots::ListSnapshotsRequest {
            snapshotter: SNAPSHOTTER.to_owned(),
            filters: vec![format!("labels.\"{OWNER_LABEL}\"")],
        };
        let wrong = |status| failed("cannot list the snapshots", status);
        let mut stream = self.client.snapshots().list(request).await.map_err(wrong)?.into_inner();
        let mut keys = Vec::new();
        while let Some(page) = stream.message().await.map_err(wrong)? {
            let ours = page.info.into_iter().filter(|info| info.labels.contains_key(OWNER_LABEL));
            keys.extend(ours.map(|info| info.name));
        }
        Ok(keys)
    }

    /// The container's record there; one of an earlier start is replaced.
    pub async fn create_container(
        &self,
        id: &str,
        image: &str,
        spec: Vec<u8>,
        life: Life,
        runtime: &Chosen,
    ) -> Result<(), Error> {
        let container = containers::Container {
            id: id.to_owned(),
            image: image.to_owned(),
            labels: life.labels(id),
            runtime: Some(containers::container::Runtime {
                name: runtime.shim.clone(),
                options: runtime.options.clone(),
            }),
            spec: Some(any::pack_json(any::SPEC, spec)),
            snapshotter: SNAPSHOTTER.to_owned(),
            snapshot_key: id.to_owned(),
            ..containers::Container::default()
        };
        repeat(|| async {
            let create = || async {
                let request = containers::CreateContainerRequest { container: Some(container.clone()) };
                let answer = self.client.containers().create(request).await;
                answer.map(|_| ()).map_err(|status| failed("cannot create the container in containerd", status))
            };
            match create().await {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    self.delete_container(id).await?;
                    create().await
                }
                other => other,
            }
        })
        .await
    }

    pub async fn delete_container(&self, id: &str) -> Result<(), Error> {
        repeat(|| async {
            let request = containers::DeleteContainerRequest { id: id.to_owned() };
            let answer = self.client.containers().delete(request).await;
            absent_is_none(answer.map_err(|status| failed("cannot delete the container in containerd", status)))
        })
        .await
        .map(|_| ())
    }

    /// Ids of all containers in our namespace.
    pub async fn container_ids(&self) -> Result<Vec<String>, Error> {
        let request = containers::ListContainersRequest::default();
        let answer = self.client.containers().list(request).await;
        let answer = answer.map_err(|status| failed("cannot list the containers of containerd", status))?;
        Ok(answer.into_inner().containers.into_iter().map(|container| container.id).collect())
    }

    /// Makes the shim and the process, which waits. Not repeated here: who calls looks what came of it.
    pub async fn create_task(&self, task: &NewTask) -> Result<u32, Error> {
        let request = tasks::CreateTaskRequest {
            container_id: task.id.clone(),
            rootfs: task.rootfs.clone(),
            stdin: task.stdio.clone(),
            stdout: task.stdio.clone(),
            stderr: if task.terminal { String::new() } else { task.stdio.clone() },
            terminal: task.terminal,
            options: task.runtime.options.clone(),
            ..tasks::CreateTaskRequest::default()
        };
        let answer = self.client.tasks().create(request).await;
        Ok(answer.map_err(|status| failed("failed to create task for container", status))?.into_inner().pid)
    }

    /// Lets a created process (an exec's, unless `exec_id` is empty) run.
    pub async fn start(&self, id: &str, exec_id: &str) -> Result<u32, Error> {
        let request = tasks::StartRequest { container_id: id.to_owned(), exec_id: exec_id.to_owned() };
        let answer = self.client.tasks().start(request).await;
        Ok(answer.map_err(|status| failed("failed to start task for container", status))?.into_inner().pid)
    }

    pub async fn exec(&self, exec: &NewExec) -> Result<(), Error> {
        let request = tasks::ExecProcessRequest {
            container_id: exec.container_id.clone(),
            exec_id: exec.exec_id.clone(),
            stdin: exec.stdio.clone(),
            stdout: exec.stdio.clone(),
            stderr: if exec.terminal { String::new() } else { exec.stdio.clone() },
            terminal: exec.terminal,
            spec: Some(any::pack_json(any::PROCESS, exec.process.clone())),
        };
        let answer = self.client.tasks().exec(request).await;
        answer.map(|_| ()).map_err(|status| failed("cannot add the process", status))
    }

    /// The truth about a process; `None` when the shim does not know it, or is gone.
    pub async fn get(&self, id: &str, exec_id: &str) -> Result<Option<TaskState>, Error> {
        repeat(|| async {
            let request = tasks::GetRequest { container_id: id.to_owned(), exec_id: exec_id.to_owned() };
            let answer = self.client.tasks().get(request).await;
            let answer = absent_is_none(answer.map_err(|status| failed("cannot ask for the task", status)))?;
            Ok(answer.and_then(|answer| answer.into_inner().process).map(|process| state_of(process, id)))
        })
        .await
    }

    pub async fn list(&self) -> Result<Vec<TaskState>, Error> {
        let answer = self.client.tasks().list(tasks::ListTasksRequest::default()).await;
        let answer = answer.map_err(|status| failed("cannot list the tasks", status))?.into_inner();
        // In a list the container's id stands in `id`, whatever version of containerd answers.
        Ok(answer.tasks.into_iter().map(|process| state_of(process, "")).collect())
    }

    /// [`Containerd::list`] of a containerd that may just be starting.
    pub async fn list_patiently(&self) -> Result<Vec<TaskState>, Error> {
        repeat(|| self.list()).await
    }

    /// Until a container's process has ended.
    pub async fn wait(&self, id: &str) -> Result<(), Error> {
        let request = tasks::WaitRequest { container_id: id.to_owned(), exec_id: String::new() };
        let answer = self.client.tasks().wait(request).await;
        absent_is_none(answer.map_err(|status| failed("cannot wait for the task", status))).map(|_| ())
    }

    /// `false`: there is no such process any more.
    pub async fn kill(&self, id: &str, exec_id: &str, signal: u32) -> Result<bool, Error> {
        repeat(|| async {
            let request =
                tasks::KillRequest { container_id: id.to_owned(), exec_id: exec_id.to_owned(), signal, all: false };
            let answer = self.client.tasks().kill(request).await;
            Ok(absent_is_none(answer.map_err(|status| failed("cannot kill the task", status)))?.is_some())
        })
        .await
    }

    /// Ends the shim of a process that has ended.
    pub async fn delete_task(&self, id: &str) -> Result<Option<Exit>, Error> {
        repeat(|| async {
            let request = tasks::DeleteTaskRequest { container_id: id.to_owned() };
            let answer = self.client.tasks().delete(request).await;
            let answer = absent_is_none(answer.map_err(|status| failed("cannot delete the task", status)))?;
            Ok(answer.map(|answer| exit_of(&answer.into_inner())))
        })
        .await
    }

    pub async fn delete_process(&self, id: &str, exec_id: &str) -> Result<Option<Exit>, Error> {
        repeat(|| async {
            let request = tasks::DeleteProcessRequest { container_id: id.to_owned(), exec_id: exec_id.to_owned() };
            let answer = self.client.tasks().delete_process(request).await;
            let answer = absent_is_none(answer.map_err(|status| failed("cannot delete the process", status)))?;
            Ok(answer.map(|answer| exit_of(&answer.into_inner())))
        })
        .await
    }

    pub async fn resize(&self, id: &str, exec_id: &str, width: u32, height: u32) -> Result<(), Error> {
        let request =
            tasks::ResizePtyRequest { container_id: id.to_owned(), exec_id: exec_id.to_owned(), width, height };
        let answer = self.client.tasks().resize_pty(request).await;
        answer.map(|_| ()).map_err(|status| failed("cannot resize the terminal", status))
    }

    pub async fn pause(&self, id: &str) -> Result<(), Error> {
        let answer = self.client.tasks().pause(tasks::PauseTaskRequest { container_id: id.to_owned() }).await;
        answer.map(|_| ()).map_err(|status| failed("cannot pause the container", status))
    }

    pub async fn resume(&self, id: &str) -> Result<(), Error> {
        let answer = self.client.tasks().resume(tasks::ResumeTaskRequest { container_id: id.to_owned() }).await;
        answer.map(|_| ()).map_err(|status| failed("cannot unpause the container", status))
    }

    /// Other limits for a running container: resources of the OCI's, as JSON.
    pub async fn update(&self, id: &str, resources: Vec<u8>) -> Result<(), Error> {
        let request = tasks::UpdateTaskRequest {
            container_id: id.to_owned(),
            resources: Some(any::pack_json(any::RESOURCES, resources)),
            ..tasks::UpdateTaskRequest::default()
        };
        let answer = self.client.tasks().update(request).await;
        answer.map(|_| ()).map_err(|status| failed("cannot update the limits", status))
    }

    pub async fn pids(&self, id: &str) -> Result<Vec<u32>, Error> {
        let answer = self.client.tasks().list_pids(tasks::ListPidsRequest { container_id: id.to_owned() }).await;
        let answer = answer.map_err(|status| failed("cannot list the processes", status))?.into_inner();
        Ok(answer.processes.into_iter().map(|process| process.pid).collect())
    }

    /// Events of our namespace's tasks.
    pub async fn subscribe(&self, namespace: &str) -> Result<Streaming<Envelope>, Error> {
        let request = events::SubscribeRequest { filters: vec![format!("namespace=={namespace},topic~=|^/tasks/|")] };
        let answer = self.client.events().subscribe(request).await;
        Ok(answer.map_err(|status| failed("cannot subscribe to events", status))?.into_inner())
    }
}

fn failed(action: &'static str, status: tonic::Status) -> Error {
    // A call that was under way when the connection broke is cancelled by our own side, which a source gives away.
    let broken = status.code() == tonic::Code::Cancelled && std::error::Error::source(&status).is_some();
    let status = if broken { tonic::Status::unavailable(status.message()) } else { status };
    Error::Containerd { action, source: status.into() }
}

fn absent_is_none<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Runs a call that may run twice, until containerd is back or patience ends.
async fn repeat<T, F: Future<Output = Result<T, Error>>>(call: impl Fn() -> F) -> Result<T, Error> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut wait = Duration::from_millis(20);
    loop {
        match call().await {
            Err(error) if error.kind() == ErrorKind::Unavailable && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_millis(320));
            }
            done => return done,
        }
    }
}

fn state_of(process: Process, container_id: &str) -> TaskState {
    let id = if container_id.is_empty() { &process.id } else { container_id };
    TaskState {
        container_id: id.to_owned(),
        pid: process.pid,
        status: process.status(),
        code: code(process.exit_status),
        exited: timestamp(process.exited_at.as_ref()),
    }
}

fn exit_of(answer: &tasks::DeleteResponse) -> Exit {
    Exit { code: code(answer.exit_status), at: timestamp(answer.exited_at.as_ref()) }
}

pub(crate) fn code(status: u32) -> i32 {
    i32::try_from(status).unwrap_or(255)
}

/// `None` for a time that was never set (Go's zero time is far before 1970).
pub(crate) fn timestamp(time: Option<&containerd_api::Timestamp>) -> Option<Timestamp> {
    let time = time.filter(|time| time.seconds > 0)?;
    Some(Timestamp::from_parts(time.seconds, u32::try_from(time.nanos).unwrap_or(0)))
}
