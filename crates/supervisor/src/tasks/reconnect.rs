//! At start: every bundle tells how far its task had come, and its shim is found again.

use std::time::Duration;

use containerd_api::method::task as methods;
use containerd_api::task::v2;
use futures_util::{StreamExt, stream};

use super::{Key, Slot, Tasks};
use crate::bundle::Bundle;
use crate::shim_client::{Limit, ShimClient};

/// How many bundles are worked on at the same time.
const CONCURRENT: usize = 32;
/// A bundle younger than this may have a shim that is starting just now.
const YOUNG: Duration = Duration::from_secs(2);
/// How often, and how far apart, a young bundle is looked at again.
const LOOKS: u32 = 10;
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Tasks {
    /// Keeps the place of every task that an earlier run of this program left, so that nobody makes a new one there
    /// before it has been looked at. The bundles are for [`Tasks::reconnect`].
    pub fn reserve_earlier(&self) -> Vec<Bundle> {
        let bundles = self.shared.places.all();
        let mut slots = self.lock();
        slots.extend(bundles.iter().map(|bundle| (Key::new(&bundle.namespace, &bundle.id), Slot::Creating)));
        bundles
    }

    /// Takes over every such task. Answers when each has a place; questions that a
    /// sick shim may leave open go on behind.
    pub async fn reconnect(&self, bundles: Vec<Bundle>) {
        stream::iter(bundles).for_each_concurrent(CONCURRENT, |bundle| self.reconnect_one(bundle)).await;
        self.shared.places.remove_stray_work();
    }

    async fn reconnect_one(&self, bundle: Bundle) {
        let Some(program) = bundle.program() else {
            // Killed before a shim was started: there is nothing but the folder.
            remove(&bundle);
            self.free(&bundle);
            return;
        };
        let wanted = self.shared.containers.get(&bundle.namespace, &bundle.id).is_ok();
        let shim = match wait_for_address(&bundle).await {
            Some(bootstrap) => ShimClient::connect(&bootstrap).await.ok(),
            None => None,
        };
        match shim {
            Some(shim) if wanted => {
                let task = self.adopt(bundle, program, shim);
                let tasks = self.clone();
                tokio::spawn(async move { tasks.check(task).await });
            }
            Some(shim) => {
                tracing::warn!(namespace = %bundle.namespace, id = %bundle.id, "a task has no container, it is removed");
                let tasks = self.clone();
                tokio::spawn(async move {
                    let kill =
                        v2::KillRequest { id: bundle.id.clone(), signal: 9, all: true, ..v2::KillRequest::default() };
                    let _ = shim.call::<()>(methods::KILL, &kill, Limit::Question).await;
                    tasks.shared.abandon(&shim, &bundle).await;
                    tasks.shared.clean_up(&program, &bundle).await;
                    tasks.free(&bundle);
                });
            }
            None if wanted => {
                let exit = self.shared.bury(&bundle, &program, 0).await;
                self.remember(&bundle, exit);
            }
            None => {
                self.shared.clean_up(&program, &bundle).await;
                self.free(&bundle);
            }
        }
    }

    /// A shim that answers but has no task was left between its start and its Create.
    async fn check(&self, task: std::sync::Arc<super::Task>) {
        let Err(error) = task.state("").await else { return };
        if error.is_not_found() && task.exit.get().is_some() {
            // Deleted in the shim by a call whose answer died with us: it is listed as ended until it is deleted here.
            return;
        }
        if !error.is_not_found() {
            tracing::warn!(id = %task.bundle.id, error = %errors::chain(&error), "a shim does not tell its state");
            return;
        }
        task.deleted.store(true, std::sync::atomic::Ordering::Release);
        self.shared.abandon(&task.shim, &task.bundle).await;
        self.shared.clean_up(&task.program, &task.bundle).await;
        self.free(&task.bundle);
    }

    fn free(&self, bundle: &Bundle) {
        self.lock().remove(&Key::new(&bundle.namespace, &bundle.id));
    }
}

async fn wait_for_address(bundle: &Bundle) -> Option<crate::shim_program::Bootstrap> {
    for _ in 0..LOOKS {
        if let Some(bootstrap) = bundle.bootstrap() {
            return Some(bootstrap);
        }
        if bundle.age().is_none_or(|age| age > YOUNG) {
            return None;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    None
}

fn remove(bundle: &Bundle) {
    if let Err(error) = bundle.delete() {
        tracing::warn!(id = %bundle.id, error = %errors::chain(&error), "a bundle could not be removed");
    }
}
