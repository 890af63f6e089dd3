//! `docker image save`: images as one archive, an OCI layout with Docker's files beside it.
//!
//! The archive follows from the images and the names asked for alone: entries in one order, no times, no owners. Blobs
//! are written as they are in the store, so that every digest is kept.

use std::collections::{BTreeMap, HashSet};
use std::io;

use archive::{Entry, EntryKind, TarWriter, padding_of};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use ids::{Digest, Reference};
use image_core::layout::{self, ArchivedImage, Repositories, blob_path};
use image_core::{Descriptor, Document, Platform};

use crate::backend::{Backend, Record};
use crate::error::ImagesError;
use crate::events::ImageEventKind;
use crate::lease::Lease;
use crate::loaded::{LoadedImage, MAX_DEPTH};
use crate::name::Name;
use crate::recode::ByteStream;
use crate::resolve::Found;
use crate::service::Images;

/// Which images go into an archive.
#[derive(Debug, Clone, Default)]
pub struct SaveRequest {
    /// A repository stands for all its tags.
    pub names: Vec<String>,
    /// Only this platform's manifest of each; all that is here if none.
    pub platform: Option<Platform>,
}

/// One target of the archive with the names that it gets there.
struct Chosen {
    found: Found,
    target: Descriptor,
    names: Vec<Reference>,
}

/// Blobs and files of an archive before it is written.
#[derive(Default)]
struct Contents {
    /// In the order of their paths.
    blobs: BTreeMap<String, (Digest, u64)>,
    index: Vec<Descriptor>,
    manifests: Vec<ArchivedImage>,
    repositories: Repositories,
}

/// A part of the archive on its way.
enum Part {
    Bytes(Bytes),
    Blob(Digest, u64),
}

impl Images {
    /// The archive as it is read from the store; what is asked for and not there is told before the first byte.
    pub async fn save_archive(&self, request: &SaveRequest) -> Result<ByteStream, ImagesError> {
        let lease = Lease::new(&self.backend, "save").await?;
        let mut contents = Contents::default();
        let mut chosen = Vec::new();
        for name in &request.names {
            self.choose(name, &mut chosen).await?;
        }
        let mut told = Vec::new();
        for mut one in chosen {
            let mut image = one.found.image.clone();
            if let Some(platform) = &request.platform {
                (one.target, image) = self.of_platform(&one.target, platform, &request.names).await?;
            }
            self.gather(&lease, &one.target, &image, &mut contents).await?;
            describe(&one, &image, &mut contents);
            told.push((image.id.to_string(), one.found.image.clone()));
        }
        for (id, image) in told {
            self.event(ImageEventKind::Save, &id, &id, &image.config);
        }
        Ok(write(self.backend.clone(), lease, contents.into_parts()?))
    }

    /// One target that has no name in the store, or another one; the archive has these.
    pub(crate) async fn archive_target(
        &self,
        target: &Descriptor,
        names: Vec<Reference>,
    ) -> Result<ByteStream, ImagesError> {
        let lease = Lease::new(&self.backend, "save").await?;
        let image = self.load(target).await?;
        let mut contents = Contents::default();
        self.gather(&lease, target, &image, &mut contents).await?;
        let found = Found { image: image.clone(), records: Vec::new() };
        describe(&Chosen { found, target: target.clone(), names }, &image, &mut contents);
        Ok(write(self.backend.clone(), lease, contents.into_parts()?))
    }

    /// What one name of the request stands for, added to what is chosen already.
    async fn choose(&self, name: &str, chosen: &mut Vec<Chosen>) -> Result<(), ImagesError> {
        let reference = Reference::parse_familiar(name).ok();
        let mut named: Vec<(Record, Reference)> = Vec::new();
        if let Some(reference) = reference.filter(|reference| reference.digest().is_none()) {
            for record in self.backend.records().await? {
                let Name::Reference(own) = Name::parse(&record.name) else { continue };
                let meant = if reference.is_name_only() {
                    own.name() == reference.name() && own.tag().is_some()
                } else {
                    own == reference
                };
                if meant {
                    named.push((record, own));
                }
            }
        }
        if named.is_empty() {
            let found = self.find(name).await.map_err(|error| absent(name, error))?;
            let target = found.target_of(name);
            add(chosen, Chosen { found, target, names: Vec::new() });
        }
        for (record, name) in named {
            let image = self.load(&record.target).await?;
            let target = record.target.clone();
            add(chosen, Chosen { found: Found { image, records: vec![record] }, target, names: vec![name] });
        }
        Ok(())
    }

    /// The manifest for this platform alone.
    async fn of_platform(
        &self,
        target: &Descriptor,
        platform: &Platform,
        names: &[String],
    ) -> Result<(Descriptor, std::sync::Arc<LoadedImage>), ImagesError> {
        let image = self.load_exactly(target, platform).await?;
        let missing = || ImagesError::PlatformMissing { reference: names.join(", "), wanted: platform.to_string() };
        let image = image.ok_or_else(missing)?;
        let size = self.backend.blob_info(&image.manifest_digest).await?.map_or(0, |info| info.size);
        Ok((Descriptor::new(&image.manifest.media_type, image.manifest_digest, size), image))
    }

    /// Every blob below the target that is here; those of the image that counts must be.
    async fn gather(
        &self,
        lease: &Lease,
        target: &Descriptor,
        image: &LoadedImage,
        contents: &mut Contents,
    ) -> Result<(), ImagesError> {
        let mut pending = vec![(target.clone(), 0)];
        let mut seen = HashSet::new();
        while let Some((descriptor, depth)) = pending.pop() {
            if !seen.insert(descriptor.digest) || !self.gather_blob(lease, &descriptor, contents).await? {
                continue;
            }
            match self.read_document(&descriptor).await? {
                Document::Index(index) if depth < MAX_DEPTH => {
                    pending.extend(index.manifests.into_iter().map(|entry| (entry, depth + 1)));
                }
                Document::Index(_) => {}
                Document::Manifest(manifest) => {
                    for blob in manifest.layers.iter().chain([&manifest.config]) {
                        let here = self.gather_blob(lease, blob, contents).await?;
                        let elsewhere = blob.urls.as_ref().is_some_and(|urls| !urls.is_empty());
                        if !here && !elsewhere && descriptor.digest == image.manifest_digest {
                            return Err(ImagesError::MissingBlob(blob.digest));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the blob is here; it stays while the archive is written.
    async fn gather_blob(
        &self,
        lease: &Lease,
        blob: &Descriptor,
        contents: &mut Contents,
    ) -> Result<bool, ImagesError> {
        let Some(info) = self.backend.blob_info(&blob.digest).await? else { return Ok(false) };
        if contents.blobs.insert(blob_path(&blob.digest), (blob.digest, info.size)).is_none() {
            lease.keep(&blob.digest).await?;
        }
        Ok(true)
    }
}

/// Docker tells a name without a tag from one that has it.
fn absent(name: &str, error: ImagesError) -> ImagesError {
    match (error, Reference::parse_familiar(name)) {
        (ImagesError::NoSuchImage(_), Ok(reference)) if reference.is_name_only() => {
            ImagesError::NoSuchImage(name.to_owned())
        }
        (ImagesError::NoSuchImage(_), Ok(_)) => ImagesError::NoSuchReference,
        (error, _) => error,
    }
}

fn add(chosen: &mut Vec<Chosen>, one: Chosen) {
    match chosen.iter_mut().find(|known| known.target.digest == one.target.digest) {
        Some(known) => {
            let more: Vec<_> = one.names.into_iter().filter(|name| !known.names.contains(name)).collect();
            known.names.extend(more);
        }
        None => chosen.push(one),
    }
}

/// The lines of an image in the archive's files.
fn describe(chosen: &Chosen, image: &LoadedImage, contents: &mut Contents) {
    let mut target = chosen.target.clone();
    target.annotations = None;
    if chosen.names.is_empty() {
        contents.index.push(target.clone());
    }
    let top = image.manifest.layers.last().map(|layer| layer.digest.hex()).unwrap_or_default();
    for name in &chosen.names {
        let tag = name.tag().unwrap_or_default();
        let annotations = [(layout::IMAGE_NAME, name.to_string()), (layout::REF_NAME, tag.to_owned())];
        let annotations = annotations.map(|(key, value)| (key.to_owned(), value)).into();
        contents.index.push(Descriptor { annotations: Some(annotations), ..target.clone() });
        contents.repositories.entry(name.familiar_name()).or_default().insert(tag.to_owned(), top.clone());
    }
    let names: Vec<String> = chosen.names.iter().map(Reference::familiar).collect();
    contents.manifests.push(ArchivedImage {
        config: blob_path(&image.id),
        repo_tags: Some(names).filter(|names| !names.is_empty()),
        layers: Some(image.manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect()),
    });
}

impl Found {
    /// What the name stands for where an image has several manifests.
    fn target_of(&self, name: &str) -> Descriptor {
        let by_digest = |record: &&Record| name.ends_with(&record.target.digest.to_string());
        match self.records.iter().find(by_digest).or(self.records.first()) {
            Some(record) => record.target.clone(),
            None => Descriptor::new(&self.image.manifest.media_type, self.image.manifest_digest, 0),
        }
    }
}

impl Contents {
    /// What says what is in the archive comes first: who reads it as it arrives knows then.
    fn into_parts(self) -> Result<Vec<Part>, ImagesError> {
        let mut parts = Parts { writer: TarWriter::new(Vec::new()), made: Vec::new() };
        parts.file(layout::LAYOUT, &layout::layout_json())?;
        parts.file(layout::INDEX, &layout::index_json(self.index))?;
        parts.file(layout::MANIFEST, &layout::manifest_json(&self.manifests))?;
        if !self.repositories.is_empty() {
            parts.file(layout::REPOSITORIES, &layout::repositories_json(&self.repositories))?;
        }
        for folder in ["blobs/", "blobs/sha256/"] {
            parts.writer.begin(&Entry::new(folder, EntryKind::Directory, 0o755))?;
        }
        for (path, (digest, size)) in &self.blobs {
            parts.blob(path, *digest, *size)?;
        }
        parts.end()
    }
}

/// An archive in pieces, what is in memory joined.
struct Parts {
    writer: TarWriter<Vec<u8>>,
    made: Vec<Part>,
}

impl Parts {
    fn file(&mut self, path: &str, content: &[u8]) -> Result<(), ImagesError> {
        let mut entry = Entry::new(path, EntryKind::File, 0o644);
        entry.size = content.len() as u64;
        Ok(self.writer.append(&entry, &mut &content[..])?)
    }

    fn blob(&mut self, path: &str, digest: Digest, size: u64) -> Result<(), ImagesError> {
        let mut entry = Entry::new(path, EntryKind::File, 0o644);
        entry.size = size;
        self.writer.begin(&entry)?;
        self.flush();
        self.made.push(Part::Blob(digest, size));
        self.writer.target_mut().extend_from_slice(padding_of(size));
        Ok(())
    }

    fn flush(&mut self) {
        let written = std::mem::take(self.writer.target_mut());
        self.made.push(Part::Bytes(written.into()));
    }

    fn end(self) -> Result<Vec<Part>, ImagesError> {
        let mut made = self.made;
        made.push(Part::Bytes(self.writer.finish()?.into()));
        Ok(made)
    }
}

fn write(backend: Backend, lease: Lease, parts: Vec<Part>) -> ByteStream {
    let bytes = stream::iter(parts).flat_map(move |part| match part {
        Part::Bytes(bytes) => Box::pin(stream::iter([Ok(bytes)])),
        Part::Blob(digest, size) => blob(backend.clone(), digest, size),
    });
    // The lease ends with the stream; what lost its name meanwhile goes then.
    Box::pin(bytes.map(move |piece| {
        let _ = &lease;
        piece
    }))
}

/// A blob of exactly this size, or an error.
fn blob(backend: Backend, digest: Digest, size: u64) -> ByteStream {
    let pieces = backend.lazy_blob(digest);
    Box::pin(stream::unfold((pieces, Some(size)), move |(mut pieces, left)| async move {
        let left = left?;
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("blob {digest} has not {size} bytes"));
        match pieces.next().await {
            Some(Ok(piece)) => match left.checked_sub(piece.len() as u64) {
                Some(left) => Some((Ok(piece), (pieces, Some(left)))),
                None => Some((Err(wrong()), (pieces, None))),
            },
            Some(Err(error)) => Some((Err(error), (pieces, None))),
            None if left > 0 => Some((Err(wrong()), (pieces, None))),
            None => None,
        }
    }))
}
