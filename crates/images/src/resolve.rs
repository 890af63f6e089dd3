//! From what a user typed to one image: a name, an id, the beginning of an id, a digest.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ids::{Digest, Reference};
use image_core::{ImageConfig, Platform, media_type};

use crate::backend::{Backend, Record};
use crate::blobs::sources;
use crate::error::ImagesError;
use crate::loaded::LoadedImage;
use crate::name::Name;
use crate::service::Images;

/// An image that was found.
#[derive(Debug, Clone)]
pub struct ResolvedImage {
    /// The configuration's digest.
    pub id: Digest,
    /// RepoTags: `alpine:latest`.
    pub names: Vec<String>,
    /// RepoDigests: `alpine@sha256:…`, for each repository it was pulled from or pushed to.
    pub repo_digests: Vec<String>,
    pub config: ImageConfig,
    pub config_raw: Bytes,
    /// The key of the snapshot to prepare a container on; empty for an image without layers. It is unpacked.
    pub chain_id: String,
    pub manifest_digest: Digest,
    /// What its names stand for: the manifest, or an index that has it.
    pub target: image_core::Descriptor,
    pub platform: Platform,
    /// RFC 3339; empty if the image does not say.
    pub created: String,
    /// Unpacked bytes of all layers: Docker's SIZE.
    pub size: u64,
    /// Id of the image that this one was committed on; empty where it came otherwise.
    pub parent: String,
    /// When a name was last set.
    pub last_tagged: std::time::SystemTime,
}

/// An image and its records.
#[derive(Clone)]
pub(crate) struct Found {
    pub image: Arc<LoadedImage>,
    pub records: Vec<Record>,
}

impl Found {
    /// Id of the image that this one was committed on; empty where it came otherwise.
    pub fn parent(&self) -> &str {
        self.records.iter().find_map(Record::parent).unwrap_or_default()
    }

    /// Whether no reference names it, not even one by digest.
    pub fn is_nameless(&self) -> bool {
        !self.records.iter().any(|record| matches!(Name::parse(&record.name), Name::Reference(_)))
    }
}

/// All images by id.
pub(crate) type ById = BTreeMap<Digest, Found>;

impl Images {
    /// Finds an image and sees to it that its layers are unpacked.
    pub async fn resolve(&self, name: &str) -> Result<ResolvedImage, ImagesError> {
        let found = self.find(name).await?;
        // Every `run` passes here: what does not depend on each other is asked for at once.
        let (described, ()) =
            tokio::try_join!(self.describe(&found), self.ensure_unpacked(&self.backend, &found.image))?;
        if described.size > 0 || found.image.chain.is_empty() {
            return Ok(described);
        }
        // It was unpacked only now.
        self.describe(&found).await
    }

    /// The same for exactly this platform's manifest, whose layers may not be here.
    pub async fn describe_platform(&self, name: &str, platform: &Platform) -> Result<ResolvedImage, ImagesError> {
        let found = self.find_platform(name, platform).await?;
        let mut described = self.describe(&found).await?;
        described.platform = platform.clone();
        Ok(described)
    }

    /// An image with the manifest of this platform in the place of the host's.
    pub(crate) async fn find_platform(&self, name: &str, platform: &Platform) -> Result<Found, ImagesError> {
        let mut found = self.find(name).await?;
        for record in &found.records {
            if let Some(image) = self.load_exactly(&record.target, platform).await? {
                found.image = image;
                return Ok(found);
            }
        }
        Err(ImagesError::PlatformMissing { reference: shown(name), wanted: platform.to_string() })
    }

    /// The id of the image that a name stands for; nothing is unpacked.
    pub async fn id_of(&self, name: &str) -> Result<Digest, ImagesError> {
        Ok(self.find(name).await?.image.id)
    }

    pub(crate) async fn describe(&self, found: &Found) -> Result<ResolvedImage, ImagesError> {
        let image = &found.image;
        let mut size = 0;
        for chain in &image.chain {
            size += self.layer_bytes(chain).await?;
        }
        let target = found.records.first().map(|record| record.target.clone());
        let manifest_target = || image_core::Descriptor::new(&image.manifest.media_type, image.manifest_digest, 0);
        Ok(ResolvedImage {
            id: image.id,
            names: tags(&found.records),
            repo_digests: repo_digests(&self.backend, &found.records).await?,
            config: image.config.clone(),
            config_raw: image.config_raw.clone(),
            chain_id: image.chain_id(),
            manifest_digest: image.manifest_digest,
            target: target.unwrap_or_else(manifest_target),
            platform: image.config.platform(),
            created: image.config.created.clone().unwrap_or_default(),
            size,
            parent: found.parent().to_owned(),
            last_tagged: found.records.iter().map(|record| record.updated).max().unwrap_or(std::time::UNIX_EPOCH),
        })
    }

    /// All images with their records. A record whose content is not (or no longer) whole is nobody's image.
    pub(crate) async fn all(&self) -> Result<ById, ImagesError> {
        let mut all = ById::new();
        for record in self.backend.records().await? {
            if Name::parse(&record.name) == Name::Other || !is_image(&record) {
                continue;
            }
            let image = match self.load(&record.target).await {
                Ok(image) => image,
                Err(error) if matches!(error, ImagesError::MissingBlob(_) | ImagesError::Image(_)) => {
                    tracing::debug!(name = record.name, %error, "image record left out");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let found = all.entry(image.id).or_insert_with(|| Found { image, records: Vec::new() });
            found.records.push(record);
        }
        Ok(all)
    }

    /// By name first, by id if nothing has that name, as Docker does.
    pub(crate) async fn find(&self, name: &str) -> Result<Found, ImagesError> {
        let missing = || ImagesError::NoSuchImage(shown(name));
        if let Some(found) = self.find_by_name(name).await? {
            return Ok(found);
        }
        if !could_be_id(name) {
            // A malformed name is told as such, a well-formed one as missing.
            let malformed = Reference::parse_familiar(name).err().filter(|_| name.parse::<Digest>().is_err());
            return Err(malformed.map_or_else(missing, Into::into));
        }
        let mut matching: Vec<Found> = self
            .all()
            .await?
            .into_values()
            .filter(|found| has_prefix(&found.image.id, name) || has_digest(found, name))
            .collect();
        match matching.len() {
            0 => Err(missing()),
            1 => matching.pop().ok_or_else(missing),
            _ => Err(ImagesError::Ambiguous(name.to_owned())),
        }
    }

    async fn find_by_name(&self, name: &str) -> Result<Option<Found>, ImagesError> {
        let Ok(reference) = Reference::parse_familiar(name) else { return Ok(None) };
        let reference = reference.with_default_tag();
        let full = reference.to_string();
        let all = self.all().await?;
        let named = all.values().find(|found| found.records.iter().any(|record| record.name == full));
        let by_digest = || reference.digest().and_then(|digest| find_digest(&all, &reference, digest));
        Ok(named.or_else(by_digest).cloned())
    }
}

/// `repository@sha256:…`: an image of that repository whose target or manifest it is, whatever its tag.
fn find_digest<'a>(all: &'a ById, reference: &Reference, digest: &Digest) -> Option<&'a Found> {
    let name = reference.name();
    let same_repository = |record: &Record| match Name::parse(&record.name) {
        Name::Reference(own) => own.name() == name,
        _ => false,
    };
    all.values().find(|found| {
        found.records.iter().any(|record| {
            let is_it = record.target.digest == *digest || found.image.manifest_digest == *digest;
            is_it && same_repository(record)
        })
    })
}

fn is_image(record: &Record) -> bool {
    let kind = &record.target.media_type;
    media_type::is_index(kind) || media_type::is_manifest(kind)
}

/// `sha256:` and digits, or digits alone, at least one.
pub(crate) fn could_be_id(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    (1..=64).contains(&digits.len()) && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

pub(crate) fn has_prefix(id: &Digest, text: &str) -> bool {
    could_be_id(text) && id.hex().starts_with(text.strip_prefix("sha256:").unwrap_or(text))
}

/// A whole digest also finds the manifest or index that has it.
fn has_digest(found: &Found, text: &str) -> bool {
    let Ok(digest) = text.parse::<Digest>() else { return false };
    found.image.manifest_digest == digest || found.records.iter().any(|record| record.target.digest == digest)
}

/// `x` is shown as `x:latest`, as Docker shows it; what is no reference as it is.
pub(crate) fn shown(name: &str) -> String {
    match Reference::parse_familiar(name) {
        Ok(reference) => reference.with_default_tag().familiar(),
        Err(_) => name.to_owned(),
    }
}

pub(crate) fn tags(records: &[Record]) -> Vec<String> {
    let tag = |record: &Record| match Name::parse(&record.name) {
        Name::Reference(reference) if reference.digest().is_none() => Some(reference.familiar()),
        _ => None,
    };
    records.iter().filter_map(tag).collect()
}

/// `repository@digest` for each repository that a record names and that the target came from or went to.
pub(crate) async fn repo_digests(backend: &Backend, records: &[Record]) -> Result<Vec<String>, ImagesError> {
    let mut found: Vec<String> = Vec::new();
    for record in records {
        let Name::Reference(reference) = Name::parse(&record.name) else { continue };
        let exchanged = reference.digest().is_some() || {
            let info = backend.blob_info(&record.target.digest).await?;
            info.is_some_and(|info| {
                sources(&info.labels, reference.domain()).iter().any(|path| path == reference.path())
            })
        };
        let digest = reference.with_digest(record.target.digest).familiar();
        if exchanged && !found.contains(&digest) {
            found.push(digest);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_recognised_in_every_length() {
        let id = Digest::of("x");
        let text = id.to_string();
        for part in [&text[..], &text[..19], &text[7..], &text[7..19], &text[7..8]] {
            assert!(has_prefix(&id, part), "{part}");
        }
        for other in ["", "sha256:", "xyz", "sha256", &text[8..20]] {
            assert!(!has_prefix(&id, other), "{other}");
        }
    }

    #[test]
    fn a_missing_name_is_shown_with_its_tag() {
        assert_eq!(shown("busybox"), "busybox:latest");
        assert_eq!(shown("a@sha256:x"), "a@sha256:x");
    }
}
