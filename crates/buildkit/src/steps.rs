//! The builder's steps as a job tells them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use builder::{Progress, StepId, Stream};
use buildkit_api::control::VertexStatus;
use tokio::sync::mpsc;

use crate::job::{Job, now};

/// How often a download tells how far it is.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// How the look for an image is named.
const METADATA: &str = "[internal] load metadata for";

/// Passes on what the builder tells, until it tells no more.
pub(crate) async fn pass_on(job: &Job, mut told: mpsc::Receiver<Progress>) {
    let (mut pulls, mut looks) = (HashMap::new(), HashMap::new());
    while let Some(progress) = told.recv().await {
        match progress {
            // Stages on the same image look for it once, as far as is told.
            Progress::Began { step, name, .. } if name.starts_with(METADATA) => {
                let digest = job.digest(&name);
                if !looks.values().any(|known| *known == digest) {
                    job.begin(digest.clone(), name, Vec::new());
                }
                looks.insert(step, digest);
            }
            Progress::Ended { step, cached, error } if looks.contains_key(&step) => {
                job.end(&looks[&step], cached, error);
            }
            Progress::Began { step, name, after } => {
                let after = after.filter(|after| !looks.contains_key(after));
                let inputs = after.map(|after| digest(job, after)).into_iter().collect();
                job.begin(digest(job, step), name, inputs);
            }
            Progress::Printed { step, stream, text } => {
                let stream = match stream {
                    Stream::Stdout => 1,
                    Stream::Stderr => 2,
                };
                job.log(&digest(job, step), stream, text.as_bytes());
            }
            Progress::Pulled { step, id, status, current, total } => {
                pulled(job, &mut pulls, digest(job, step), &id, &status, current, total);
            }
            Progress::Ended { step, cached, error } => job.end(&digest(job, step), cached, error),
        }
    }
}

fn digest(job: &Job, step: StepId) -> String {
    job.digest(&format!("{}.{}.{}", step.platform, step.stage, step.number))
}

/// `downloading 3f4ca61aafcd 1.2MB / 3.4MB`.
fn pulled(
    job: &Job,
    pulls: &mut HashMap<String, Instant>,
    vertex: String,
    id: &str,
    status: &str,
    current: Option<u64>,
    total: Option<u64>,
) {
    let id = format!("{} {id}", status.to_lowercase()).trim_end().to_owned();
    let is_whole = current.is_none() || current == total;
    let known = pulls.get(&id);
    if !is_whole && known.is_some_and(|last| last.elapsed() < TELL_EVERY) {
        return;
    }
    pulls.insert(id.clone(), Instant::now());
    let number = |bytes: Option<u64>| i64::try_from(bytes.unwrap_or(0)).unwrap_or(i64::MAX);
    job.status(VertexStatus {
        id,
        vertex,
        current: number(current),
        total: number(total),
        started: Some(now()),
        completed: is_whole.then(now),
        ..VertexStatus::default()
    });
}
