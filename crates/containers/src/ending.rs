//! The end of a run: found out, stored, cleaned up after, told, and perhaps followed by another.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use container_core::restart::{self, Restart};
use container_core::{Event, State, Timestamp};
use containerd_api::v1::types::Status;
use metadata::Durability;

use crate::containerd::Exit;
use crate::error::Error;
use crate::record::{Container, Untold};
use crate::service::{Shared, now};
use crate::start::{self, Cause};
use crate::{exec, remove, staging, volumes};

/// What Docker reports for a process that its shim took along.
const KILLED: i32 = 137;

/// An end as an event tells it: the shim's own words, if they are about this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub pid: u32,
    pub exit: Exit,
}

/// Somebody says that a container's process has ended. Looked at before it is believed, unless it is the shim that says so
/// of the very process; nothing happens when it still runs, or when its end is known already.
pub(crate) async fn ended(shared: &Arc<Shared>, container: &Arc<Container>, told: Option<Told>) {
    let _gate = container.gate.lock().await;
    let record = container.record();
    if !record.state.has_process() {
        return;
    }
    if let Some(told) = told.filter(|told| told.pid == record.state.pid()) {
        return finish(shared, container, told.exit).await;
    }
    let exit = match shared.containerd.get(&container.id, "").await {
        Ok(Some(task)) if task.status == Status::Stopped => Exit { code: task.code, at: task.exited },
        Ok(Some(_)) => return,
        Ok(None) => told.map_or(Exit { code: KILLED, at: None }, |told| told.exit),
        Err(error) => {
            // The comparison after the next connection finds it again.
            tracing::warn!(container = container.id, error = %errors::chain(&error), "cannot ask how a container ended");
            return;
        }
    };
    finish(shared, container, exit).await;
}

/// Takes the end over; the gate is the caller's. The exit is stored before the shim, which has the only other copy, goes.
pub(crate) async fn finish(shared: &Arc<Shared>, container: &Arc<Container>, exit: Exit) {
    let at = exit.at.unwrap_or_else(now);
    let record = container.record();
    let Some(started) = running_since(&record.state) else { return };
    let ran_for = at.since(started);
    let fact = restart::Exit { code: exit.code, ran_for, stopped_by_user: record.stopped_by_user };
    let decision = restart::decide(record.host_config.restart_policy, record.history, fact);
    let event = Event::Exited { code: exit.code, at, restart: decision != Restart::No };
    if let Err(refused) = container.take(event) {
        tracing::error!(container = container.id, %refused, "an exit has no place in the container's life");
        return;
    }
    let untold = Untold { code: exit.code, ran_s: ran_for.as_secs() };
    let record = container.change(|record| {
        record.sandbox = None;
        record.untold = Some(untold);
        if let Restart::After { history, .. } = decision {
            record.history = history;
            record.restart_count = record.restart_count.saturating_add(1);
        }
    });
    if let Err(error) = container.store(&shared.database, Durability::Lazy).await {
        tracing::error!(container = container.id, error = %errors::chain(&error), "cannot store an exit");
    }
    // Its processes are gone: what was lent to them and what had them need not wait for one another.
    let lent = async {
        if let Err(error) = shared.neighbours.sandboxes.release(&record.id).await {
            tracing::warn!(container = record.id, %error, "cannot release a container's sandbox");
        }
        staging::unstage(shared, &record.id);
        shared.shipping.drain(&record.id);
        container.drop_pending();
        exec::container_ended(shared, &record.id, KILLED);
        tell(shared, container, untold);
        volumes::unmount_all(shared, &record).await;
        // Whoever wants the container next waits at its gate, and nobody else needs the shim.
        container.notify(|progress| {
            progress.exits += 1;
            progress.running = decision != Restart::No;
            progress.code = exit.code;
            progress.error = None;
        });
    };
    let ((), is_gone) = tokio::join!(lent, delete_task(shared, &record.id));
    let goes = decision == Restart::No && record.host_config.auto_remove && !container.kept();
    if !goes {
        delete_record(shared, &record.id, is_gone).await;
        if let Err(error) = container.store(&shared.database, Durability::Lazy).await {
            tracing::error!(container = container.id, error = %errors::chain(&error), "cannot store that an exit was told");
        }
    }
    match decision {
        Restart::After { wait, .. } => restart_later(shared, container, wait),
        Restart::No if goes => {
            let (erased, ()) = tokio::join!(
                remove::begin_and_erase(shared, container, true),
                delete_record(shared, &record.id, is_gone),
            );
            if let Err(error) = erased {
                tracing::warn!(container = container.id, error = %errors::chain(&error), "cannot remove a container that ended");
            }
        }
        Restart::No => {}
    }
}

/// The event of an end. That it is not to be told again is stored by the caller.
fn tell(shared: &Shared, container: &Container, untold: Untold) {
    let record = container.change(|record| record.untold = None);
    let attributes = [("exitCode", untold.code.to_string()), ("execDuration", untold.ran_s.to_string())];
    shared.publish(&record, "die", &attributes);
}

/// An end that a daemon before this one stored and did not live to tell.
pub(crate) async fn tell_late(shared: &Shared, container: &Container) -> Result<(), Error> {
    let Some(untold) = container.record().untold else { return Ok(()) };
    tell(shared, container, untold);
    container.store(&shared.database, Durability::Lazy).await
}

fn running_since(state: &State) -> Option<Timestamp> {
    if state.has_process() { state.started() } else { None }
}

/// The shim goes; says whether it did. What fails here and below is found again by the next start of the daemon.
async fn delete_task(shared: &Arc<Shared>, id: &str) -> bool {
    let deleted = shared.containerd.delete_task(id).await;
    if let Err(error) = &deleted {
        tracing::warn!(container = id, error = %errors::chain(error), "cannot clean up after a container");
    }
    deleted.is_ok()
}

/// containerd's record of it goes, unless its task could not.
async fn delete_record(shared: &Arc<Shared>, id: &str, is_gone: bool) {
    if is_gone && let Err(error) = shared.containerd.delete_container(id).await {
        tracing::warn!(container = id, error = %errors::chain(&error), "cannot clean up after a container");
    }
}

/// Starts it again after the policy's wait, unless that is called off.
pub(crate) fn restart_later(shared: &Arc<Shared>, container: &Arc<Container>, wait: std::time::Duration) {
    if shared.stopping.load(Ordering::SeqCst) {
        return;
    }
    let (shared, container) = (Arc::clone(shared), Arc::clone(container));
    let mut closing = shared.closing.subscribe();
    // It ends by itself: after the wait, when the restart is called off, or with the daemon.
    tokio::spawn(async move {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = container.restart_cancelled.notified() => return,
            _ = closing.wait_for(|closing| *closing) => return,
        }
        if let Err(error) = start::start(&shared, &container, Cause::Policy).await {
            tracing::warn!(container = container.id, error = %errors::chain(&error), "cannot restart a container");
        }
    });
}

/// The kernel killed a process of the container for its memory (cgroups(7)).
pub(crate) async fn out_of_memory(shared: &Arc<Shared>, container: &Arc<Container>) {
    let _gate = container.gate.lock().await;
    if let Ok(record) = container.take(Event::OutOfMemory) {
        if let Err(error) = container.store(&shared.database, Durability::Lazy).await {
            tracing::error!(container = container.id, error = %errors::chain(&error), "cannot store an out-of-memory event");
        }
        shared.publish(&record, "oom", &[]);
    }
}
