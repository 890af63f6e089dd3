//! Which manifest of an index runs here.

use crate::{Descriptor, ImageError, Index, Platform};

/// The best entry for `platform`. Entries of the same rank: the first wins, as in Docker.
pub fn choose<'a>(index: &'a Index, platform: &Platform) -> Result<&'a Descriptor, ImageError> {
    candidates(index, platform).first().copied().ok_or_else(|| ImageError::NoMatch(platform.to_string()))
}

/// All entries that run on `platform`, best first. Entries without a platform come last: only their configuration says
/// what they are. Attestations are nobody's.
pub fn candidates<'a>(index: &'a Index, platform: &Platform) -> Vec<&'a Descriptor> {
    let mut ranked: Vec<(usize, &Descriptor)> = index
        .manifests
        .iter()
        .filter(|entry| !entry.is_attestation())
        .filter_map(|entry| match &entry.platform {
            Some(offered) if !offered.os.is_empty() => platform.rank(offered).map(|rank| (rank, entry)),
            _ => Some((usize::MAX, entry)),
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, entry)| entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media_type;
    use ids::Digest;

    fn entry(name: &str, platform: Option<Platform>) -> Descriptor {
        let mut entry = Descriptor::new(media_type::OCI_MANIFEST, Digest::of(name), 1);
        entry.platform = platform;
        entry
    }

    fn index(manifests: Vec<Descriptor>) -> Index {
        Index { schema_version: 2, media_type: media_type::OCI_INDEX.to_owned(), manifests, annotations: None }
    }

    #[test]
    fn the_nearest_platform_wins_and_attestations_never_do() {
        let mut attestation = entry("attestation", Some(Platform::new("linux", "amd64", "")));
        attestation.annotations =
            Some([("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned())].into());
        let index = index(vec![
            attestation,
            entry("unknown", Some(Platform::new("unknown", "unknown", ""))),
            entry("386", Some(Platform::new("linux", "386", ""))),
            entry("amd64", Some(Platform::new("linux", "amd64", ""))),
        ]);
        let chosen = choose(&index, &Platform::new("linux", "amd64", "")).unwrap();
        assert_eq!(chosen.digest, Digest::of("amd64"));
        let error = choose(&index, &Platform::new("linux", "s390x", "")).unwrap_err().to_string();
        assert_eq!(error, "no matching manifest for linux/s390x in the manifest list entries");
    }

    #[test]
    fn an_entry_without_platform_is_the_last_resort() {
        let index = index(vec![entry("any", None), entry("amd64", Some(Platform::new("linux", "amd64", "")))]);
        let all = candidates(&index, &Platform::new("linux", "amd64", ""));
        assert_eq!(all.iter().map(|e| e.digest).collect::<Vec<_>>(), [Digest::of("amd64"), Digest::of("any")]);
    }
}
