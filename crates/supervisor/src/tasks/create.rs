//! From a container to a created task: bundle, shim, the shim's Create.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, OnceLock};

use containerd_api::Any;
use containerd_api::method::task as methods;
use containerd_api::services::containers::v1::Container;
use containerd_api::task::v2;
use containerd_api::types::Mount;
use tokio::sync::watch;

use super::{Key, Shared, Slot, Task, Tasks};
use crate::bundle::{Bundle, Exit};
use crate::containers::is_ephemeral;
use crate::error::{Error, Result};
use crate::messages;
use crate::shim_client::{Limit, ShimClient};
use crate::shim_program;

/// What a task is made from, besides its container.
#[derive(Debug, Clone, Default)]
pub struct NewTask {
    pub container_id: String,
    pub rootfs: Vec<Mount>,
    pub stdin: String,
    pub stdout: String,
    pub stderr: String,
    pub terminal: bool,
    pub options: Option<Any>,
    /// Another program or runtime name than the container's.
    pub runtime: String,
}

impl Tasks {
    /// Makes a task; answers the pid of its process, which waits to be started. Goes on when the caller goes away.
    pub async fn create(&self, namespace: &str, new: NewTask) -> Result<u32> {
        let container = self.shared.containers.get(namespace, &new.container_id)?;
        let reserved = Reserved::new(self, namespace, &new.container_id)?;
        let (tasks, namespace) = (self.clone(), namespace.to_owned());
        let work = tokio::spawn(async move {
            let task = tasks.shared.make(&namespace, &container, new).await?;
            let pid = task.pid.load(std::sync::atomic::Ordering::Relaxed);
            reserved.fill(task);
            Ok(pid)
        });
        work.await.unwrap_or(Err(Error::GivenUp))
    }

    pub(super) fn adopt(&self, bundle: Bundle, program: std::path::PathBuf, shim: ShimClient) -> Arc<Task> {
        let exit = bundle.exit();
        if let Some(log) = super::death::open_log(&bundle) {
            tokio::spawn(super::death::copy_log(log, bundle.id.clone(), shim.closed()));
        }
        let task = new_task(bundle, program, shim, exit, 0);
        self.lock().insert(Key::new(&task.bundle.namespace, &task.bundle.id), Slot::Live(task.clone()));
        tokio::spawn(self.clone().watch(task.clone()));
        task
    }
}

/// The place of a task in the making; given back unless it is filled.
struct Reserved {
    tasks: Tasks,
    key: Key,
    filled: bool,
}

impl Reserved {
    fn new(tasks: &Tasks, namespace: &str, id: &str) -> Result<Self> {
        let key = Key::new(namespace, id);
        let mut slots = tasks.lock();
        match slots.get(&key) {
            // Nobody asked for the end of the one before; whoever makes a new one has moved on.
            None | Some(Slot::Dead(_)) => {
                slots.insert(key.clone(), Slot::Creating);
                Ok(Self { tasks: tasks.clone(), key, filled: false })
            }
            Some(Slot::Creating | Slot::Live(_)) => Err(messages::task_exists(id)),
        }
    }

    fn fill(mut self, task: Arc<Task>) {
        self.tasks.lock().insert(self.key.clone(), Slot::Live(task.clone()));
        self.filled = true;
        tokio::spawn(self.tasks.clone().watch(task));
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if !self.filled {
            self.tasks.lock().remove(&self.key);
        }
    }
}

impl Shared {
    async fn make(&self, namespace: &str, container: &Container, new: NewTask) -> Result<Arc<Task>> {
        let runtime = container.runtime.as_ref();
        let name =
            if new.runtime.is_empty() { runtime.map_or("", |runtime| runtime.name.as_str()) } else { &new.runtime };
        let program = self.runtimes.resolve(name)?;
        let options = new
            .options
            .filter(|options| !options.value.is_empty() || !options.type_url.is_empty())
            .or_else(|| runtime.and_then(|runtime| runtime.options.clone()));
        let bundle = self.places.bundle(namespace, &container.id);
        bundle.create(container.spec.as_ref().map_or(&[][..], |spec| spec.value.as_slice()))?;
        bundle.write_program(&program)?;
        let log = super::death::open_log(&bundle);
        let shim = match self.start_shim(&program, &bundle, options.as_ref()).await {
            Ok(shim) => shim,
            Err(error) => {
                self.clean_up(&program, &bundle).await;
                return Err(error);
            }
        };
        let request = v2::CreateTaskRequest {
            id: container.id.clone(),
            bundle: bundle.path.to_string_lossy().into_owned(),
            rootfs: if is_ephemeral(container) { volatile(new.rootfs) } else { new.rootfs },
            terminal: new.terminal,
            stdin: new.stdin,
            stdout: new.stdout,
            stderr: new.stderr,
            options,
            ..v2::CreateTaskRequest::default()
        };
        match shim.call::<v2::CreateTaskResponse>(methods::CREATE, &request, Limit::Operation).await {
            Ok(answer) => {
                if let Some(log) = log {
                    tokio::spawn(super::death::copy_log(log, container.id.clone(), shim.closed()));
                }
                Ok(new_task(bundle, program, shim, None, answer.pid))
            }
            Err(error) => {
                self.abandon(&shim, &bundle).await;
                self.clean_up(&program, &bundle).await;
                Err(error)
            }
        }
    }

    async fn start_shim(
        &self,
        program: &std::path::Path,
        bundle: &Bundle,
        options: Option<&Any>,
    ) -> Result<ShimClient> {
        let bootstrap = match self.fork_server.start(program, bundle, &self.daemon, options).await {
            Some(bootstrap) => bootstrap,
            None => shim_program::start(program, bundle, &self.daemon, options).await?,
        };
        bundle.write_bootstrap(&bootstrap)?;
        ShimClient::connect(&bootstrap).await
    }
}

/// Lets overlays forget what they wrote when the machine dies: unmounting one otherwise syncs its whole file system
/// (Documentation/filesystems/overlayfs.rst, "Volatile mount"), which takes longer than many a container lives.
fn volatile(mut mounts: Vec<Mount>) -> Vec<Mount> {
    for mount in mounts.iter_mut().filter(|mount| mount.r#type == "overlay") {
        let work = mount.options.iter().find_map(|option| option.strip_prefix("workdir=")).map(PathBuf::from);
        let Some(work) = work else { continue };
        if !mount.options.iter().any(|option| option == "volatile") {
            mount.options.push("volatile".to_owned());
        }
        // The mark of an earlier mount keeps the kernel from mounting it again; that what was lost may be lost is agreed.
        // It is not there the first time.
        let _ = std::fs::remove_dir_all(work.join("work/incompat"));
    }
    mounts
}

fn new_task(bundle: Bundle, program: std::path::PathBuf, shim: ShimClient, exit: Option<Exit>, pid: u32) -> Arc<Task> {
    Arc::new(Task {
        bundle,
        program,
        shim,
        pid: AtomicU32::new(pid),
        exit: exit.map_or_else(OnceLock::new, OnceLock::from),
        deleted: AtomicBool::new(false),
        ending: AtomicBool::new(false),
        ended: watch::Sender::new(None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_writable_overlays_become_volatile_and_can_be_mounted_again() {
        let folder = tempfile::tempdir().expect("tempdir");
        let work = folder.path().join("w");
        std::fs::create_dir_all(work.join("work/incompat/volatile/dirty")).expect("mkdir");
        let mount = |r#type: &str, options: &[String]| Mount {
            r#type: r#type.to_owned(),
            options: options.to_vec(),
            ..Mount::default()
        };
        let writable = [format!("workdir={}", work.display()), "upperdir=/u".to_owned(), "lowerdir=/l".to_owned()];
        let mounts = volatile(volatile(vec![
            mount("overlay", &writable),
            mount("overlay", &["lowerdir=/a:/b".to_owned()]),
            mount("bind", &["rbind".to_owned()]),
        ]));
        let marked: Vec<usize> =
            mounts.iter().map(|mount| mount.options.iter().filter(|option| *option == "volatile").count()).collect();
        assert_eq!(marked, [1, 0, 0]);
        assert!(!work.join("work/incompat").exists());
    }
}
