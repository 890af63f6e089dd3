//! What happens when a shim dies: its program cleans up, the exit is told and kept.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use containerd_api::events::TaskExit;
use containerd_api::method::task as methods;
use containerd_api::task::v2;
use tokio::net::unix::pipe;

use super::{KILLED, Key, Shared, Slot, Task, Tasks, timestamp};
use crate::bundle::{Bundle, Exit};
use crate::shim_client::{Limit, ShimClient};
use crate::{shim_process, shim_program};

/// How long one may wait for the clean-up after a dead shim.
pub const CLEANUP_LIMIT: Duration = Duration::from_secs(15);
/// How long a shim may take to go after it was asked to.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(3);

impl Tasks {
    /// Lives as long as the shim of a task does, and cleans up when it ends without being told to.
    pub(super) async fn watch(self, task: Arc<Task>) {
        task.shim.closed().await;
        if task.deleted.load(Ordering::Acquire) {
            return;
        }
        tracing::warn!(namespace = %task.bundle.namespace, id = %task.bundle.id, "a shim is gone");
        let exit = self.shared.bury(&task.bundle, &task.program, task.pid.load(Ordering::Relaxed)).await;
        if task.deleted.load(Ordering::Acquire) {
            return;
        }
        self.remember(&task.bundle, exit);
        task.ended.send_replace(Some(exit));
    }

    /// Puts a dead task in its place and tells everybody, once.
    pub(super) fn remember(&self, bundle: &Bundle, exit: Exit) {
        self.lock().insert(Key::new(&bundle.namespace, &bundle.id), Slot::Dead(exit));
        let event = TaskExit {
            container_id: bundle.id.clone(),
            id: bundle.id.clone(),
            pid: exit.pid,
            exit_status: exit.status,
            exited_at: Some(timestamp(&exit)),
        };
        self.shared.events.publish(&bundle.namespace, "/tasks/exit", &event);
    }
}

impl Shared {
    /// Cleans up after a dead shim and answers how its task ended. The bundle stays, for the exit in it.
    pub(super) async fn bury(&self, bundle: &Bundle, program: &std::path::Path, pid: u32) -> Exit {
        let known = bundle.exit();
        let answer = shim_program::delete(program, bundle, &self.daemon).await;
        if let Err(error) = &answer {
            tracing::warn!(id = %bundle.id, error = %errors::chain(error), "the clean-up after a shim failed");
        }
        let exit = known.unwrap_or_else(|| {
            let answer = answer.ok();
            let status = answer.as_ref().map_or(KILLED, |answer| answer.exit_status);
            let pid = answer.map(|answer| answer.pid).filter(|pid| *pid != 0).unwrap_or(pid);
            // The shim's program answers the time of the clean-up, which is now; a missing one would read as 1970.
            Exit::new(pid, status, SystemTime::now())
        });
        if let Err(error) = bundle.write_exit(&exit) {
            tracing::warn!(id = %bundle.id, error = %errors::chain(&error), "an exit could not be recorded");
        }
        exit
    }

    /// Removes every trace of a task that never came to be.
    pub(super) async fn clean_up(&self, program: &std::path::Path, bundle: &Bundle) {
        if let Err(error) = shim_program::delete(program, bundle, &self.daemon).await {
            tracing::debug!(id = %bundle.id, error = %errors::chain(&error), "nothing to clean up after a shim");
        }
        if let Err(error) = bundle.delete() {
            tracing::warn!(id = %bundle.id, error = %errors::chain(&error), "a bundle could not be removed");
        }
    }

    /// Ends a shim that holds no task, by asking, then by force.
    pub(super) async fn abandon(&self, shim: &ShimClient, bundle: &Bundle) {
        let request = v2::ShutdownRequest { id: bundle.id.clone(), now: true };
        // The shim may be gone before it answers.
        let _ = shim.call::<()>(methods::SHUTDOWN, &request, Limit::Question).await;
        if tokio::time::timeout(SHUTDOWN_LIMIT, shim.closed()).await.is_ok() {
            return;
        }
        tracing::warn!(id = %bundle.id, "a shim does not end when asked, it is killed");
        let killed = shim_process::kill(&bundle.path);
        if killed == 0 {
            tracing::warn!(id = %bundle.id, "no process of the shim was found");
        }
    }
}

/// Opens the FIFO that a shim writes its own log to, for both directions, so that it never sees it without a reader.
pub(super) fn open_log(bundle: &Bundle) -> Option<pipe::Receiver> {
    match pipe::OpenOptions::new().read_write(true).open_receiver(bundle.log()) {
        Ok(log) => Some(log),
        Err(error) => {
            tracing::warn!(id = %bundle.id, %error, "the log of a shim cannot be read");
            None
        }
    }
}

/// Passes a shim's log on to our standard error until the shim is gone.
pub(super) async fn copy_log(log: pipe::Receiver, id: String, closed: impl Future<Output = ()>) {
    let mut closed = std::pin::pin!(closed);
    loop {
        tokio::select! {
            readable = log.readable() => if readable.is_err() { return },
            () = &mut closed => return,
        }
        // The buffer lives only while there is something to read: most shims never say a word.
        let mut chunk = Vec::with_capacity(4096);
        match log.try_read_buf(&mut chunk) {
            Ok(0) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&chunk);
                for line in text.lines().filter(|line| !line.trim().is_empty()) {
                    // Shims in Go tell their whole life in logrus lines.
                    if line.contains("level=info") || line.contains("level=debug") {
                        tracing::debug!(%id, line, "shim");
                    } else {
                        tracing::warn!(%id, line, "shim");
                    }
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
