//! A solve from its beginning to its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use builder::CacheTarget;
use buildkit_api::Timestamp;
use bytes::Bytes;
use errors::ErrorKind;
use tokio::sync::mpsc;

use crate::attest::Facts;
use crate::attributes::{self, Wanted};
use crate::built::{Built, Part};
use crate::error::SolveError;
use crate::export::Export;
use crate::history::Record;
use crate::job::{Job, now};
use crate::local;
use crate::messages;
use crate::service::BuildKit;
use crate::steps;

const FRONTEND: &str = "dockerfile.v0";
/// The last part of these names any front end; ours is known by its image's name.
const GATEWAY: &str = "gateway.v0";

/// The manifest of a cache in a folder of the client's.
const CACHE: &str = "cache.manifest";

/// What is to be solved.
#[derive(Debug, Default)]
pub struct Solve {
    /// Names it; nobody else's.
    pub reference: String,
    /// Empty: there is none.
    pub session: String,
    /// Empty: the client leads the build itself.
    pub frontend: String,
    pub attributes: BTreeMap<String, String>,
    pub exporters: Vec<Exporter>,
    /// A graph came instead of a front end.
    pub has_definition: bool,
    /// Where the steps are to go.
    pub cache_exports: Vec<CacheTarget>,
    /// The context, where it came by another way.
    pub upload: Option<mpsc::Receiver<std::io::Result<Bytes>>>,
}

/// Where the result is to go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exporter {
    pub kind: String,
    pub attributes: BTreeMap<String, String>,
    /// The client's name for it; empty where there is but one.
    pub id: String,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Solved {
    /// By BuildKit's names: `containerimage.digest`.
    pub response: BTreeMap<String, String>,
}

/// What one build needs.
pub(crate) struct Work<'a> {
    pub session: &'a str,
    pub attributes: &'a BTreeMap<String, String>,
    pub upload: Option<mpsc::Receiver<std::io::Result<Bytes>>>,
    pub cache_to: Vec<CacheTarget>,
}

impl BuildKit {
    /// Builds, and sends the result where it is wanted. Dropped, it ends the build.
    pub async fn solve(&self, mut solve: Solve) -> Result<Solved, SolveError> {
        let exports = check(&solve)?;
        let job = self.open_job(&solve.reference)?;
        let mut running = Running { service: self.clone(), job: Arc::clone(&job), created: now(), record: None };
        let upload = solve.upload.take();
        let solved = tokio::select! {
            solved = self.perform(&job, &solve, &exports, upload) => solved,
            () = job.token.cancelled() => Err(messages::cancelled()),
        };
        running.record = Some((solve, solved.clone()));
        solved.map(|response| Solved { response })
    }

    async fn perform(
        &self,
        job: &Arc<Job>,
        solve: &Solve,
        exports: &[Export],
        upload: Option<mpsc::Receiver<std::io::Result<Bytes>>>,
    ) -> Result<BTreeMap<String, String>, SolveError> {
        let built = match solve.frontend.as_str() {
            "" => self.led(job, solve).await?,
            _ => {
                let cache_to = solve.cache_exports.clone();
                let work = Work { session: &solve.session, attributes: &solve.attributes, upload, cache_to };
                Some(make(self, job, work).await?)
            }
        };
        let mut response = BTreeMap::new();
        let Some(built) = built else { return Ok(response) };
        let session = match solve.session.as_str() {
            "" => None,
            session => Some(self.sessions().get(session).await?),
        };
        for export in exports {
            response.extend(export.perform(job, self.builder(), session.as_ref(), &built).await?);
        }
        if let Some(manifest) = job.cache() {
            response.insert(CACHE.to_owned(), serde_json::to_string(&manifest).unwrap_or_default());
        }
        Ok(response)
    }
}

fn check(solve: &Solve) -> Result<Vec<Export>, SolveError> {
    if solve.has_definition {
        return Err(messages::no_definitions());
    }
    if !solve.frontend.is_empty() {
        check_frontend(&solve.frontend)?;
        attributes::read(&solve.attributes)?;
    }
    solve.exporters.iter().filter_map(|exporter| Export::of(exporter).transpose()).collect()
}

pub(crate) fn check_frontend(name: &str) -> Result<(), SolveError> {
    match name {
        FRONTEND | GATEWAY => Ok(()),
        _ => Err(messages::unknown_frontend(name)),
    }
}

/// Builds, without deciding what becomes of the result.
pub(crate) async fn make(service: &BuildKit, job: &Arc<Job>, work: Work<'_>) -> Result<Built, SolveError> {
    let started = now();
    let mut wanted = attributes::read(work.attributes)?;
    wanted.request.cache_to = work.cache_to;
    let session = match work.session {
        "" => None,
        session => Some(service.sessions().get(session).await?),
    };
    local::bring(job, service.builder(), service.contexts(), session, work.upload, &mut wanted).await?;
    let Wanted { request, places, platforms, is_index, attestations } = wanted;
    let (filename, text) = (places.filename, request.definition.clone().unwrap_or_default());
    let (output, told) = builder::steps();
    let (builder, token) = (service.builder().clone(), job.token.clone());
    // Whoever asked may go: the build then ends by its token, and clears up.
    let wanted: Vec<Option<String>> = match &platforms[..] {
        [] => vec![None],
        some => some.iter().cloned().map(Some).collect(),
    };
    let making = tokio::spawn(async move { builder.make_all(request, &wanted, &output, &token).await });
    steps::pass_on(job, told).await;
    let made =
        making.await.map_err(|_| SolveError::refused(ErrorKind::Internal, "the build did not come to its end"))?;
    service.contexts().collect().await;
    let made = made.map_err(|error| SolveError::of_build(&error, &filename, &text))?;
    let (reference, attributes) = (job.reference.as_str(), work.attributes);
    let facts = Facts { reference, attributes, filename: &filename, dockerfile: &text, started, finished: now() };
    let mut parts = Vec::new();
    for (place, made) in made.into_iter().enumerate() {
        let own = || made.image.config.platform().to_string();
        let platform = platforms.get(place).cloned().unwrap_or_else(own);
        let mut part = Part { platform, made, said: Vec::new() };
        part.said = attestations.of(job, service.builder(), &part, &facts).await?;
        parts.push(part);
    }
    Ok(Built { parts, is_index })
}

/// 25 letters and digits or so, as BuildKit names things.
pub(crate) fn random_name() -> Result<String, SolveError> {
    let mut bytes = [0_u8; 16];
    let failed = |error: getrandom::Error| SolveError::refused(ErrorKind::Internal, error.to_string());
    getrandom::fill(&mut bytes).map_err(failed)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A solve under way; dropped, nothing of it runs on.
struct Running {
    service: BuildKit,
    job: Arc<Job>,
    created: Timestamp,
    record: Option<(Solve, Result<BTreeMap<String, String>, SolveError>)>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.job.token.cancel();
        self.job.finish();
        if let Some((solve, result)) = self.record.take() {
            let mut record = Record {
                reference: solve.reference,
                frontend: solve.frontend,
                attributes: solve.attributes,
                exporters: solve.exporters,
                created: self.created,
                completed: now(),
                result,
                steps: 0,
                completed_steps: 0,
                cached_steps: 0,
            };
            record.count(self.job.counts());
            self.service.note(record);
        }
        self.service.close_job(&self.job);
    }
}
