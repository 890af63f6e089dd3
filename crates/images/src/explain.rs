//! Who holds each byte of the store: for every blob, every unpacked layer and every half-done download, the images,
//! containers, builds and operations that need it. What nobody needs is said to be held by nobody: it goes with the
//! collector's next look.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use ids::Digest;
use image_core::Document;

use crate::error::ImagesError;
use crate::holdings::on_disk;
use crate::resolve::{ById, Found, tags};
use crate::service::Images;

/// Something in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub kind: StoredKind,
    /// A digest, a snapshot's key or an ingest's.
    pub id: String,
    /// Bytes on disk.
    pub bytes: u64,
    pub holders: BTreeSet<Holder>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoredKind {
    /// An unpacked layer, or what a container wrote.
    Snapshot,
    Blob,
    /// A blob of which a part has come.
    Ingest,
}

impl StoredKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Blob => "blob",
            Self::Ingest => "ingest",
        }
    }
}

/// Who needs it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// By its names, by its id without one.
    Image(String),
    Container(String),
    /// A record of the build cache.
    BuildCache(String),
    /// Something under way: `pull`, `load`.
    Operation(String),
    /// Of a lease that is not the daemon's.
    Lease(String),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(name) => write!(f, "image {name}"),
            Self::Container(name) => write!(f, "container {name}"),
            Self::BuildCache(id) => write!(f, "build cache {id}"),
            Self::Operation(word) => write!(f, "{word} under way"),
            Self::Lease(id) => write!(f, "lease {id}"),
        }
    }
}

/// Of one kind, by id.
type Holders = HashMap<String, BTreeSet<Holder>>;

/// What is known of the holders before the store is gone through.
#[derive(Default)]
struct Claims {
    blobs: Holders,
    snapshots: Holders,
    ingests: Holders,
}

impl Images {
    /// All of the store, the largest first. `containers` are names by the keys of the snapshots that they write to.
    pub async fn explain(&self, containers: &HashMap<String, String>) -> Result<Vec<Stored>, ImagesError> {
        let mut claims = Claims::default();
        self.claim_for_images(&self.all().await?, &mut claims).await?;
        self.claim_for_leases(&mut claims).await?;
        for (key, name) in containers {
            claims.snapshots.entry(key.clone()).or_default().insert(Holder::Container(name.clone()));
        }
        let snapshots = self.backend.snapshots().await?;
        hand_down(&mut claims.snapshots, &snapshots.iter().cloned().collect());
        let mut stored = Vec::new();
        for (key, _) in snapshots {
            let bytes = match self.backend.snapshot_bytes(&key).await {
                Err(error) if error.is_not_found() => continue,
                answer => answer?,
            };
            stored.push(Stored::new(StoredKind::Snapshot, key, bytes, &mut claims.snapshots));
        }
        for (digest, size) in self.backend.blob_sizes().await? {
            stored.push(Stored::new(StoredKind::Blob, digest.to_string(), on_disk(size), &mut claims.blobs));
        }
        for ingest in self.backend.ingests().await? {
            stored.push(Stored::new(StoredKind::Ingest, ingest.key, on_disk(ingest.offset), &mut claims.ingests));
        }
        stored.sort_by(|one, other| {
            other.bytes.cmp(&one.bytes).then_with(|| (one.kind, &one.id).cmp(&(other.kind, &other.id)))
        });
        Ok(stored)
    }

    async fn claim_for_images(&self, all: &ById, claims: &mut Claims) -> Result<(), ImagesError> {
        for found in all.values() {
            let holder = Holder::Image(named(found));
            for chain in &found.image.chain {
                claims.snapshots.entry(chain.to_string()).or_default().insert(holder.clone());
            }
            for digest in self.blobs_of(found).await? {
                claims.blobs.entry(digest.to_string()).or_default().insert(holder.clone());
            }
        }
        Ok(())
    }

    async fn blobs_of(&self, found: &Found) -> Result<BTreeSet<Digest>, ImagesError> {
        let mut blobs = BTreeSet::new();
        for record in &found.records {
            for (descriptor, document) in self.documents_below(&record.target).await? {
                blobs.insert(descriptor.digest);
                if let Document::Manifest(manifest) = document {
                    blobs.extend(manifest.layers.iter().chain([&manifest.config]).map(|blob| blob.digest));
                }
            }
        }
        Ok(blobs)
    }

    async fn claim_for_leases(&self, claims: &mut Claims) -> Result<(), ImagesError> {
        let snapshots = format!("snapshots/{}", self.backend.snapshotter());
        for lease in self.backend.lease_ids().await? {
            let holder = holder_of_lease(&lease);
            for kept in self.backend.kept_by(&lease).await? {
                let claimed = match kept.kind.as_str() {
                    "content" => &mut claims.blobs,
                    "ingests" => &mut claims.ingests,
                    kind if kind == snapshots => &mut claims.snapshots,
                    _ => continue,
                };
                claimed.entry(kept.id).or_default().insert(holder.clone());
            }
        }
        Ok(())
    }
}

impl Stored {
    fn new(kind: StoredKind, id: String, bytes: u64, claims: &mut Holders) -> Self {
        let holders = claims.remove(&id).unwrap_or_default();
        Self { kind, id, bytes, holders }
    }
}

fn named(found: &Found) -> String {
    let names = tags(&found.records);
    if names.is_empty() { found.image.id.to_string() } else { names.join(", ") }
}

/// Who needs a snapshot needs all that it lies on.
fn hand_down(claims: &mut Holders, parents: &BTreeMap<String, String>) {
    let direct: Vec<(String, BTreeSet<Holder>)> =
        claims.iter().map(|(key, holders)| (key.clone(), holders.clone())).collect();
    for (key, holders) in direct {
        // Each step leads down; no chain is longer than there are snapshots.
        let below = std::iter::successors(parents.get(&key), |parent| parents.get(*parent)).take(parents.len());
        for parent in below.filter(|parent| !parent.is_empty()) {
            claims.entry(parent.clone()).or_default().extend(holders.iter().cloned());
        }
    }
}

fn holder_of_lease(id: &str) -> Holder {
    match id.strip_prefix(crate::lease::PREFIX).and_then(|rest| rest.split_once('-')) {
        Some(("build", owner)) => Holder::BuildCache(owner.replacen('-', ":", 1)),
        Some((operation, _)) => Holder::Operation(operation.to_owned()),
        None => Holder::Lease(id.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_needs_a_snapshot_needs_those_below() {
        let parents = [("top", "middle"), ("middle", "bottom"), ("bottom", ""), ("alone", "")];
        let parents = parents.map(|(key, parent)| (key.to_owned(), parent.to_owned())).into();
        let container = Holder::Container("web".to_owned());
        let mut claims: Holders = [("top".to_owned(), [container.clone()].into())].into();
        hand_down(&mut claims, &parents);
        for key in ["top", "middle", "bottom"] {
            assert_eq!(claims[key], [container.clone()].into(), "{key}");
        }
        assert_eq!(claims.len(), 3);
    }

    #[test]
    fn a_lease_says_what_it_is_for() {
        for (id, expected) in [
            ("longshore-build-sha256-abc1", "build cache sha256:abc1"),
            ("longshore-pull-0123-4567", "pull under way"),
            ("k8s-something", "lease k8s-something"),
        ] {
            assert_eq!(holder_of_lease(id).to_string(), expected);
        }
    }
}
