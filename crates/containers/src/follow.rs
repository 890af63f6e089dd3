//! Following containerd: its events are hints, and after every connection what runs is compared with what should.

use std::sync::Arc;
use std::time::Duration;

use containerd_api::any;
use containerd_api::events::{TaskExit, TaskOom};
use containerd_api::types::Envelope;
use containerd_api::v1::types::Status;
use tokio::task::JoinSet;
use tonic::Streaming;

use crate::containerd::{Exit, code, timestamp};
use crate::ending::Told;
use crate::error::Error;
use crate::service::Shared;
use crate::{ending, exec};

/// Between two tries to reach a containerd that is away.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// A server in Go answers a subscription with its first event only: after this time it is taken as made.
const SUBSCRIBED_AFTER: Duration = Duration::from_millis(200);

/// Runs until the service closes.
pub(crate) async fn follow(shared: Arc<Shared>) {
    let mut closing = shared.closing.subscribe();
    let mut work = JoinSet::new();
    let mut wait = FIRST_WAIT;
    loop {
        let followed = tokio::select! {
            _ = closing.wait_for(|closing| *closing) => break,
            followed = follow_once(&shared, &mut work) => followed,
        };
        match followed {
            Ok(()) => wait = FIRST_WAIT,
            Err(error) => {
                tracing::debug!(error = %errors::chain(&error), "containerd is not reachable");
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
        tokio::select! {
            _ = closing.wait_for(|closing| *closing) => break,
            () = tokio::time::sleep(wait) => {}
        }
    }
    work.shutdown().await;
}

/// One connection: subscribe, compare, listen until it breaks.
async fn follow_once(shared: &Arc<Shared>, work: &mut JoinSet<()>) -> Result<(), Error> {
    let subscribing = shared.containerd.subscribe(&shared.settings.namespace);
    tokio::pin!(subscribing);
    let stream = match tokio::time::timeout(SUBSCRIBED_AFTER, &mut subscribing).await {
        Ok(stream) => stream?,
        Err(_) => {
            compare(shared).await?;
            subscribing.await?
        }
    };
    compare(shared).await?;
    listen(shared, stream, work).await
}

async fn listen(shared: &Arc<Shared>, mut stream: Streaming<Envelope>, work: &mut JoinSet<()>) -> Result<(), Error> {
    loop {
        tokio::select! {
            message = stream.message() => match message {
                Ok(Some(envelope)) => take(shared, &envelope, work),
                Ok(None) => return Ok(()),
                Err(status) => {
                    return Err(Error::Containerd { action: "the event stream broke", source: status.into() });
                }
            },
            Some(_) = work.join_next(), if !work.is_empty() => {}
        }
    }
}

fn take(shared: &Arc<Shared>, envelope: &Envelope, work: &mut JoinSet<()>) {
    let Some(event) = &envelope.event else { return };
    if let Ok(exit) = any::unpack::<TaskExit>(event) {
        let shared = Arc::clone(shared);
        work.spawn(async move { exited(&shared, exit).await });
    } else if let Ok(oom) = any::unpack::<TaskOom>(event) {
        let shared = Arc::clone(shared);
        work.spawn(async move {
            let container = shared.index().get(&oom.container_id);
            if let Some(container) = container {
                ending::out_of_memory(&shared, &container).await;
            }
        });
    }
}

async fn exited(shared: &Arc<Shared>, event: TaskExit) {
    let told = Exit { code: code(event.exit_status), at: timestamp(event.exited_at.as_ref()) };
    if event.id != event.container_id {
        exec::ended(shared, &event.container_id, &event.id, told).await;
        return;
    }
    let container = shared.index().get(&event.container_id);
    if let Some(container) = container {
        ending::ended(shared, &container, Some(Told { pid: event.pid, exit: told })).await;
    }
}

/// Finds what ended while nobody listened.
pub(crate) async fn compare(shared: &Arc<Shared>) -> Result<(), Error> {
    let tasks = shared.containerd.list().await?;
    let runs = |id: &str| tasks.iter().any(|task| task.container_id == id && task.status != Status::Stopped);
    let all = shared.index().all();
    for container in all.into_iter().filter(|container| container.record().state.has_process()) {
        if !runs(&container.id) {
            ending::ended(shared, &container, None).await;
        }
    }
    exec::compare(shared).await;
    Ok(())
}
