//! Taking a task, or an added process, away.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use containerd_api::events::TaskDelete;
use containerd_api::method::task as methods;
use containerd_api::task::v2;
use containerd_api::time;
use containerd_api::v1::types::Status;

use super::{Key, Slot, Task, Tasks, timestamp};
use crate::bundle::Exit;
use crate::error::{Error, Result};
use crate::messages;
use crate::shim_client::Limit;

impl Tasks {
    /// Removes a task that has ended (or was never started) and its shim; answers how it ended. Goes on when the caller
    /// goes away.
    pub async fn delete(&self, namespace: &str, id: &str) -> Result<Exit> {
        match self.slot(namespace, id)? {
            Slot::Creating => Err(messages::task_not_found(id)),
            Slot::Dead(exit) => self.forget(namespace, id, exit),
            Slot::Live(task) => {
                let tasks = self.clone();
                if task.ending.swap(true, Ordering::AcqRel) {
                    return Err(messages::task_being_deleted(id));
                }
                let work = async move {
                    let ended = tasks.end(task.clone()).await;
                    task.ending.store(false, Ordering::Release);
                    ended
                };
                tokio::spawn(work).await.unwrap_or(Err(Error::GivenUp))
            }
        }
    }

    /// Removes an added process that has ended.
    pub async fn delete_exec(&self, namespace: &str, id: &str, exec: &str) -> Result<Exit> {
        let task = match self.slot(namespace, id)? {
            Slot::Live(task) => task,
            Slot::Dead(_) => return Err(messages::exec_not_found(exec)),
            Slot::Creating => return Err(messages::task_not_found(id)),
        };
        let request = v2::DeleteRequest { id: id.to_owned(), exec_id: exec.to_owned() };
        let answer: v2::DeleteResponse = task.shim.call(methods::DELETE, &request, Limit::Operation).await?;
        Ok(exit(&answer))
    }

    /// The container is gone: what is remembered of its dead task goes too.
    pub fn forget_dead(&self, namespace: &str, id: &str) {
        if let Ok(Slot::Dead(exit)) = self.slot(namespace, id)
            && let Err(error) = self.forget(namespace, id, exit)
        {
            tracing::warn!(id, error = %errors::chain(&error), "a dead task could not be removed");
        }
    }

    fn forget(&self, namespace: &str, id: &str, exit: Exit) -> Result<Exit> {
        self.shared.places.bundle(namespace, id).delete()?;
        self.lock().remove(&Key::new(namespace, id));
        self.tell_deleted(namespace, id, &exit);
        Ok(exit)
    }

    async fn end(&self, task: Arc<Task>) -> Result<Exit> {
        // The shim forgets with its answer, and we may be killed before we have passed it on: the exit is written down
        // first, unless whoever waited for it has done so.
        if task.exit.get().is_none() {
            self.ask_for_exit(&task).await?;
        }
        let request = v2::DeleteRequest { id: task.bundle.id.clone(), exec_id: String::new() };
        let answer = task.shim.call::<v2::DeleteResponse>(methods::DELETE, &request, Limit::Operation).await;
        let exit = match (answer, task.exit.get()) {
            (Ok(answer), _) => exit(&answer),
            // Deleted by a call whose answer was lost, or the shim died on the way.
            (Err(error), Some(exit)) if error.is_not_found() => *exit,
            (Err(error), _) if task.shim.is_closed() => {
                let exit = task.exit_after_death().await.ok_or(error)?;
                return self.forget(&task.bundle.namespace, &task.bundle.id, exit);
            }
            (Err(error), _) => return Err(error),
        };
        task.deleted.store(true, Ordering::Release);
        let (tasks, ending) = (self.clone(), task.clone());
        tokio::spawn(async move { tasks.shared.abandon(&ending.shim, &ending.bundle).await });
        let rubbish = task.bundle.retire()?;
        self.lock().remove(&Key::new(&task.bundle.namespace, &task.bundle.id));
        // Nobody has to wait for this; what is not done when we are killed is done at the next start.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = rubbish.remove() {
                tracing::warn!(id = %task.bundle.id, %error, "rubbish of a bundle stays until the next start");
            }
        });
        Ok(exit)
    }

    async fn ask_for_exit(&self, task: &Task) -> Result<()> {
        match task.state("").await {
            Ok(state) if state.status() == Status::Stopped => {
                let at = time::from_timestamp(state.exited_at.as_ref());
                task.note_exit(Exit::new(state.pid, state.exit_status, at));
                Ok(())
            }
            Ok(state) if state.status() == Status::Running || state.status() == Status::Paused => {
                Err(messages::task_running(&task.bundle.id))
            }
            // Created, or gone already, or the shim is dead: the shim's delete knows what to do.
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() || task.shim.is_closed() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn tell_deleted(&self, namespace: &str, id: &str, exit: &Exit) {
        let event = TaskDelete {
            container_id: id.to_owned(),
            id: id.to_owned(),
            pid: exit.pid,
            exit_status: exit.status,
            exited_at: Some(timestamp(exit)),
        };
        self.shared.events.publish(namespace, "/tasks/delete", &event);
    }
}

fn exit(answer: &v2::DeleteResponse) -> Exit {
    Exit::new(answer.pid, answer.exit_status, time::from_timestamp(answer.exited_at.as_ref()))
}
