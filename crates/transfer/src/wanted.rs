//! Which of an index's entries a transfer is about.

use containerd_api::types;
use containerd_api::types::transfer::ImageStore;
use ids::Digest;
use image_core::{Descriptor, Index, Platform};

use crate::error::TransferError;

/// Platforms, best first; none stands for all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    pub platforms: Vec<Platform>,
    /// Manifest and configuration of the other platforms, too.
    pub metadata: bool,
    /// At most so many entries of an index; 0 for all.
    pub limit: usize,
}

/// An entry of an index that is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Child {
    pub descriptor: Descriptor,
    /// Whether its layers are wanted, or only what describes them.
    pub layers: bool,
}

impl Wanted {
    pub fn of(store: &ImageStore) -> Self {
        Self {
            platforms: store.platforms.iter().map(platform).collect(),
            metadata: store.all_metadata,
            limit: store.manifest_limit as usize,
        }
    }

    pub fn platforms(platforms: Vec<Platform>) -> Self {
        Self { platforms, ..Self::default() }
    }

    /// Whether this platform is one of those; nobody's is everybody's.
    pub fn matches(&self, offered: Option<&Platform>) -> bool {
        self.rank(offered).is_some()
    }

    /// What to follow, in the index's order, or best first where only some are wanted.
    pub fn children(&self, digest: &Digest, index: &Index) -> Result<Vec<Child>, TransferError> {
        let mut ranked: Vec<_> =
            index.manifests.iter().map(|entry| (self.rank(entry.platform.as_ref()), entry)).collect();
        let found = ranked.iter().any(|(rank, _)| rank.is_some());
        if !found && !index.manifests.is_empty() {
            return Err(TransferError::NotFound(format!("no match for platform in manifest {digest}")));
        }
        if self.limit > 0 {
            ranked.retain(|(rank, _)| rank.is_some());
            ranked.sort_by_key(|(rank, _)| *rank);
            ranked.truncate(self.limit);
        }
        let followed = ranked.into_iter().filter(|(rank, _)| rank.is_some() || self.metadata);
        Ok(followed.map(|(rank, entry)| Child { descriptor: entry.clone(), layers: rank.is_some() }).collect())
    }

    fn rank(&self, offered: Option<&Platform>) -> Option<(usize, usize)> {
        match offered.filter(|offered| !offered.os.is_empty()) {
            Some(offered) if !self.platforms.is_empty() => self
                .platforms
                .iter()
                .enumerate()
                .find_map(|(at, platform)| platform.rank(offered).map(|rank| (at, rank))),
            _ => Some((usize::MAX, 0)),
        }
    }
}

pub(crate) fn platform(given: &types::Platform) -> Platform {
    Platform::new(&given.os, &given.architecture, &given.variant).normalized()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image_core::media_type;

    fn index() -> Index {
        let entry = |architecture: &str| {
            let mut entry = Descriptor::new(media_type::OCI_MANIFEST, Digest::of(architecture), 1);
            entry.platform = Some(Platform::new("linux", architecture, ""));
            entry
        };
        let manifests = vec![entry("s390x"), entry("amd64"), entry("unknown")];
        Index { schema_version: 2, media_type: media_type::OCI_INDEX.to_owned(), manifests, annotations: None }
    }

    fn followed(wanted: &Wanted) -> Vec<(String, bool)> {
        let children = wanted.children(&Digest::of("i"), &index()).expect("children");
        let architecture = |child: &Child| child.descriptor.platform.clone().expect("platform").architecture;
        children.iter().map(|child| (architecture(child), child.layers)).collect()
    }

    #[test]
    fn entries_are_chosen_by_platform_and_others_told_of_where_asked() {
        let pair = |name: &str, layers| (name.to_owned(), layers);
        assert_eq!(followed(&Wanted::default()).len(), 3);
        let amd64 = Wanted::platforms(vec![Platform::new("linux", "amd64", "")]);
        assert_eq!(followed(&amd64), [pair("amd64", true)]);
        let metadata = Wanted { metadata: true, ..amd64.clone() };
        assert_eq!(followed(&metadata), [pair("s390x", false), pair("amd64", true), pair("unknown", false)]);
        let platforms = vec![Platform::new("linux", "amd64", ""), Platform::new("linux", "s390x", "")];
        let first = Wanted { platforms, limit: 1, ..Wanted::default() };
        assert_eq!(followed(&first), [pair("amd64", true)]);
        let none = Wanted::platforms(vec![Platform::new("linux", "riscv64", "")]);
        let error = none.children(&Digest::of("i"), &index()).expect_err("none").to_string();
        assert!(error.starts_with("no match for platform in manifest sha256:"), "{error}");
    }
}
