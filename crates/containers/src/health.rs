//! Health checks: one task a container that runs, which probes it as `container-core` says and stores what comes of it.
//!
//! A probe is an exec like any other, told by the same events. The task ends with the run; a daemon that comes up begins
//! one for each container that runs, and goes on from the stored health.

use std::sync::Arc;

use container_core::health::{Check, Health, LONGEST_OUTPUT, ProbeResult};
use container_core::{ExecConfig, State, Timestamp};
use metadata::Durability;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use crate::exec;
use crate::record::Container;
use crate::service::{Shared, now};

/// How long the start of a probe may take: the time of containerd and shim is not the probe's.
const START_LIMIT: std::time::Duration = std::time::Duration::from_secs(30);
/// How long a probe that was killed may take to end.
const KILL_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);
/// Header of a frame of the pump: stream, three zeros, length.
const HEADER: usize = 8;

/// The health of a container that starts now; `None` where nothing is probed.
pub(crate) fn fresh(container: &Container) -> Option<Arc<Health>> {
    let record = container.record();
    Check::of(&record.config).map(|_| Arc::new(Health::restarted(record.health.as_deref())))
}

/// Probes a container for as long as this run of it lasts.
pub(crate) fn watch(shared: &Arc<Shared>, container: &Arc<Container>) {
    let record = container.record();
    if let Some(kind) = Check::unknown_kind(&record.config) {
        tracing::warn!(container = container.id, kind, "unknown healthcheck type, expected CMD");
    }
    let (Some(check), Some(started)) = (Check::of(&record.config), record.state.started()) else { return };
    let (shared, container) = (Arc::clone(shared), Arc::clone(container));
    let mut progress = container.progress.subscribe();
    let exits = progress.borrow().exits;
    let mut closing = shared.closing.subscribe();
    // It ends by itself: with the run, with the container, or with the daemon.
    tokio::spawn(async move {
        tokio::select! {
            () = probe_for_ever(&shared, &container, &check, started) => {}
            _ = progress.wait_for(|progress| progress.exits != exits || progress.removed) => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
    });
}

async fn probe_for_ever(shared: &Arc<Shared>, container: &Arc<Container>, check: &Check, started: Timestamp) {
    loop {
        let health = container.record().health.clone().unwrap_or_default();
        tokio::time::sleep(check.wait(&health, started, now())).await;
        // What is paused cannot answer, and is not unhealthy for that.
        if matches!(container.record().state, State::Running { .. }) {
            let result = probe(shared, container, check).await;
            take(shared, container, check, started, result).await;
        }
    }
}

async fn take(
    shared: &Arc<Shared>,
    container: &Arc<Container>,
    check: &Check,
    started: Timestamp,
    result: ProbeResult,
) {
    let _gate = container.gate.lock().await;
    let before = container.record();
    // A probe that the container's end took along says nothing.
    if !before.state.has_process() || before.state.started() != Some(started) {
        return;
    }
    let old = before.health.clone().unwrap_or_default();
    let health = old.after(check, started, result);
    let status = health.status;
    let record = container.change(|record| record.health = Some(Arc::new(health)));
    if let Err(error) = container.store(&shared.database, Durability::Lazy).await {
        tracing::warn!(container = container.id, error = %errors::chain(&error), "cannot store a container's health");
    }
    if status != old.status {
        shared.publish(&record, format!("health_status: {}", status.as_str()), &[]);
    }
}

async fn probe(shared: &Arc<Shared>, container: &Arc<Container>, check: &Check) -> ProbeResult {
    let start = now();
    let failed = |output: String| ProbeResult { start, end: now(), code: -1, output };
    if check.command.is_empty() {
        return failed(format!("healthcheck for container {} has no command", container.id));
    }
    let config = ExecConfig {
        cmd: check.command.clone(),
        attach_stdout: true,
        attach_stderr: true,
        working_dir: container.record().config.working_dir.clone(),
        ..ExecConfig::default()
    };
    let begun = tokio::time::timeout(START_LIMIT, exec::begin(shared, container, config)).await;
    let running = match begun {
        Ok(Ok(running)) => running,
        Ok(Err(error)) => return failed(errors::chain(&error)),
        Err(_) => return failed(format!("timed out starting health check for container {}", container.id)),
    };
    let mut output = Output::default();
    let ended = async {
        if let Some(stream) = running.stream {
            output.read(stream).await;
        }
        running.exec.wait().await
    };
    let code = tokio::time::timeout(check.timeout, ended).await;
    let result = match code {
        Ok(code) => ProbeResult { start, end: now(), code, output: output.text() },
        Err(_) => {
            // Its processes must not pile up behind one that hangs.
            if let Err(error) = shared.containerd.kill(&container.id, running.exec.id(), 9).await {
                tracing::warn!(container = container.id, error = %errors::chain(&error), "cannot kill a probe");
            }
            let _ = tokio::time::timeout(KILL_LIMIT, running.exec.wait()).await;
            check.too_long(start, now(), &output.text())
        }
    };
    exec::forget(shared, running.exec.id());
    result
}

/// The beginning of what a probe prints on both streams.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    surplus: bool,
}

impl Output {
    /// Frames of the pump to their end.
    async fn read(&mut self, mut stream: UnixStream) {
        let mut header = [0; HEADER];
        let mut piece = vec![0; LONGEST_OUTPUT];
        while stream.read_exact(&mut header).await.is_ok() {
            let mut left = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
            while left > 0 {
                let most = left.min(piece.len());
                match stream.read(&mut piece[..most]).await {
                    Ok(0) | Err(_) => return,
                    Ok(length) => {
                        self.keep(&piece[..length]);
                        left -= length;
                    }
                }
            }
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = LONGEST_OUTPUT.saturating_sub(self.bytes.len()).min(piece.len());
        self.bytes.extend_from_slice(&piece[..room]);
        self.surplus |= room < piece.len();
    }

    fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        if self.surplus {
            text.push_str("...");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_beyond_its_limit_is_cut_and_marked() {
        let mut output = Output::default();
        output.keep(&[b'a'; 4000]);
        assert_eq!(output.text().len(), 4000);
        output.keep(&[b'b'; 4000]);
        let text = output.text();
        assert_eq!((text.len(), text.ends_with("b...")), (LONGEST_OUTPUT + 3, true));
    }
}
