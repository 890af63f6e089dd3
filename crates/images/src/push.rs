//! Push: blobs first, several at a time, then the manifests that refer to them, the name last.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use errors::Kind;
use futures_util::TryStreamExt;
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use ids::{Digest, Reference, short};
use image_core::{Descriptor, Document, MAX_MANIFEST_BYTES, Manifest, Platform, media_type};
use registry_client::{BlobSource, Credentials, Pushed, RegistryError, Repository};

use crate::backend::{Backend, Record, as_io};
use crate::blobs::{ingest_key, sources};
use crate::error::ImagesError;
use crate::events::ImageEventKind;
use crate::lease::Lease;
use crate::loaded::LoadedImage;
use crate::messages;
use crate::name::Name;
use crate::progress::{Progress, ProgressSender, PushResult};
use crate::recode::compress;
use crate::service::Images;
use crate::unpack::manifest_labels;

/// Layers that one push compresses at a time.
const MAX_COMPRESSING: usize = 8;

/// Everything that a push sends, in the order of sending.
#[derive(Default)]
struct Cargo {
    /// Layers with the short ids that users see.
    layers: Vec<(Descriptor, String)>,
    configs: Vec<Descriptor>,
    /// Those an index lists, then the target itself.
    manifests: Vec<(Descriptor, Bytes)>,
}

/// What to push.
#[derive(Debug, Clone)]
pub struct PushRequest {
    /// Without tag and digest all tags of the repository.
    pub reference: Reference,
    /// Only this platform's manifest, under the name itself.
    pub platform: Option<Platform>,
    pub credentials: Credentials,
}

/// One push on its way.
struct Pushing<'a> {
    images: &'a Images,
    reference: &'a Reference,
    platform: Option<&'a Platform>,
    repository: Repository,
    lease: &'a Lease,
    backend: Backend,
    progress: &'a ProgressSender,
}

impl Images {
    /// Pushes a name; one without tag and digest stands for all tags of its repository.
    pub async fn push(&self, request: &PushRequest, progress: &ProgressSender) -> Result<(), ImagesError> {
        let reference = &request.reference;
        progress.message("", messages::push_refers(&reference.name())).await;
        let names = self.names_to_push(reference).await?;
        let repository = self.shared.registries.repository(reference, request.credentials.clone());
        for (name, record) in names {
            let lease = Lease::new(&self.backend, "push").await?;
            let pushing = Pushing {
                images: self,
                reference: &name,
                platform: request.platform.as_ref(),
                repository: repository.clone(),
                backend: lease.backend(),
                lease: &lease,
                progress,
            };
            pushing.run(record).await.map_err(worded)?;
        }
        Ok(())
    }

    async fn names_to_push(&self, reference: &Reference) -> Result<Vec<(Reference, Record)>, ImagesError> {
        let own = reference.name();
        let named = |record: Record| match Name::parse(&record.name) {
            Name::Reference(name) if name.name() == own => Some((name, record)),
            _ => None,
        };
        let all: Vec<_> = self.backend.records().await?.into_iter().filter_map(named).collect();
        if all.is_empty() {
            return Err(ImagesError::NothingToPush(reference.familiar_name()));
        }
        if reference.is_name_only() {
            return Ok(all.into_iter().filter(|(name, _)| name.tag().is_some()).collect());
        }
        let wanted = all.into_iter().find(|(name, _)| name == reference);
        wanted.map(|found| vec![found]).ok_or_else(|| ImagesError::NoSuchTag(reference.familiar()))
    }
}

impl Pushing<'_> {
    async fn run(&self, record: Record) -> Result<(), ImagesError> {
        let image = self.image(&record.target).await?;
        let cargo = self.collect(&record, &image).await?;
        for (_, id) in &cargo.layers {
            self.progress.message(id, messages::PREPARING).await;
        }
        self.repository.ping().await?;
        let mut uploads: FuturesUnordered<_> =
            cargo.layers.iter().map(|(layer, id)| self.upload_layer(layer, id)).collect();
        while let Some(uploaded) = uploads.next().await {
            uploaded?;
        }
        drop(uploads);
        for config in &cargo.configs {
            self.upload(&self.repository, config, Arc::new(|_| {})).await?;
        }
        let (target, _) = self.send_manifests(&cargo).await?;
        self.remember_sources(&cargo).await?;
        let tag = self.reference.tag().map_or_else(|| target.digest.to_string(), str::to_owned);
        let pushed = PushResult { tag: tag.clone(), digest: target.digest, size: target.size };
        let status = messages::pushed(&tag, &target.digest, target.size);
        self.progress.message("", status).await;
        self.progress.send(Progress { pushed: Some(pushed), ..Progress::default() }).await;
        let name = self.reference.familiar_name();
        self.images.event(ImageEventKind::Push, &self.reference.familiar(), &name, &image.config);
        Ok(())
    }

    async fn image(&self, target: &Descriptor) -> Result<Arc<LoadedImage>, ImagesError> {
        let Some(platform) = self.platform else { return self.images.load(target).await };
        let found = self.images.load_exactly(target, platform).await?;
        let missing =
            || ImagesError::PlatformMissing { reference: self.reference.familiar(), wanted: platform.to_string() };
        found.ok_or_else(missing)
    }

    /// An index is pushed as it is if all of it is here; else what this host has of it.
    async fn collect(&self, record: &Record, image: &LoadedImage) -> Result<Cargo, ImagesError> {
        if self.platform.is_none()
            && media_type::is_index(&record.target.media_type)
            && let Some(cargo) = self.collect_index(&record.target).await?
        {
            return Ok(cargo);
        }
        let (target, bytes, manifest) = self.compressed(record, image).await?;
        let mut cargo = Cargo::default();
        self.add_manifest(&mut cargo, &manifest, target, bytes, &image.config.rootfs.diff_ids).await?;
        Ok(cargo)
    }

    /// `None` if a part is missing.
    async fn collect_index(&self, target: &Descriptor) -> Result<Option<Cargo>, ImagesError> {
        let Document::Index(index) = self.images.read_document(target).await? else { return Ok(None) };
        let mut cargo = Cargo::default();
        for entry in &index.manifests {
            let document = match self.images.read_document(entry).await {
                Ok(document) => document,
                Err(ImagesError::MissingBlob(_)) => return Ok(None),
                Err(error) => return Err(error),
            };
            let Document::Manifest(manifest) = document else { return Ok(None) };
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                if self.backend.blob_info(&blob.digest).await?.is_none() {
                    return Ok(None);
                }
            }
            let bytes = self.backend.read_blob(&entry.digest, MAX_MANIFEST_BYTES).await?;
            // What is no image (an attestation) has layers without DiffIDs: their own digests are shown.
            let diff_ids = match self.images.read_config(&manifest).await {
                Ok(raw) => {
                    image_core::ImageConfig::parse(&raw).map(|config| config.rootfs.diff_ids).unwrap_or_default()
                }
                Err(_) => Vec::new(),
            };
            self.add_manifest(&mut cargo, &manifest, entry.clone(), bytes, &diff_ids).await?;
        }
        let bytes = self.backend.read_blob(&target.digest, MAX_MANIFEST_BYTES).await?;
        cargo.manifests.push((target.clone(), bytes));
        Ok(Some(cargo))
    }

    async fn add_manifest(
        &self,
        cargo: &mut Cargo,
        manifest: &Manifest,
        target: Descriptor,
        bytes: Bytes,
        diff_ids: &[Digest],
    ) -> Result<(), ImagesError> {
        for (at, layer) in manifest.layers.iter().enumerate() {
            let shown = diff_ids.get(at).unwrap_or(&layer.digest).to_string();
            if !cargo.layers.iter().any(|(known, _)| known.digest == layer.digest) {
                cargo.layers.push((layer.clone(), short(&shown).to_owned()));
            }
        }
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            self.lease.keep(&blob.digest).await?;
        }
        cargo.configs.push(manifest.config.clone());
        let target = Descriptor { media_type: manifest.media_type.clone(), size: bytes.len() as u64, ..target };
        cargo.manifests.push((target, bytes));
        Ok(())
    }

    /// The image's manifest with compressed layers. Where that is another one than before, the image's names stand for it
    /// from now on.
    async fn compressed(
        &self,
        record: &Record,
        image: &LoadedImage,
    ) -> Result<(Descriptor, Bytes, Manifest), ImagesError> {
        let mut manifest = image.manifest.clone();
        // As many at a time as there are processors: nothing else of a push costs as much.
        let at_once = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_COMPRESSING);
        let layers = stream::iter(image.manifest.layers.clone()).map(|layer| self.packed(layer));
        manifest.layers = layers.buffered(at_once).try_collect().await?;
        if manifest == image.manifest {
            let bytes = self.backend.read_blob(&image.manifest_digest, MAX_MANIFEST_BYTES).await?;
            let target = Descriptor::new(&manifest.media_type, image.manifest_digest, bytes.len() as u64);
            return Ok((target, bytes, manifest));
        }
        let bytes = Bytes::from(manifest.to_bytes());
        let target = Descriptor::new(&manifest.media_type, Digest::of(&bytes), bytes.len() as u64);
        let labels = manifest_labels(&manifest.config.digest, &manifest.layers);
        self.backend.put_blob(&ingest_key("manifest", &target.digest), &bytes, labels).await?;
        for other in self.backend.records().await? {
            let names_it = matches!(Name::parse(&other.name), Name::Reference(_));
            if names_it && other.target.digest == record.target.digest {
                self.backend.put_record(&Record { target: target.clone(), ..other }).await?;
            }
        }
        Ok((target, bytes, manifest))
    }

    async fn packed(&self, layer: Descriptor) -> Result<Descriptor, ImagesError> {
        if !media_type::is_plain_layer(&layer.media_type) {
            return Ok(layer);
        }
        let _alone = self.images.shared.flights.enter(&layer.digest).await;
        compress(&self.backend, &layer).await
    }

    async fn upload_layer(&self, layer: &Descriptor, id: &str) -> Result<(), ImagesError> {
        let uploads = &self.images.shared.uploads;
        let _slot = match uploads.try_acquire() {
            Some(slot) => slot,
            None => {
                self.progress.message(id, messages::WAITING).await;
                uploads.acquire().await
            }
        };
        let meter = self.progress.meter(id, messages::PUSHING, layer.size);
        let repository = self.repository.telling_pauses(self.progress.pauses(id));
        let pushed = self.upload(&repository, layer, Arc::new(move |sent| meter.set(sent))).await?;
        let status = match &pushed {
            Pushed::Existed => messages::PUSH_EXISTS.to_owned(),
            Pushed::Mounted(from) => messages::mounted_from(from),
            Pushed::Uploaded => messages::PUSHED.to_owned(),
        };
        self.progress.message(id, status).await;
        Ok(())
    }

    async fn upload(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        progress: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<Pushed, ImagesError> {
        let info = self.backend.blob_info(&blob.digest).await?;
        let elsewhere = info.map(|info| sources(&info.labels, self.reference.domain())).unwrap_or_default();
        let (backend, digest) = (self.backend.clone(), blob.digest);
        let open = move |offset| -> std::pin::Pin<Box<dyn futures_core::Stream<Item = std::io::Result<Bytes>> + Send>> {
            let backend = backend.clone();
            let opened = async move {
                backend.stream_blob_from(&digest, offset).await.map(as_io).map_err(std::io::Error::other)
            };
            Box::pin(futures_util::stream::once(opened).try_flatten())
        };
        let source = BlobSource { digest, size: blob.size, open: Arc::new(open), progress };
        Ok(repository.push_blob(&source, &elsewhere).await?)
    }

    /// Parts by digest, the whole by its tag. Answers the whole.
    async fn send_manifests<'c>(&self, cargo: &'c Cargo) -> Result<&'c (Descriptor, Bytes), ImagesError> {
        let nothing = || ImagesError::NothingToPush(self.reference.familiar());
        let (target, parts) = cargo.manifests.split_last().ok_or_else(nothing)?;
        for (part, bytes) in parts {
            self.repository.put_manifest(&part.digest.to_string(), &part.media_type, bytes.clone()).await?;
        }
        let name = self.reference.tag().map_or_else(|| target.0.digest.to_string(), str::to_owned);
        self.repository.put_manifest(&name, &target.0.media_type, target.1.clone()).await?;
        Ok(target)
    }

    /// The next push to another repository of this registry can mount from this one.
    async fn remember_sources(&self, cargo: &Cargo) -> Result<(), ImagesError> {
        let blobs = cargo.layers.iter().map(|(layer, _)| layer).chain(&cargo.configs);
        let all: HashSet<Digest> =
            blobs.chain(cargo.manifests.iter().map(|(manifest, _)| manifest)).map(|blob| blob.digest).collect();
        for digest in all {
            self.backend.add_source(&digest, self.reference).await?;
        }
        Ok(())
    }
}

fn worded(error: ImagesError) -> ImagesError {
    let ImagesError::Registry(error) = error else { return error };
    match messages::push_refused(&error) {
        Some(message) => ImagesError::Refused { message, kind: error.kind() },
        None => match &error {
            RegistryError::Api { .. } | RegistryError::Body { .. } => {
                ImagesError::Refused { message: error.to_string(), kind: error.kind() }
            }
            _ => ImagesError::Registry(error),
        },
    }
}
