//! The service: sessions, what of contexts is kept, and the solves under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use builder::Builder;
use buildkit_session::{ContextStore, Sessions};
use errors::ErrorKind;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout_at};

use crate::bridge::Bridge;
use crate::built::Built;
use crate::error::SolveError;
use crate::history::{History, Record};
use crate::job::{Job, Statuses};
use crate::messages;
use crate::solve::{Solve, random_name};
use crate::uploads::Uploads;

/// Solves at a time, and those that were over just now.
const MAX_JOBS: usize = 1024;
/// How long who asks for a solve waits until it has begun, and how long one that is over can be asked for.
const BEGIN_LIMIT: Duration = Duration::from_secs(6);
const STAY: Duration = Duration::from_secs(20);

/// Cheap to clone.
#[derive(Clone)]
pub struct BuildKit {
    shared: Arc<Shared>,
}

struct Shared {
    builder: Builder,
    contexts: ContextStore,
    sessions: Sessions,
    uploads: Arc<Uploads>,
    history: History,
    jobs: Mutex<HashMap<String, Open>>,
    changed: Notify,
}

struct Open {
    job: Arc<Job>,
    /// Of a build that its client leads.
    bridge: Option<Bridge>,
}

impl BuildKit {
    pub fn new(builder: Builder, contexts: ContextStore) -> Self {
        Self {
            shared: Arc::new(Shared {
                builder,
                contexts,
                sessions: Sessions::default(),
                uploads: Arc::default(),
                history: History::default(),
                jobs: Mutex::default(),
                changed: Notify::new(),
            }),
        }
    }

    pub fn sessions(&self) -> &Sessions {
        &self.shared.sessions
    }

    pub fn contexts(&self) -> &ContextStore {
        &self.shared.contexts
    }

    pub fn builder(&self) -> &Builder {
        &self.shared.builder
    }

    /// A name for a solve.
    pub fn new_reference(&self) -> Result<String, SolveError> {
        random_name()
    }

    /// Offers a context to the build of this name, which comes in a request of its own.
    pub fn offer_upload(
        &self,
        build: &str,
        pieces: mpsc::Receiver<std::io::Result<bytes::Bytes>>,
    ) -> Result<(), SolveError> {
        self.shared.uploads.offer(build, pieces)
    }

    pub async fn take_upload(&self, build: &str) -> Result<mpsc::Receiver<std::io::Result<bytes::Bytes>>, SolveError> {
        self.shared.uploads.take(build).await
    }

    /// What a solve tells; one that is about to begin is waited for.
    pub async fn statuses(&self, reference: &str) -> Result<Statuses, SolveError> {
        self.find(reference, |open| Some(Statuses::new(Arc::clone(&open.job)))).await
    }

    /// The bridge of a build that its client leads.
    pub async fn bridge(&self, reference: &str) -> Result<Bridge, SolveError> {
        self.find(reference, |open| open.bridge.clone()).await
    }

    /// Ends a solve; one that there is not is none the worse for it.
    pub fn cancel(&self, reference: &str) {
        if let Some(open) = self.jobs().get(reference) {
            open.job.token.cancel();
        }
    }

    /// Solves that are over, the newest first.
    pub fn history(&self) -> Vec<Record> {
        self.shared.history.list()
    }

    pub fn forget(&self, reference: &str) -> bool {
        self.shared.history.remove(reference)
    }

    async fn find<T>(&self, reference: &str, pick: impl Fn(&Open) -> Option<T>) -> Result<T, SolveError> {
        let until = Instant::now() + BEGIN_LIMIT;
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = self.jobs().get(reference).and_then(&pick) {
                return Ok(found);
            }
            if timeout_at(until, changed).await.is_err() {
                return Err(messages::no_job(reference));
            }
        }
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        self.shared.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open_job(&self, reference: &str) -> Result<Arc<Job>, SolveError> {
        if reference.is_empty() {
            return Err(SolveError::invalid("a build needs a reference"));
        }
        let job = Job::new(reference.to_owned());
        {
            let mut jobs = self.jobs();
            if jobs.len() >= MAX_JOBS {
                let message = format!("there are {MAX_JOBS} builds already");
                return Err(SolveError::refused(ErrorKind::ResourceExhausted, message));
            }
            if jobs.get(reference).is_some_and(|open| !open.job.is_over()) {
                let message = format!("job ID {reference} exists");
                return Err(SolveError::refused(ErrorKind::AlreadyExists, message));
            }
            jobs.insert(reference.to_owned(), Open { job: Arc::clone(&job), bridge: None });
        }
        self.shared.changed.notify_waiters();
        Ok(job)
    }

    /// Whoever asks for it a little later still sees it.
    pub(crate) fn close_job(&self, job: &Arc<Job>) {
        let (service, job) = (self.clone(), Arc::clone(job));
        if let Some(open) = self.jobs().get_mut(&job.reference) {
            open.bridge = None;
        }
        tokio::spawn(async move {
            tokio::time::sleep(STAY).await;
            let mut jobs = service.jobs();
            if jobs.get(&job.reference).is_some_and(|open| Arc::ptr_eq(&open.job, &job)) {
                jobs.remove(&job.reference);
            }
        });
    }

    /// Lets the client lead the build; answers the result that it chose.
    pub(crate) async fn led(&self, job: &Arc<Job>, solve: &Solve) -> Result<Option<Built>, SolveError> {
        let cache_to = solve.cache_exports.clone();
        let bridge = Bridge::new(self.clone(), Arc::clone(job), solve.session.clone(), cache_to);
        if let Some(open) = self.jobs().get_mut(&job.reference) {
            open.bridge = Some(bridge.clone());
        }
        self.shared.changed.notify_waiters();
        bridge.chosen().await
    }

    pub(crate) fn note(&self, record: Record) {
        self.shared.history.add(record);
    }
}
