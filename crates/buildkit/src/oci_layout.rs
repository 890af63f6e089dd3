//! Named contexts that are images in a folder of the client's: an OCI layout, read over the session into the image store.

use archive::{Entry, EntryKind, TarWriter, padding_of};
use builder::{Builder, LayerStream};
use buildkit_session::Session;
use bytes::Bytes;
use errors::ErrorKind;
use futures_util::StreamExt;
use ids::Digest;
use image_core::layout::{INDEX, LAYOUT, blob_path, index_json, layout_json};
use image_core::{Descriptor, Document, MAX_MANIFEST_BYTES, Manifest, Platform, choose};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::error::SolveError;

/// How such a context is told, and how clients call the folder.
const SCHEME: &str = "oci-layout://";
const KIND: &str = "oci:";
/// Pieces of the archive on their way.
const QUEUE: usize = 4;

/// An image of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayoutImage {
    /// The folder, by the client's name for it.
    store: String,
    pub digest: Digest,
}

impl LayoutImage {
    /// `oci-layout://STORE[:TAG]@DIGEST`; `None`: it is no such context.
    pub fn parse(text: &str) -> Option<Result<Self, SolveError>> {
        let rest = text.strip_prefix(SCHEME)?;
        let wrong = || SolveError::invalid(format!("could not parse oci-layout reference {rest:?}"));
        let parsed = || {
            let (name, digest) = rest.split_once('@').ok_or_else(wrong)?;
            let store = name.split(':').next().filter(|store| !store.is_empty()).ok_or_else(wrong)?;
            Ok(Self { store: format!("{KIND}{store}"), digest: digest.parse().map_err(|_| wrong())? })
        };
        Some(parsed())
    }

    /// Takes it into the image store, as far as these platforms need it.
    pub async fn load(&self, session: &Session, builder: &Builder, platforms: &[String]) -> Result<(), SolveError> {
        let bytes = self.small(session, &self.digest).await?;
        let document = Document::parse(&bytes, "", &self.digest.to_string()).map_err(not_understood)?;
        let target = Descriptor::new(document.media_type(), self.digest, bytes.len() as u64);
        let mut archive = Archive { small: vec![(blob_path(&self.digest), bytes)], blobs: Vec::new() };
        match document {
            Document::Manifest(manifest) => archive.add(&manifest),
            Document::Index(index) => {
                for platform in wanted(platforms)? {
                    let entry = choose(&index, &platform).map_err(not_understood)?;
                    let bytes = self.small(session, &entry.digest).await?;
                    let manifest = Document::parse(&bytes, &entry.media_type, &entry.digest.to_string());
                    let Document::Manifest(manifest) = manifest.map_err(not_understood)? else {
                        return Err(SolveError::unsupported("indexes within indexes of an OCI layout"));
                    };
                    archive.add(&manifest);
                    archive.small.push((blob_path(&entry.digest), bytes));
                }
            }
        }
        let stream = archive.stream(session.clone(), self.store.clone(), target);
        Ok(builder.load(stream).await?)
    }

    /// A whole document, verified.
    async fn small(&self, session: &Session, digest: &Digest) -> Result<Bytes, SolveError> {
        let (mut pieces, mut bytes) = (session.read_content(&self.store, digest).await?, Vec::new());
        while let Some(piece) = pieces.recv().await {
            let failed = |error: std::io::Error| SolveError::refused(ErrorKind::Unavailable, error.to_string());
            bytes.extend_from_slice(&piece.map_err(failed)?);
            if bytes.len() > MAX_MANIFEST_BYTES {
                return Err(SolveError::invalid(format!("{digest} has more than {MAX_MANIFEST_BYTES} bytes")));
            }
        }
        match Digest::of(&bytes) == *digest {
            true => Ok(bytes.into()),
            false => Err(SolveError::refused(ErrorKind::DataLoss, format!("what came for {digest} is something else"))),
        }
    }
}

fn not_understood(error: image_core::ImageError) -> SolveError {
    SolveError::invalid(errors::chain(&error))
}

fn wanted(platforms: &[String]) -> Result<Vec<Platform>, SolveError> {
    match platforms {
        [] => Ok(vec![Platform::host()]),
        some => some.iter().map(|text| Platform::parse(text).map_err(not_understood)).collect(),
    }
}

/// An archive of an image, as `docker load` takes it.
struct Archive {
    /// Documents by their paths.
    small: Vec<(String, Bytes)>,
    /// What comes piece by piece.
    blobs: Vec<Descriptor>,
}

impl Archive {
    fn add(&mut self, manifest: &Manifest) {
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            if !self.blobs.iter().any(|known| known.digest == blob.digest) {
                self.blobs.push(blob.clone());
            }
        }
    }

    fn stream(mut self, session: Session, store: String, target: Descriptor) -> LayerStream {
        self.small.insert(0, (LAYOUT.to_owned(), layout_json().into()));
        self.small.insert(1, (INDEX.to_owned(), index_json(vec![target]).into()));
        let (sender, pieces) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            if let Err(error) = self.send(&session, &store, &sender).await {
                // Nobody who listens needs no reason.
                let _ = sender.send(Err(error)).await;
            }
        });
        Box::pin(ReceiverStream::new(pieces))
    }

    async fn send(
        self,
        session: &Session,
        store: &str,
        sender: &mpsc::Sender<std::io::Result<Bytes>>,
    ) -> std::io::Result<()> {
        let told = |error: archive::ArchiveError| std::io::Error::other(errors::chain(&error));
        let gone = |_| std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let mut writer = TarWriter::new(Vec::new());
        for (path, bytes) in self.small {
            let mut entry = Entry::new(path, EntryKind::File, 0o644);
            entry.size = bytes.len() as u64;
            writer.append(&entry, &mut &bytes[..]).map_err(told)?;
        }
        for blob in self.blobs {
            let mut entry = Entry::new(blob_path(&blob.digest), EntryKind::File, 0o644);
            entry.size = blob.size;
            writer.begin(&entry).map_err(told)?;
            let head = std::mem::take(writer.target_mut());
            sender.send(Ok(head.into())).await.map_err(gone)?;
            let opened = session.read_content(store, &blob.digest).await;
            let mut pieces = ReceiverStream::new(opened.map_err(|error| std::io::Error::other(errors::chain(&error)))?);
            let mut left = blob.size;
            while let Some(piece) = pieces.next().await {
                let piece = piece?;
                let short = || std::io::Error::other(format!("{} has not {} bytes", blob.digest, blob.size));
                left = left.checked_sub(piece.len() as u64).ok_or_else(short)?;
                sender.send(Ok(piece)).await.map_err(gone)?;
            }
            if left > 0 {
                return Err(std::io::Error::other(format!("{} has not {} bytes", blob.digest, blob.size)));
            }
            writer.target_mut().extend_from_slice(padding_of(blob.size));
        }
        let tail = writer.finish().map_err(told)?;
        sender.send(Ok(tail.into())).await.map_err(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_layouts_have_a_folder_and_a_digest() {
        let digest = Digest::of("x");
        let of = |text: &str| LayoutImage::parse(text).unwrap();
        let found = of(&format!("oci-layout://abc:latest@{digest}")).unwrap();
        assert_eq!((found.store.as_str(), found.digest), ("oci:abc", digest));
        assert!(of(&format!("oci-layout://abc@{digest}")).is_ok());
        for wrong in ["oci-layout://abc", "oci-layout://@sha256:00", "oci-layout://a@b"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        assert!(LayoutImage::parse("docker-image://x").is_none());
    }
}
