//! Ending and halting what runs: stop, kill, restart, pause.

use std::sync::Arc;
use std::time::Duration;

use container_core::{Event, Signal, State, StopSequence, StopStep, parse_signal};
use containerd_api::v1::types::Status;
use errors::{ErrorKind, Kind};
use metadata::Durability;

use crate::ending;
use crate::error::Error;
use crate::messages;
use crate::record::{Container, Record};
use crate::request::StopOptions;
use crate::service::Shared;
use crate::start::{self, Cause};

pub(crate) async fn stop(shared: &Arc<Shared>, container: &Arc<Container>, options: &StopOptions) -> Result<(), Error> {
    let record = container.record();
    let signal = match (&options.signal, &record.config.stop_signal) {
        (Some(text), _) | (None, Some(text)) if !text.is_empty() => parse_signal(text)?,
        _ => Signal::TERM,
    };
    if cancel_restart(shared, container).await? {
        return Ok(());
    }
    if !container.record().state.has_process() {
        return Err(messages::already_stopped(&record.id));
    }
    remember_stop(shared, container).await?;
    let mut sequence = StopSequence::new(signal, options.timeout_s.or(record.config.stop_timeout_s));
    let stopped = carry_out(shared, container, &mut sequence).await;
    if stopped.is_ok() {
        shared.publish(&container.record(), "stop", &[]);
    }
    stopped
}

/// The same without anybody's wish that the container stay stopped; `timeout_s` in place of its own.
pub(crate) async fn stop_with_daemon(
    shared: &Arc<Shared>,
    container: &Arc<Container>,
    timeout_s: Option<i64>,
) -> Result<(), Error> {
    let record = container.record();
    let signal = record.config.stop_signal.as_deref().filter(|text| !text.is_empty());
    let signal = signal.map_or(Ok(Signal::TERM), parse_signal)?;
    let mut sequence = StopSequence::new(signal, timeout_s.or(record.config.stop_timeout_s));
    carry_out(shared, container, &mut sequence).await?;
    shared.publish(&container.record(), "stop", &[]);
    Ok(())
}

/// Steps of the sequence until the process is gone.
async fn carry_out(shared: &Arc<Shared>, container: &Arc<Container>, sequence: &mut StopSequence) -> Result<(), Error> {
    loop {
        let StopStep::Signal { signal, wait } = sequence.next_step() else {
            return Err(messages::cannot_stop(&container.id));
        };
        let exits = container.progress.borrow().exits;
        match send(shared, container, signal).await {
            Ok(()) => {}
            // Already gone: what follows finds the end.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) if signal == Signal::KILL => return Err(error),
            Err(error) => {
                tracing::warn!(container = container.id, error = %errors::chain(&error), "cannot send the stop signal, killing");
                continue;
            }
        }
        if wait_for_end(container, exits, wait).await {
            return Ok(());
        }
        // An event may have been lost with a connection.
        ending::ended(shared, container, None).await;
        if !container.record().state.has_process() {
            return Ok(());
        }
    }
}

/// `true` when the run that was going on is over.
async fn wait_for_end(container: &Container, exits: u64, wait: Option<Duration>) -> bool {
    let mut progress = container.progress.subscribe();
    let over = progress.wait_for(|progress| progress.exits > exits || progress.removed || !progress.running);
    match wait {
        None => over.await.is_ok(),
        Some(wait) => tokio::time::timeout(wait, over).await.is_ok(),
    }
}

/// SIGKILL, and the end of it: `docker kill`, `rm -f`.
pub(crate) async fn kill_for_good(shared: &Arc<Shared>, container: &Arc<Container>) -> Result<(), Error> {
    if cancel_restart(shared, container).await? || !container.record().state.has_process() {
        return Ok(());
    }
    remember_stop(shared, container).await?;
    carry_out(shared, container, &mut StopSequence::new(Signal::KILL, None)).await
}

pub(crate) async fn kill(shared: &Arc<Shared>, container: &Arc<Container>, signal: Option<&str>) -> Result<(), Error> {
    let signal = signal.filter(|text| !text.is_empty()).map_or(Ok(Signal::KILL), parse_signal)?;
    let record = container.record();
    let restarting = matches!(record.state, State::Restarting { .. }) && signal == Signal::KILL;
    if !record.state.has_process() && !restarting {
        return Err(messages::not_running(&record.id));
    }
    let own = record.config.stop_signal.as_deref().and_then(|text| parse_signal(text).ok()).unwrap_or(Signal::TERM);
    if signal == Signal::KILL {
        return kill_for_good(shared, container).await;
    }
    if signal == own {
        remember_stop(shared, container).await?;
    }
    send(shared, container, signal).await
}

/// One signal, and the event that tells of it. A frozen process takes it when it is thawed.
async fn send(shared: &Arc<Shared>, container: &Arc<Container>, signal: Signal) -> Result<(), Error> {
    let record = container.record();
    let there = shared.containerd.kill(&record.id, "", signal.number()).await;
    let there = match there {
        Err(error) if is_finished(&error) => false,
        other => other?,
    };
    if !there {
        return Err(messages::not_running(&record.id));
    }
    if matches!(record.state, State::Paused { .. }) {
        match thaw(shared, container).await {
            // The runtime thaws what it kills itself; that the process ends is looked at anyway.
            Err(error) if signal == Signal::KILL => {
                tracing::debug!(container = record.id, error = %errors::chain(&error), "not thawed after SIGKILL");
            }
            thawed => thawed?,
        }
    }
    shared.publish(&record, "kill", &[("signal", signal.number().to_string())]);
    Ok(())
}

/// What is gone needs no thawing: a refusal counts only while the process is frozen.
async fn thaw(shared: &Arc<Shared>, container: &Arc<Container>) -> Result<(), Error> {
    let Err(refused) = resume(shared, container).await else { return Ok(()) };
    match shared.containerd.get(&container.id, "").await? {
        Some(task) if task.status == Status::Paused => Err(refused),
        _ => Ok(()),
    }
}

/// runc's words for a process that is gone already come through containerd as an error of any kind.
fn is_finished(error: &Error) -> bool {
    let text = errors::chain(error);
    ["process already finished", "container not running", "not found", "no such process"]
        .iter()
        .any(|words| text.contains(words))
}

pub(crate) async fn restart(
    shared: &Arc<Shared>,
    container: &Arc<Container>,
    options: &StopOptions,
) -> Result<(), Error> {
    let _kept = container.keep();
    match stop(shared, container, options).await {
        Err(error) if error.kind() != ErrorKind::NotModified => return Err(error),
        _ => {}
    }
    start::start(shared, container, Cause::User).await?;
    shared.publish(&container.record(), "restart", &[]);
    Ok(())
}

pub(crate) async fn pause(shared: &Arc<Shared>, container: &Arc<Container>) -> Result<(), Error> {
    let _gate = container.gate.lock().await;
    let record = container.record();
    match &record.state {
        State::Running { .. } => {}
        State::Paused { .. } => return Err(messages::already_paused(&record.id)),
        State::Restarting { .. } => return Err(messages::is_restarting(&record.id)),
        _ => return Err(messages::not_running(&record.id)),
    }
    shared.containerd.pause(&record.id).await?;
    changed(shared, container, Event::Paused, "pause").await
}

pub(crate) async fn unpause(shared: &Arc<Shared>, container: &Arc<Container>) -> Result<(), Error> {
    if !matches!(container.record().state, State::Paused { .. }) {
        return Err(messages::not_paused(&container.id));
    }
    resume(shared, container).await
}

async fn resume(shared: &Arc<Shared>, container: &Arc<Container>) -> Result<(), Error> {
    let _gate = container.gate.lock().await;
    if !matches!(container.record().state, State::Paused { .. }) {
        return Ok(());
    }
    shared.containerd.resume(&container.id).await?;
    changed(shared, container, Event::Unpaused, "unpause").await
}

async fn changed(shared: &Arc<Shared>, container: &Arc<Container>, event: Event, action: &str) -> Result<(), Error> {
    let refused =
        |refused: container_core::Forbidden| Error::Refused { kind: ErrorKind::Conflict, message: refused.to_string() };
    let record: Arc<Record> = container.take(event).map_err(refused)?;
    container.store(&shared.database, Durability::Lazy).await?;
    shared.publish(&record, action, &[]);
    Ok(())
}

/// A container that waits for its restart is stopped by not starting it. `true` when it was so.
async fn cancel_restart(shared: &Arc<Shared>, container: &Arc<Container>) -> Result<bool, Error> {
    let _gate = container.gate.lock().await;
    if container.take(Event::RestartCancelled).is_err() {
        return Ok(false);
    }
    container.restart_cancelled.notify_waiters();
    container.change(|record| record.stopped_by_user = true);
    container.store(&shared.database, container.record().durability()).await?;
    container.notify(|progress| progress.running = false);
    Ok(true)
}

/// Before the first signal: a policy must not bring back what a user ends, not even after a crash.
async fn remember_stop(shared: &Arc<Shared>, container: &Arc<Container>) -> Result<(), Error> {
    let record = container.change(|record| record.stopped_by_user = true);
    let restarts = record.host_config.restart_policy != container_core::RestartPolicy::No;
    let durability = if restarts { record.durability() } else { Durability::Lazy };
    container.store(&shared.database, durability).await
}
