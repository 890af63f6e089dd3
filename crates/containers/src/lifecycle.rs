//! Containers as processes: start, stop, kill, restart, pause, resize, wait.

use std::sync::Arc;

use tokio::sync::watch;

use crate::error::Error;
use crate::messages;
use crate::record::{Container, Progress};
use crate::request::{StopOptions, TtySize, WaitCondition, WaitResult};
use crate::service::{Shared, detached};
use crate::start::{self, Cause};
use crate::stop;

/// Transitions of containers. Each runs to its end even when its caller goes away.
#[derive(Clone)]
pub struct Lifecycle {
    shared: Arc<Shared>,
}

/// A wait that is registered: whatever happens from now on is seen by [`Waiting::done`].
pub struct Waiting {
    progress: watch::Receiver<Progress>,
    condition: WaitCondition,
    exits: u64,
    /// Kept so that the channel lives as long as someone waits.
    _container: Arc<Container>,
}

impl Lifecycle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// [`errors::ErrorKind::NotModified`] when it runs already.
    pub async fn start(&self, reference: &str) -> Result<(), Error> {
        let (shared, container) = (Arc::clone(&self.shared), self.shared.find(reference)?);
        detached(async move { start::start(&shared, &container, Cause::User).await }).await
    }

    /// [`errors::ErrorKind::NotModified`] when it does not run.
    pub async fn stop(&self, reference: &str, options: StopOptions) -> Result<(), Error> {
        let (shared, container) = (Arc::clone(&self.shared), self.shared.find(reference)?);
        detached(async move { stop::stop(&shared, &container, &options).await }).await
    }

    /// `None` or empty: SIGKILL, and then the end is waited for.
    pub async fn kill(&self, reference: &str, signal: Option<&str>) -> Result<(), Error> {
        let refused = |error: Error| messages::cannot_kill(reference, &error);
        let (shared, container) = (Arc::clone(&self.shared), self.shared.find(reference).map_err(refused)?);
        let signal = signal.map(str::to_owned);
        detached(async move { stop::kill(&shared, &container, signal.as_deref()).await }).await.map_err(refused)
    }

    pub async fn restart(&self, reference: &str, options: StopOptions) -> Result<(), Error> {
        let (shared, container) = (Arc::clone(&self.shared), self.shared.find(reference)?);
        let restarted = detached(async move { stop::restart(&shared, &container, &options).await }).await;
        restarted.map_err(|error| messages::cannot_restart(reference, &error))
    }

    pub async fn pause(&self, reference: &str) -> Result<(), Error> {
        let (shared, container) = (Arc::clone(&self.shared), self.shared.find(reference)?);
        detached(async move { stop::pause(&shared, &container).await }).await
    }

    pub async fn unpause(&self, reference: &str) -> Result<(), Error> {
        let (shared, container) = (Arc::clone(&self.shared), self.shared.find(reference)?);
        detached(async move { stop::unpause(&shared, &container).await }).await
    }

    pub async fn resize(&self, reference: &str, size: TtySize) -> Result<(), Error> {
        let container = self.shared.find(reference)?;
        let record = container.record();
        if !record.state.has_process() {
            return Err(messages::not_running(&record.id));
        }
        self.shared.containerd.resize(&record.id, "", size.width, size.height).await?;
        let attributes = [("height", size.height.to_string()), ("width", size.width.to_string())];
        self.shared.publish(&record, "resize", &attributes);
        Ok(())
    }

    /// Registers at once, so that a start after this call is not missed.
    pub fn wait(&self, reference: &str, condition: WaitCondition) -> Result<Waiting, Error> {
        let container = self.shared.find(reference)?;
        let progress = container.progress.subscribe();
        let exits = progress.borrow().exits;
        Ok(Waiting { progress, condition, exits, _container: container })
    }
}

impl Waiting {
    pub async fn done(mut self) -> WaitResult {
        let (condition, exits) = (self.condition, self.exits);
        let met = self.progress.wait_for(|progress| {
            progress.removed
                || match condition {
                    WaitCondition::NotRunning => !progress.running || progress.exits > exits,
                    WaitCondition::NextExit => progress.exits > exits,
                    WaitCondition::Removed => false,
                }
        });
        match met.await {
            Ok(progress) => WaitResult { code: progress.code, error: progress.error.clone() },
            Err(_) => WaitResult { code: -1, error: Some("the container is not there any more".to_owned()) },
        }
    }
}
