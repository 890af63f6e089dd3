//! Progress in containerd's words, which `ctr` and others show as they are.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use containerd_api::any::pack;
use containerd_api::types;
use containerd_api::types::transfer;
use ids::Digest;
use image_core::{Descriptor, media_type};
use tokio::sync::mpsc;

use crate::streams::Stream;

/// Bytes of one blob are told at most this often.
const INTERVAL: Duration = Duration::from_millis(100);

/// Where progress is told, if anywhere.
#[derive(Default)]
pub(crate) struct Progress(Option<Stream>);

/// A blob that is moved: its name in the client's tree, and the one above it.
#[derive(Clone)]
pub(crate) struct Job {
    pub descriptor: Descriptor,
    pub parent: String,
}

impl Progress {
    pub fn to(stream: Stream) -> Self {
        Self(Some(stream))
    }

    /// A line about the whole.
    pub async fn status(&self, event: impl Into<String>) {
        self.send(transfer::Progress { event: event.into(), ..Default::default() }).await;
    }

    /// About the image of this name.
    pub async fn image(&self, event: &str, name: &str, target: &Descriptor) {
        let desc = Some(to_proto(target));
        self.send(transfer::Progress { event: event.into(), name: name.into(), desc, ..Default::default() }).await;
    }

    /// About a blob, of which so many bytes are done.
    pub async fn blob(&self, event: &str, job: &Job, done: u64) {
        self.send(message(event, job, done)).await;
    }

    /// Tells of a blob's bytes now and then.
    pub fn meter(&self, event: &'static str, job: Job) -> Meter {
        let sender = self.0.as_ref().map(|stream| stream.outgoing.clone());
        Meter { sender, event, job, last: Mutex::new(None) }
    }

    async fn send(&self, progress: transfer::Progress) {
        if let Some(stream) = &self.0 {
            // A listener that is gone is no reason to stop: who wants that ends the call.
            let _ = stream.outgoing.send(pack(&progress)).await;
        }
    }
}

pub(crate) struct Meter {
    sender: Option<mpsc::Sender<containerd_api::Any>>,
    event: &'static str,
    job: Job,
    last: Mutex<Option<Instant>>,
}

impl Meter {
    /// What a slow listener has no room for is left out.
    pub fn set(&self, done: u64) {
        let Some(sender) = &self.sender else { return };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= INTERVAL) {
            *last = Some(Instant::now());
            let _ = sender.try_send(pack(&message(self.event, &self.job, done)));
        }
    }
}

fn message(event: &str, job: &Job, done: u64) -> transfer::Progress {
    transfer::Progress {
        event: event.to_owned(),
        name: reference_key(&job.descriptor.media_type, &job.descriptor.digest),
        parents: vec![job.parent.clone()],
        progress: signed(done),
        total: signed(job.descriptor.size),
        desc: Some(to_proto(&job.descriptor)),
    }
}

/// By what a blob's write goes, and its line of progress: `layer-sha256:…`, as containerd names them.
pub(crate) fn reference_key(kind: &str, digest: &Digest) -> String {
    let word = match kind {
        kind if media_type::is_index(kind) => "index",
        kind if media_type::is_manifest(kind) => "manifest",
        kind if media_type::is_layer(kind) => "layer",
        kind if media_type::is_config(kind) => "config",
        _ => "unknown",
    };
    format!("{word}-{digest}")
}

pub(crate) fn to_proto(descriptor: &Descriptor) -> types::Descriptor {
    types::Descriptor {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.to_string(),
        size: signed(descriptor.size),
        annotations: descriptor.annotations.clone().unwrap_or_default().into_iter().collect(),
    }
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
