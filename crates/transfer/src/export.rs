//! Export: images as an OCI layout with Docker's `manifest.json`, in the order of their paths.

use std::collections::BTreeMap;
use std::io::{self, BufWriter};

use archive::{Entry, EntryKind, TarWriter};
use containerd_api::types::transfer::{ImageExportStream, ImageStore};
use ids::{Digest, Reference};
use image_core::layout::{self, ArchivedImage, blob_path};
use image_core::{Descriptor, Document, Platform};
use supervisor::contents::Contents;

use crate::Task;
use crate::bytes_stream::ByteWriter;
use crate::documents::Origin;
use crate::error::TransferError;
use crate::names::target_of;
use crate::push::is_foreign;
use crate::wanted::{Wanted, platform};

/// Bytes that are gathered before they go onto the stream.
const BUFFER: usize = 256 << 10;

/// The files of an archive by their paths.
type Files = BTreeMap<String, File>;

enum File {
    Folder,
    Bytes(Vec<u8>),
    Blob(Digest, u64),
}

impl Task<'_> {
    pub(crate) async fn export(&self, from: ImageStore, to: ImageExportStream) -> Result<(), TransferError> {
        if from.extra_references.iter().any(|reference| reference.is_prefix) {
            return Err(TransferError::NotImplemented("prefix lookup on export".to_owned()));
        }
        self.progress.status("Exporting").await;
        let names = [from.name].into_iter().filter(|name| !name.is_empty());
        let names: Vec<String> = names.chain(from.extra_references.into_iter().map(|extra| extra.name)).collect();
        let files = self.files(&names, &to).await?;
        let stream = self.streams.take(&self.scope.namespace, &to.stream)?;
        let (contents, namespace) = (self.services.contents.clone(), self.scope.namespace.clone());
        let writing = tokio::task::spawn_blocking(move || {
            let target = BufWriter::with_capacity(BUFFER, ByteWriter::new(stream));
            let target = write(&contents, &namespace, &files, target)?;
            target.into_inner().map_err(|error| TransferError::Write(error.into_error()))
        });
        let written = writing.await.unwrap_or(Err(TransferError::GivenUp))?;
        written.finish().await;
        self.progress.status("Completed export").await;
        Ok(())
    }

    async fn files(&self, names: &[String], to: &ImageExportStream) -> Result<Files, TransferError> {
        let wanted = match (to.all_platforms, to.platforms.is_empty()) {
            (true, _) => Wanted::default(),
            (false, true) => Wanted::platforms(vec![Platform::host()]),
            (false, false) => Wanted::platforms(to.platforms.iter().map(platform).collect()),
        };
        let mut files = Files::new();
        for folder in ["blobs/", "blobs/sha256/"] {
            files.insert(folder.to_owned(), File::Folder);
        }
        let (mut index, mut images): (Vec<Descriptor>, Vec<ArchivedImage>) = (Vec::new(), Vec::new());
        for name in names {
            let image = self.services.images.get(&self.scope.namespace, name)?;
            let target = target_of(&image)?;
            let manifests = self.gather(&target, name, &wanted, to.skip_non_distributable, &mut files).await?;
            // Docker's description has one image a name.
            if let Some(mut first) = manifests.into_iter().next() {
                first.repo_tags = repo_tag(name).map(|tag| vec![tag]);
                add(&mut images, first);
            }
            index.push(Descriptor { annotations: Some(annotations(name)), ..target });
        }
        files.insert(layout::LAYOUT.to_owned(), File::Bytes(layout::layout_json()));
        files.insert(layout::INDEX.to_owned(), File::Bytes(layout::index_json(index)));
        if !to.skip_compatibility_manifest && !images.is_empty() {
            files.insert(layout::MANIFEST.to_owned(), File::Bytes(layout::manifest_json(&images)));
        }
        Ok(files)
    }

    /// All blobs of an image; its manifests as Docker describes them.
    async fn gather(
        &self,
        target: &Descriptor,
        name: &str,
        wanted: &Wanted,
        skip_foreign: bool,
        files: &mut Files,
    ) -> Result<Vec<ArchivedImage>, TransferError> {
        let mut manifests = Vec::new();
        for found in self.documents(Origin::Store, target, name, wanted).await? {
            self.gather_blob(&found.descriptor.digest, files)?;
            let Document::Manifest(manifest) = &found.document else { continue };
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                if !(skip_foreign && is_foreign(blob)) {
                    self.gather_blob(&blob.digest, files)?;
                }
            }
            manifests.push(ArchivedImage {
                config: blob_path(&manifest.config.digest),
                repo_tags: None,
                layers: Some(manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect()),
            });
        }
        Ok(manifests)
    }

    fn gather_blob(&self, digest: &Digest, files: &mut Files) -> Result<(), TransferError> {
        let size = self.services.contents.info(&self.scope.namespace, digest)?.size;
        files.insert(blob_path(digest), File::Blob(*digest, size));
        Ok(())
    }
}

/// An image under several names is described once.
fn add(images: &mut Vec<ArchivedImage>, one: ArchivedImage) {
    match images.iter_mut().find(|known| known.config == one.config && known.layers == one.layers) {
        Some(known) => known.repo_tags.get_or_insert_default().extend(one.repo_tags.unwrap_or_default()),
        None => images.push(one),
    }
}

fn annotations(name: &str) -> BTreeMap<String, String> {
    let tag = Reference::parse_familiar(name).ok().and_then(|reference| reference.tag().map(str::to_owned));
    let tag = tag.unwrap_or_else(|| name.to_owned());
    [(layout::IMAGE_NAME.to_owned(), name.to_owned()), (layout::REF_NAME.to_owned(), tag)].into()
}

/// The name as Docker's users write it; none for what has no tag.
fn repo_tag(name: &str) -> Option<String> {
    let reference = Reference::parse_familiar(name).ok()?;
    (reference.tag().is_some() && reference.digest().is_none()).then(|| reference.familiar())
}

fn write<W: io::Write>(contents: &Contents, namespace: &str, files: &Files, target: W) -> Result<W, TransferError> {
    let mut archive = TarWriter::new(target);
    for (path, file) in files {
        let (kind, mode, size) = match file {
            File::Folder => (EntryKind::Directory, 0o755, 0),
            File::Bytes(bytes) => (EntryKind::File, 0o444, bytes.len() as u64),
            File::Blob(_, size) => (EntryKind::File, 0o444, *size),
        };
        let entry = Entry { size, ..Entry::new(path.clone(), kind, mode) };
        match file {
            File::Folder => archive.append(&entry, &mut io::empty())?,
            File::Bytes(bytes) => archive.append(&entry, &mut bytes.as_slice())?,
            File::Blob(digest, _) => {
                let mut blob = contents.reader(namespace, digest)?.into_file();
                archive.append(&entry, &mut blob)?;
            }
        }
    }
    Ok(archive.finish()?)
}
