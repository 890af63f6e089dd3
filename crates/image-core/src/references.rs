//! Labels by which containerd's garbage collector finds what a document refers to (containerd docs/garbage-collection.md).

use ids::Digest;

use crate::{Descriptor, Document};

/// What comes before the number of a layer, of an index's manifest, and the configuration's label.
const LAYER: &str = "containerd.io/gc.ref.content.l.";
const ENTRY: &str = "containerd.io/gc.ref.content.m.";
const CONFIG: &str = "containerd.io/gc.ref.content.config";

/// Keys and values for the blob that a document is.
pub fn reference_labels(document: &Document) -> Vec<(String, String)> {
    match document {
        Document::Manifest(manifest) => manifest_labels(&manifest.config.digest, &manifest.layers).collect(),
        Document::Index(index) => index_labels(&index.manifests).collect(),
    }
}

/// The same for a manifest of this configuration and these layers.
pub fn manifest_labels(config: &Digest, layers: &[Descriptor]) -> impl Iterator<Item = (String, String)> {
    numbered(LAYER, layers).chain([(CONFIG.to_owned(), config.to_string())])
}

/// The same for an index of these entries, those too that are not in the store.
pub fn index_labels(entries: &[Descriptor]) -> impl Iterator<Item = (String, String)> {
    numbered(ENTRY, entries)
}

/// The same for a configuration: the topmost snapshot, and with it all below.
pub fn snapshot_label(snapshotter: &str, chain_id: &str) -> (String, String) {
    (format!("containerd.io/gc.ref.snapshot.{snapshotter}"), chain_id.to_owned())
}

fn numbered(prefix: &'static str, blobs: &[Descriptor]) -> impl Iterator<Item = (String, String)> {
    blobs.iter().enumerate().map(move |(at, blob)| (format!("{prefix}{at}"), blob.digest.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media_type;

    #[test]
    fn a_manifest_holds_its_layers_in_order_and_its_configuration() {
        let blob = |name: &str| Descriptor::new(media_type::OCI_LAYER, Digest::of(name), 1);
        let labels: Vec<_> = manifest_labels(&Digest::of("c"), &[blob("a"), blob("b")]).collect();
        let expected = [
            (format!("{LAYER}0"), Digest::of("a").to_string()),
            (format!("{LAYER}1"), Digest::of("b").to_string()),
            (CONFIG.to_owned(), Digest::of("c").to_string()),
        ];
        assert_eq!(labels, expected);
    }
}
