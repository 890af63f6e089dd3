//! One solve under way, and what it tells: kept from its beginning, so that whoever looks late sees everything.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use buildkit_api::Timestamp;
use buildkit_api::control::{StatusResponse, Vertex, VertexLog, VertexStatus};
use ids::Digest;
use image_core::Descriptor;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Bytes that one step may print, as in BuildKit.
const MAX_LOG: usize = 2 << 20;
const CLIPPED: &[u8] = b"\n[output clipped, log limit 2MiB reached]\n";
/// Why a step ended that did not come to its end.
const CANCELLED: &str = "context canceled";
/// Statuses that are kept of one solve.
const MAX_STATUSES: usize = 200_000;

/// A solve. Its steps are told by the digest of a name of their own.
#[derive(Debug)]
pub(crate) struct Job {
    pub reference: String,
    /// Ends it.
    pub token: CancellationToken,
    told: Mutex<Told>,
    changed: Notify,
    internal: AtomicUsize,
    /// The manifest of a cache that went to a folder of the client's.
    cache: Mutex<Option<Descriptor>>,
}

#[derive(Debug, Default)]
struct Told {
    statuses: Vec<Arc<StatusResponse>>,
    vertices: HashMap<String, Vertex>,
    log_bytes: HashMap<String, usize>,
    is_over: bool,
}

/// How many steps there were, and of which kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub total: usize,
    pub completed: usize,
    pub cached: usize,
}

impl Job {
    pub fn new(reference: String) -> Arc<Self> {
        let token = CancellationToken::new();
        Arc::new(Self {
            reference,
            token,
            told: Mutex::default(),
            changed: Notify::new(),
            internal: AtomicUsize::new(0),
            cache: Mutex::default(),
        })
    }

    pub fn note_cache(&self, manifest: &Descriptor) {
        *self.cache.lock().unwrap_or_else(PoisonError::into_inner) = Some(manifest.clone());
    }

    /// What the client has to note in its folder.
    pub fn cache(&self) -> Option<Descriptor> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, mut told: MutexGuard<'_, Told>, status: StatusResponse) {
        let has_place = told.statuses.len() < MAX_STATUSES || !status.vertexes.is_empty();
        if has_place {
            told.statuses.push(Arc::new(status));
        }
        drop(told);
        self.changed.notify_waiters();
    }

    /// What a step is called on the wire.
    pub fn digest(&self, name: &str) -> String {
        Digest::of(format!("{}/{name}", self.reference)).to_string()
    }

    pub fn begin(&self, digest: String, name: String, inputs: Vec<String>) {
        let vertex = Vertex { digest: digest.clone(), name, inputs, started: Some(now()), ..Vertex::default() };
        let mut told = self.told();
        told.vertices.insert(digest, vertex.clone());
        self.tell(told, StatusResponse { vertexes: vec![vertex], ..StatusResponse::default() });
    }

    /// What several stages wait for has one end, the first.
    pub fn end(&self, digest: &str, cached: bool, error: Option<String>) {
        let mut told = self.told();
        let Some(vertex) = told.vertices.get_mut(digest).filter(|vertex| vertex.completed.is_none()) else { return };
        (vertex.completed, vertex.cached, vertex.error) = (Some(now()), cached, error.unwrap_or_default());
        let vertex = vertex.clone();
        self.tell(told, StatusResponse { vertexes: vec![vertex], ..StatusResponse::default() });
    }

    /// A piece of a step's output, as long as it has not printed too much.
    pub fn log(&self, digest: &str, stream: i64, bytes: &[u8]) {
        let mut told = self.told();
        let before = told.log_bytes.entry(digest.to_owned()).or_default();
        if *before > MAX_LOG {
            return;
        }
        *before += bytes.len();
        let mut msg = bytes.to_vec();
        if *before > MAX_LOG {
            msg.truncate(bytes.len() - (*before - MAX_LOG));
            msg.extend_from_slice(CLIPPED);
        }
        let log = VertexLog { vertex: digest.to_owned(), timestamp: Some(now()), stream, msg };
        self.tell(told, StatusResponse { logs: vec![log], ..StatusResponse::default() });
    }

    pub fn status(&self, status: VertexStatus) {
        let status = VertexStatus { timestamp: Some(now()), ..status };
        self.tell(self.told(), StatusResponse { statuses: vec![status], ..StatusResponse::default() });
    }

    /// A step of the solve's own; dropped before its end it has failed.
    pub fn internal(self: &Arc<Self>, name: impl Into<String>) -> Internal {
        let number = self.internal.fetch_add(1, Ordering::Relaxed);
        let digest = self.digest(&format!("internal {number}"));
        self.begin(digest.clone(), name.into(), Vec::new());
        Internal { job: Arc::clone(self), digest, is_over: false }
    }

    /// Nothing more is told. What has not ended has been cancelled.
    pub fn finish(&self) {
        let mut told = self.told();
        let cancelled = |vertex: &mut Vertex| {
            (vertex.completed, vertex.error) = (Some(now()), CANCELLED.to_owned());
            vertex.clone()
        };
        let left = told.vertices.values_mut().filter(|vertex| vertex.completed.is_none());
        let vertexes: Vec<Vertex> = left.map(cancelled).collect();
        if !vertexes.is_empty() {
            told.statuses.push(Arc::new(StatusResponse { vertexes, ..StatusResponse::default() }));
        }
        told.is_over = true;
        drop(told);
        self.changed.notify_waiters();
    }

    pub fn is_over(&self) -> bool {
        self.told().is_over
    }

    pub fn counts(&self) -> Counts {
        let told = self.told();
        let count = |wanted: &dyn Fn(&Vertex) -> bool| told.vertices.values().filter(|vertex| wanted(vertex)).count();
        Counts {
            total: told.vertices.len(),
            completed: count(&|vertex| vertex.completed.is_some()),
            cached: count(&|vertex| vertex.cached),
        }
    }
}

/// A step of the solve's own.
pub(crate) struct Internal {
    job: Arc<Job>,
    digest: String,
    is_over: bool,
}

impl Internal {
    /// Something in it begins.
    pub fn begin(&self, id: &str) -> Part<'_> {
        let part = Part { step: self, id: id.to_owned(), started: now(), is_over: false };
        part.tell(0, None);
        part
    }

    pub fn end<T>(mut self, done: &Result<T, crate::SolveError>) {
        self.is_over = true;
        self.job.end(&self.digest, false, done.as_ref().err().map(ToString::to_string));
    }
}

impl Drop for Internal {
    fn drop(&mut self) {
        if !self.is_over {
            self.job.end(&self.digest, false, Some(CANCELLED.to_owned()));
        }
    }
}

/// A line below a step: `transferring context: 1.2kB`.
pub(crate) struct Part<'a> {
    step: &'a Internal,
    id: String,
    started: Timestamp,
    is_over: bool,
}

impl Part<'_> {
    pub fn at(&self, current: u64) {
        self.tell(current, None);
    }

    pub fn end(mut self, current: u64) {
        self.is_over = true;
        self.tell(current, Some(now()));
    }

    fn tell(&self, current: u64, completed: Option<Timestamp>) {
        self.step.job.status(VertexStatus {
            id: self.id.clone(),
            vertex: self.step.digest.clone(),
            current: i64::try_from(current).unwrap_or(i64::MAX),
            started: Some(self.started),
            completed,
            ..VertexStatus::default()
        });
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.tell(0, Some(now()));
        }
    }
}

/// What a solve tells, from its beginning to its end.
pub struct Statuses {
    job: Arc<Job>,
    next: usize,
}

impl Statuses {
    pub(crate) fn new(job: Arc<Job>) -> Self {
        Self { job, next: 0 }
    }

    /// `None`: it is over.
    pub async fn next(&mut self) -> Option<Arc<StatusResponse>> {
        loop {
            let job = Arc::clone(&self.job);
            let mut changed = std::pin::pin!(job.changed.notified());
            changed.as_mut().enable();
            {
                let told = self.job.told();
                if let Some(status) = told.statuses.get(self.next) {
                    self.next += 1;
                    return Some(Arc::clone(status));
                }
                if told.is_over {
                    return None;
                }
            }
            changed.await;
        }
    }
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_looks_late_sees_everything() {
        let job = Job::new("r".to_owned());
        let step = job.internal("[internal] load build context");
        step.begin("transferring context:").end(12);
        step.end(&Ok(()));
        let mut early = Statuses::new(Arc::clone(&job));
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            while let Some(status) = early.next().await {
                all.push(status);
            }
            all
        });
        job.finish();
        let all = reading.await.unwrap();
        assert_eq!(all.len(), 4);
        assert_eq!(all[0].vertexes[0].name, "[internal] load build context");
        assert_eq!((all[2].statuses[0].current, all[2].statuses[0].completed.is_some()), (12, true));
        assert!(all[3].vertexes[0].completed.is_some() && all[3].vertexes[0].error.is_empty());
        assert_eq!(job.counts(), Counts { total: 1, completed: 1, cached: 0 });
    }

    #[test]
    fn what_has_not_ended_with_its_job_is_cancelled() {
        let job = Job::new("r".to_owned());
        for name in ["a", "b"] {
            job.begin(name.to_owned(), name.to_owned(), Vec::new());
        }
        job.end("a", true, None);
        job.end("a", false, Some("told once".to_owned()));
        job.finish();
        let told = job.told();
        let last = &told.statuses.last().unwrap().vertexes;
        assert_eq!((last.len(), last[0].name.as_str(), last[0].error.as_str()), (1, "b", CANCELLED));
        assert!(told.vertices["a"].cached && told.vertices["a"].error.is_empty());
    }

    #[test]
    fn a_step_that_prints_without_end_is_clipped() {
        let job = Job::new("r".to_owned());
        for _ in 0..40 {
            job.log("d", 1, &vec![b'x'; 100_000]);
        }
        let told = job.told();
        let bytes: usize = told.statuses.iter().map(|status| status.logs[0].msg.len()).sum();
        assert_eq!(bytes, MAX_LOG + CLIPPED.len());
        assert!(told.statuses.last().unwrap().logs[0].msg.ends_with(CLIPPED));
    }
}
