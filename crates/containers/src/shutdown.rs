//! The daemon goes down and takes its containers along (`live-restore` is off): each gets its own signal and time.
//!
//! That is nobody's wish about a container: what a restart policy wants running, the next daemon starts again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::record::Container;
use crate::service::{Service, Shared};
use crate::stop;

/// What a container may take that names no time of its own: Docker's number.
const STOP_TIMEOUT_S: i64 = 10;
/// What the daemon's limit leaves a container beyond its own time.
const MARGIN_S: i64 = 5;

impl Service {
    /// Stops everything that runs. `limit` is stretched to the longest time that a container asks for; whatever is left
    /// then is killed. `None`: for as long as it takes.
    pub async fn stop_all(&self, limit: Option<Duration>) {
        let shared = self.shared();
        shared.stopping.store(true, Ordering::SeqCst);
        let running: Vec<Arc<Container>> =
            shared.index().all().into_iter().filter(|container| container.record().state.has_process()).collect();
        let limit = limit.map(|limit| limit.max(longest(&running)));
        let mut stops = JoinSet::new();
        for container in running {
            stops.spawn(end(Arc::clone(shared), container, None));
        }
        let all = async { while stops.join_next().await.is_some() {} };
        let late = match limit {
            Some(limit) => tokio::time::timeout(limit, all).await.is_err(),
            None => {
                all.await;
                false
            }
        };
        if late {
            tracing::error!("containers did not stop in time, killing them");
            stops.abort_all();
            for container in shared.index().all().into_iter().filter(|one| one.record().state.has_process()) {
                end(Arc::clone(shared), container, Some(0)).await;
            }
        }
    }
}

fn longest(containers: &[Arc<Container>]) -> Duration {
    let seconds = containers.iter().filter_map(|container| {
        let own = container.record().config.stop_timeout_s.unwrap_or(STOP_TIMEOUT_S);
        u64::try_from(own.saturating_add(MARGIN_S)).ok()
    });
    Duration::from_secs(seconds.max().unwrap_or_default())
}

async fn end(shared: Arc<Shared>, container: Arc<Container>, timeout_s: Option<i64>) {
    if let Err(error) = stop::stop_with_daemon(&shared, &container, timeout_s).await {
        tracing::warn!(container = container.id, error = errors::chain(&error), "cannot stop a container");
    }
    // An end is told before it is cleaned up behind; who does that has the gate, and the shim goes with it.
    drop(container.gate.lock().await);
}
