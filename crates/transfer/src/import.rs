//! Import: an archive's files into the store, then what the archive says about them.
//!
//! An archive is an attacker's: a member's name is only ever a key of a map, and what is kept in memory has limits.

use std::collections::HashMap;
use std::io::Read;

use archive::{ArchiveError, Compression, Decompressed, EntryKind, Limits, TarReader};
use bytes::Bytes;
use containerd_api::types::transfer::{ImageImportStream, ImageStore};
use content::WriteRequest;
use errors::{ErrorKind, Kind};
use ids::{Digest, Reference};
use image_core::layout::{self, ArchivedImage, digest_of_path};
use image_core::{Descriptor, Document, MAX_MANIFEST_BYTES, Manifest, media_type, reference_labels};
use metadata::Labels;
use supervisor::Scope;
use supervisor::contents::Contents;
use tokio::runtime::Handle;

use crate::Task;
use crate::bytes_stream::ByteReader;
use crate::documents::{Found, Origin};
use crate::error::TransferError;
use crate::progress::{Job, reference_key};
use crate::unpack::{Layer, random_hex, unpacked};
use crate::wanted::Wanted;

/// Files that are remembered, bytes of all their names, and links that lead to one behind the other.
const MAX_FILES: usize = 100_000;
const MAX_NAME_BYTES: usize = 16 << 20;
const MAX_LINKS: usize = 16;

/// A file of the archive, as the store has it.
#[derive(Clone, Copy)]
struct Stored {
    digest: Digest,
    size: u64,
    compression: Compression,
}

enum Member {
    File(Stored),
    /// Of a link, where it leads.
    Link(String),
}

#[derive(Default)]
struct Members {
    by_path: HashMap<String, Member>,
    name_bytes: usize,
}

impl Members {
    fn insert(&mut self, path: String, member: Member) -> Result<(), TransferError> {
        let link = if let Member::Link(target) = &member { target.len() } else { 0 };
        self.name_bytes += path.len() + link;
        for (what, found, limit) in [
            ("number of entries", self.by_path.len(), MAX_FILES),
            ("size of all names", self.name_bytes, MAX_NAME_BYTES),
        ] {
            if found >= limit {
                return Err(ArchiveError::Limit { what, limit: limit as u64 }.into());
            }
        }
        self.by_path.insert(path, member);
        Ok(())
    }

    fn find(&self, path: &str) -> Result<Stored, TransferError> {
        let mut path = clean(path);
        for _ in 0..MAX_LINKS {
            match self.by_path.get(&path) {
                Some(Member::File(stored)) => return Ok(*stored),
                Some(Member::Link(target)) => path.clone_from(target),
                None => break,
            }
        }
        Err(TransferError::NotFound(format!("file {path:?} of the archive")))
    }
}

impl Task<'_> {
    pub(crate) async fn import(&self, from: ImageImportStream, to: ImageStore) -> Result<(), TransferError> {
        self.check_store(&to)?;
        self.progress.status("Importing").await;
        let stream = self.streams.take(&self.scope.namespace, &from.stream)?;
        let receiving = Receiving {
            contents: self.services.contents.clone(),
            scope: self.scope.clone(),
            runtime: Handle::current(),
            prefix: format!("import-{}", random_hex()),
        };
        let received = tokio::task::spawn_blocking(move || receiving.receive(ByteReader::new(stream)));
        let members = received.await.unwrap_or(Err(TransferError::GivenUp))?;
        let index = self.index(&members, from.force_compress).await?;
        let found = self.documents(Origin::Store, &index, &to.name, &Wanted::of(&to)).await?;
        for one in &found {
            self.label(&one.descriptor.digest, reference_labels(&one.document)).await?;
        }
        if let Some(wanted) = unpacked(&to) {
            for one in &found {
                self.unpack_found(one, &wanted).await?;
            }
        }
        self.name(&to, &index, &found).await?;
        self.progress.status("Completed import").await;
        Ok(())
    }

    /// The archive's index: its own, or one that is made of Docker's description.
    async fn index(&self, members: &Members, compress: bool) -> Result<Descriptor, TransferError> {
        if members.find(layout::LAYOUT).is_ok() {
            let index = members.find(layout::INDEX)?;
            return Ok(Descriptor::new(media_type::OCI_INDEX, index.digest, index.size));
        }
        let Ok(described) = members.find(layout::MANIFEST) else {
            return Err(TransferError::InvalidArgument("unrecognized image format".to_owned()));
        };
        let bytes = self.read_blob(&described.digest, MAX_MANIFEST_BYTES).await?;
        let mut entries = Vec::new();
        for image in layout::parse_manifest_json(&bytes)? {
            entries.extend(self.described(members, image, compress).await?);
        }
        self.put_document(media_type::OCI_INDEX, layout::index_json(entries)).await
    }

    /// The manifest of an image that Docker's description has, once for each of its names.
    async fn described(
        &self,
        members: &Members,
        image: ArchivedImage,
        compress: bool,
    ) -> Result<Vec<Descriptor>, TransferError> {
        let config = members.find(&image.config)?;
        let mut layers = Vec::new();
        for path in image.layers.iter().flatten() {
            let layer = members.find(path)?;
            let kind = match layer.compression {
                Compression::None if compress => {
                    layers.push(self.compress(layer.digest).await?);
                    continue;
                }
                Compression::None => media_type::OCI_LAYER,
                Compression::Gzip => media_type::OCI_LAYER_GZIP,
                Compression::Zstd => media_type::OCI_LAYER_ZSTD,
                other => return Err(TransferError::NotImplemented(format!("layers packed by {other:?}"))),
            };
            layers.push(Descriptor::new(kind, layer.digest, layer.size));
        }
        let config = Descriptor::new(media_type::OCI_CONFIG, config.digest, config.size);
        let manifest = self.put_document(media_type::OCI_MANIFEST, Manifest::oci(config, layers).to_bytes()).await?;
        let mut named = Vec::new();
        for tag in image.repo_tags.iter().flatten() {
            let invalid = |_| TransferError::InvalidArgument(format!("invalid tag {tag:?}"));
            let name = Reference::parse_familiar(tag).map_err(invalid)?.with_default_tag();
            let short = name.tag().unwrap_or_default().to_owned();
            let annotations = [(layout::IMAGE_NAME.to_owned(), name.to_string()), (layout::REF_NAME.to_owned(), short)];
            named.push(Descriptor { annotations: Some(annotations.into()), ..manifest.clone() });
        }
        Ok(if named.is_empty() { vec![manifest] } else { named })
    }

    async fn put_document(&self, media_type: &str, bytes: Vec<u8>) -> Result<Descriptor, TransferError> {
        let descriptor = Descriptor::new(media_type, Digest::of(&bytes), bytes.len() as u64);
        self.put(&descriptor, Bytes::from(bytes)).await?;
        Ok(descriptor)
    }

    async fn unpack_found(&self, found: &Found, wanted: &Wanted) -> Result<(), TransferError> {
        let Document::Manifest(manifest) = &found.document else { return Ok(()) };
        if !found.layers {
            return Ok(());
        }
        let Some(config) = self.config_to_unpack(manifest, wanted).await? else { return Ok(()) };
        let parent = reference_key(&found.descriptor.media_type, &found.descriptor.digest);
        let job = |layer: &Descriptor| Job { descriptor: layer.clone(), parent: parent.clone() };
        let jobs: Vec<Job> = manifest.layers.iter().map(job).collect();
        let layers = jobs.iter().map(|job| Layer { job, begun: None }).collect();
        self.unpack_layers(manifest, &config, layers).await
    }

    /// The index's name, if one is asked for, and those of its images.
    async fn name(&self, to: &ImageStore, index: &Descriptor, found: &[Found]) -> Result<(), TransferError> {
        match self.store_names(to, index).await {
            Err(error) if error.is_not_found() => {}
            answer => {
                for name in answer? {
                    self.progress.image("saved", &name, index).await;
                }
            }
        }
        let Some(Found { document: Document::Index(entries), .. }) = found.first() else { return Ok(()) };
        for entry in &entries.manifests {
            // What is listed and was not wanted has no name.
            let Some(found) = found.iter().find(|found| found.descriptor.digest == entry.digest) else { continue };
            let target = Descriptor { annotations: entry.annotations.clone(), ..found.descriptor.clone() };
            for name in self.store_annotated(to, &target).await? {
                self.progress.image("saved", &name, &target).await;
            }
        }
        Ok(())
    }
}

/// The thread that takes an archive apart.
struct Receiving {
    contents: Contents,
    scope: Scope,
    runtime: Handle,
    prefix: String,
}

impl Receiving {
    /// Stores every file under the lease. What nothing refers to in the end is collected with it.
    fn receive(&self, source: impl Read) -> Result<Members, TransferError> {
        let limits = Limits::default();
        let plain = Decompressed::new(source, limits.archive_bytes).map_err(TransferError::Read)?;
        let mut archive = TarReader::new(plain, limits);
        let mut members = Members::default();
        while let Some(entry) = archive.next_entry()? {
            let path = clean(&String::from_utf8_lossy(&entry.path));
            let member = match &entry.kind {
                EntryKind::File => Member::File(self.store(&mut archive, &path, entry.size, members.by_path.len())?),
                EntryKind::HardLink(target) => Member::Link(clean(&String::from_utf8_lossy(target))),
                EntryKind::Symlink(target) => Member::Link(beside(&path, &String::from_utf8_lossy(target))),
                _ => continue,
            };
            members.insert(path, member)?;
        }
        archive.drain()?;
        Ok(members)
    }

    fn store<R: std::io::BufRead>(
        &self,
        archive: &mut TarReader<R>,
        path: &str,
        size: u64,
        number: usize,
    ) -> Result<Stored, TransferError> {
        let expected = digest_of_path(path);
        let reference = match &expected {
            Some(digest) => format!("{}-{digest}", self.prefix),
            None => format!("{}-{number}", self.prefix),
        };
        let request = WriteRequest { reference, total: size, expected, leased: true };
        let mut write = match self.runtime.block_on(self.contents.write(self.scope.clone(), request)) {
            Ok(write) => Some(write),
            // The blob is there already: its bytes need not be looked at.
            Err(supervisor::Error::Content(content::Error::AlreadyExists { .. })) => None,
            Err(error) => return Err(error.into()),
        };
        let mut start = Vec::with_capacity(Compression::MARK_BYTES);
        if let Some(write) = &mut write {
            write.write_at(Some(0), &[])?;
        }
        archive.content(|piece| {
            start.extend_from_slice(&piece[..piece.len().min(Compression::MARK_BYTES - start.len())]);
            match &mut write {
                Some(write) => write.write_at(None, piece),
                None => Ok(()),
            }
        })??;
        let compression = Compression::detect(&start);
        let Some(write) = write else {
            let digest = expected.ok_or(TransferError::GivenUp)?;
            return Ok(Stored { digest, size, compression });
        };
        let digest = write.digest();
        match self.runtime.block_on(write.commit(Some(size), expected, Labels::new())) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
            _ => Ok(Stored { digest, size, compression }),
        }
    }
}

/// Without what leads nowhere: `./a//b` is `a/b`.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The path that a symbolic link at `path` leads to.
fn beside(path: &str, target: &str) -> String {
    match path.rsplit_once('/') {
        Some((folder, _)) if !target.starts_with('/') => clean(&format!("{folder}/{target}")),
        _ => clean(target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_files_and_never_in_circles() {
        let stored = Stored { digest: Digest::of("x"), size: 1, compression: Compression::None };
        let mut members = Members::default();
        for (path, member) in [
            ("a/layer.tar", Member::File(stored)),
            ("b/layer.tar", Member::Link(beside("b/layer.tar", "../a/layer.tar"))),
            ("c", Member::Link("d".into())),
            ("d", Member::Link("c".into())),
        ] {
            members.insert(path.into(), member).expect("within the limits");
        }
        assert_eq!(members.find("./b//layer.tar").expect("found").digest, Digest::of("x"));
        assert!(members.find("c").is_err() && members.find("e").is_err());
        let long = "n".repeat(4096);
        let refused = (0..).find_map(|n| members.insert(format!("{n}{long}"), Member::File(stored)).err());
        assert!(refused.expect("a limit").to_string().contains("size of all names"));
    }
}
