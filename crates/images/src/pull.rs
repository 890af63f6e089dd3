//! Pull: from a name to a manifest and its configuration, then the layers ([`crate::layers`]), the name last.

use std::collections::HashMap;

use bytes::Bytes;
use errors::Kind;
use ids::{Digest, Reference};
use image_core::{Descriptor, Document, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, Platform, choose, media_type};
use registry_client::{Credentials, RegistryError, Repository};

use crate::backend::{Backend, Collect, Record};
use crate::blobs::{fetch_small, ingest_key};
use crate::error::ImagesError;
use crate::events::ImageEventKind;
use crate::lease::{Lease, pull_word};
use crate::loaded::{LoadedImage, MAX_DEPTH};
use crate::messages;
use crate::name::dangling;
use crate::progress::ProgressSender;
use crate::remote::wanted;
use crate::service::{Images, lock};
use crate::unpack::{config_labels, index_labels, manifest_labels};

/// What to pull.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// Without tag and digest it is `latest`.
    pub reference: Reference,
    /// The host's if none.
    pub platform: Option<Platform>,
    pub credentials: Credentials,
}

/// A document of the way from a name to an image, to be stored when the image is whole.
struct Step {
    descriptor: Descriptor,
    bytes: Bytes,
    labels: HashMap<String, String>,
}

/// What became of the names of a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    UpToDate,
    Newer,
}

/// One pull on its way.
pub(crate) struct Pulling<'a> {
    pub images: &'a Images,
    request: &'a PullRequest,
    pub reference: Reference,
    pub repository: Repository,
    pub lease: Lease,
    pub backend: Backend,
    pub progress: &'a ProgressSender,
}

impl Images {
    /// Pulls an image; answers its id. After an error no name has changed, and what was fetched is collected unless a
    /// later attempt continues it.
    pub async fn pull(&self, request: &PullRequest, progress: &ProgressSender) -> Result<Digest, ImagesError> {
        let familiar = request.reference.clone().with_default_tag().familiar();
        let (id, outcome) = self.pull_one(request, progress).await?;
        progress.message("", outcome.told(&familiar)).await;
        Ok(id)
    }

    /// Pulls every tag of a repository, as `docker pull --all-tags` has it; the status is told once, of all.
    pub async fn pull_all_tags(&self, request: &PullRequest, progress: &ProgressSender) -> Result<(), ImagesError> {
        let repository = self.shared.registries.repository(&request.reference, request.credentials.clone());
        let name = request.reference.familiar_name();
        let mut outcome = Outcome::UpToDate;
        for tag in repository.tags().await.map_err(|error| refused(&name, &name, error))? {
            let request = PullRequest { reference: request.reference.with_tag(&tag)?, ..request.clone() };
            outcome = outcome.max(self.pull_one(&request, progress).await?.1);
        }
        progress.message("", outcome.told(&name)).await;
        Ok(())
    }

    async fn pull_one(
        &self,
        request: &PullRequest,
        progress: &ProgressSender,
    ) -> Result<(Digest, Outcome), ImagesError> {
        let reference = request.reference.clone().with_default_tag();
        let mut sources = self.shared.registries.sources(&reference, request.credentials.clone());
        let last = sources.pop();
        for mirror in sources {
            match self.pull_from(&mirror, &reference, request, progress).await {
                // Whatever a mirror lacks, the registry may have: what came over already is there.
                Err(ImagesError::Registry(error)) => {
                    tracing::info!(mirror = mirror.authority(), %error, "not pulled from a mirror, trying the next");
                }
                answer => return answer,
            }
        }
        let origin = last.unwrap_or_else(|| self.shared.registries.repository(&reference, request.credentials.clone()));
        let pulled = self.pull_from(&origin, &reference, request, progress).await;
        pulled.map_err(|error| match error {
            ImagesError::Registry(error) => refused(&reference.familiar(), &reference.familiar_name(), error),
            other => other,
        })
    }

    async fn pull_from(
        &self,
        repository: &Repository,
        reference: &Reference,
        request: &PullRequest,
        progress: &ProgressSender,
    ) -> Result<(Digest, Outcome), ImagesError> {
        let word = pull_word(&reference.to_string());
        let lease = Lease::new(&self.backend, &format!("pull-{word}")).await?;
        let backend = lease.backend();
        let (repository, reference) = (repository.clone(), reference.clone());
        let pulling = Pulling { images: self, request, reference, repository, lease, backend, progress };
        let pulled = pulling.run().await;
        match &pulled {
            Ok(_) => self.end_left(&word).await,
            // What has come over already need not come again.
            Err(ImagesError::Registry(RegistryError::Transport { .. })) => {
                self.note_left(&word, pulling.lease);
            }
            Err(_) => {}
        }
        pulled
    }
}

impl Outcome {
    fn told(self, name: &str) -> String {
        match self {
            Self::UpToDate => messages::up_to_date(name),
            Self::Newer => messages::newer(name),
        }
    }
}

impl Pulling<'_> {
    async fn run(&self) -> Result<(Digest, Outcome), ImagesError> {
        let wanted = wanted(&self.reference);
        let target = self.repository.resolve(&wanted).await?;
        let shown = self.reference.tag().map_or_else(|| self.reference.to_string(), str::to_owned);
        self.progress.message(&shown, messages::pulling_from(self.reference.path())).await;
        let (steps, image) = self.follow(target.clone()).await?;
        let target = steps.first().map_or(target, |step| step.descriptor.clone());
        self.check_platform(&image)?;
        self.fetch_layers(&image).await?;
        self.store(steps, &image).await?;
        let outcome = self.name(&target).await?;
        lock(&self.images.shared.loaded).remove(&target.digest);
        let familiar = self.reference.familiar();
        self.progress.message("", messages::digest(&target.digest)).await;
        let name = self.reference.familiar_name();
        self.images.event(ImageEventKind::Pull, &familiar, &name, &image.config);
        Ok((image.id, outcome))
    }

    /// From the name's target through indexes to one manifest and its configuration.
    async fn follow(&self, target: Descriptor) -> Result<(Vec<Step>, LoadedImage), ImagesError> {
        let platform = self.request.platform.clone().unwrap_or_else(|| self.images.platform.clone());
        let mut steps = Vec::new();
        let mut next = target;
        for _ in 0..=MAX_DEPTH {
            let (descriptor, bytes) = self.document(&next).await?;
            match Document::parse(&bytes, &descriptor.media_type, &self.reference.to_string())? {
                Document::Index(index) => {
                    let labels = index_labels(&index.manifests);
                    let mut chosen = choose(&index, &platform)?.clone();
                    chosen.media_type = known_type(&chosen.media_type);
                    let descriptor = Descriptor { media_type: index.media_type, ..descriptor };
                    steps.push(Step { descriptor, bytes, labels });
                    next = chosen;
                }
                Document::Manifest(manifest) => {
                    check_class(&manifest.config.media_type)?;
                    let labels = manifest_labels(&manifest.config.digest, &manifest.layers);
                    let descriptor = Descriptor { media_type: manifest.media_type.clone(), ..descriptor };
                    let raw = self.config(&manifest.config).await?;
                    let image = LoadedImage::parse(descriptor.digest, manifest, raw)?;
                    steps.push(Step { descriptor, bytes, labels });
                    return Ok((steps, image));
                }
            }
        }
        Err(image_core::ImageError::Manifest("too many indexes within indexes").into())
    }

    /// From the store, else from the registry, verified either way. The size of what a registry announced is its word.
    async fn document(&self, descriptor: &Descriptor) -> Result<(Descriptor, Bytes), ImagesError> {
        match self.backend.read_blob(&descriptor.digest, MAX_MANIFEST_BYTES).await {
            Ok(bytes) => {
                self.lease.keep(&descriptor.digest).await?;
                return Ok((Descriptor { size: bytes.len() as u64, ..descriptor.clone() }, bytes));
            }
            Err(ImagesError::MissingBlob(_)) => {}
            Err(error) => return Err(error),
        }
        let fetched = self.repository.manifest(&descriptor.digest.to_string()).await?;
        let media_type =
            if descriptor.media_type.is_empty() { fetched.media_type } else { descriptor.media_type.clone() };
        let size = fetched.bytes.len() as u64;
        Ok((Descriptor { media_type, size, ..descriptor.clone() }, fetched.bytes))
    }

    async fn config(&self, descriptor: &Descriptor) -> Result<Bytes, ImagesError> {
        match self.backend.read_blob(&descriptor.digest, MAX_CONFIG_BYTES).await {
            Ok(bytes) => {
                self.lease.keep(&descriptor.digest).await?;
                Ok(bytes)
            }
            Err(ImagesError::MissingBlob(_)) => {
                fetch_small(&self.repository, descriptor, MAX_CONFIG_BYTES).await.map_err(|error| match error {
                    ImagesError::Registry(RegistryError::Digest(digest)) => {
                        image_core::ImageError::ConfigDigest(digest).into()
                    }
                    other => other,
                })
            }
            Err(error) => Err(error),
        }
    }

    fn check_platform(&self, image: &LoadedImage) -> Result<(), ImagesError> {
        let found = image.config.platform();
        if found.os != self.images.platform.os {
            return Err(ImagesError::OperatingSystem(found.os));
        }
        match &self.request.platform {
            Some(wanted) if wanted.rank(&found).is_none() => Err(ImagesError::Platform {
                reference: self.reference.familiar(),
                found: found.to_string(),
                wanted: wanted.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// Configuration and manifests, from the inside out, with the labels that hold them together.
    async fn store(&self, steps: Vec<Step>, image: &LoadedImage) -> Result<(), ImagesError> {
        let labels = config_labels(self.backend.snapshotter(), &image.chain_id());
        self.put("config", &image.config_raw, labels).await?;
        for step in steps.into_iter().rev() {
            let kind = if media_type::is_index(&step.descriptor.media_type) { "index" } else { "manifest" };
            self.put(kind, &step.bytes, step.labels).await?;
        }
        for layer in &image.manifest.layers {
            self.backend.add_source(&layer.digest, &self.reference).await?;
        }
        Ok(())
    }

    async fn put(&self, kind: &str, bytes: &Bytes, labels: HashMap<String, String>) -> Result<(), ImagesError> {
        let digest = self.backend.put_blob(&ingest_key(kind, &Digest::of(bytes)), bytes, labels).await?;
        self.backend.add_source(&digest, &self.reference).await
    }

    /// Lets the name stand for the target; newer if it stood for something else before, or for nothing.
    async fn name(&self, target: &Descriptor) -> Result<Outcome, ImagesError> {
        let name = self.reference.to_string();
        let old = self.backend.record(&name).await?;
        let newer = old.as_ref().is_none_or(|old| old.target.digest != target.digest);
        self.backend.put_record(&Record::new(name, target.clone())).await?;
        if newer && let Some(old) = old {
            self.images.keep_nameless(&old).await?;
        }
        self.backend.delete_record(&dangling(&target.digest), Collect::Later).await?;
        Ok(if newer { Outcome::Newer } else { Outcome::UpToDate })
    }
}

impl Images {
    /// Keeps what a record stood for, under a name of its own, unless another name has it.
    pub(crate) async fn keep_nameless(&self, old: &Record) -> Result<(), ImagesError> {
        let records = self.backend.records().await?;
        if records.iter().any(|record| record.target.digest == old.target.digest) {
            return Ok(());
        }
        self.backend.put_record(&old.renamed(dangling(&old.target.digest))).await
    }
}

pub(crate) fn refused(reference: &str, name: &str, error: RegistryError) -> ImagesError {
    match messages::pull_refused(reference, name, &error) {
        // Docker answers 404 to an image that is not there and to one that may not be seen.
        Some(message) => ImagesError::Refused { message, kind: errors::ErrorKind::NotFound },
        None => match &error {
            RegistryError::Api { .. } | RegistryError::Body { .. } => {
                ImagesError::Refused { message: error.to_string(), kind: error.kind() }
            }
            _ => ImagesError::Registry(error),
        },
    }
}

/// Whether a configuration of this type may be an image's; some registries say nothing of use (docker/distribution#1621).
fn check_class(media_type: &str) -> Result<(), ImagesError> {
    const PLUGIN: &str = "application/vnd.docker.plugin.v1+json";
    let unsaid = matches!(media_type, "" | "application/octet-stream" | "application/json" | "text/html");
    if unsaid || media_type::is_config(media_type) {
        return Ok(());
    }
    let class = if media_type == PLUGIN { "plugin" } else { "unknown" };
    Err(ImagesError::NoImage { media_type: media_type.to_owned(), class })
}

/// An index's entry without a type is a manifest.
fn known_type(media_type: &str) -> String {
    if media_type.is_empty() { media_type::OCI_MANIFEST.to_owned() } else { media_type.to_owned() }
}
