//! What an image is: manifests, indexes, configurations, platforms, and the decisions made over them.
//!
//! Entry points: [`Document::parse`] for what a registry or a content store answers under a manifest's digest,
//! [`ImageConfig::parse`] for a configuration, [`choose`] for the manifest of a platform in an index. The OCI image
//! specification and Docker's manifest schema 2 are read alike.
//!
//! Invariants: no I/O, no clock, no randomness. Digests are always over the bytes as received: nothing parsed is ever
//! serialised again to find its digest. Every input is bounded before it is parsed.

mod chain;
mod changes;
mod choice;
mod config;
mod descriptor;
mod error;
pub mod layout;
mod manifest;
mod merge;
mod platform;
mod references;
mod sources;
mod words;

pub use chain::{chain_id, chain_ids};
pub use changes::apply_change;
pub use choice::{candidates, choose};
pub use config::{ContainerConfig, Healthcheck, History, ImageConfig, RootFs};
pub use descriptor::{Descriptor, media_type};
pub use error::ImageError;
pub use manifest::{Document, Index, Manifest};
pub use merge::{apply_changes, merge_container};
pub use platform::Platform;
pub use references::{index_labels, manifest_labels, reference_labels, snapshot_label};
pub use sources::{source_key, source_label, sources};

/// The most bytes of a manifest or an index: what containerd and Docker read of one.
pub const MAX_MANIFEST_BYTES: usize = 4 << 20;
/// The most bytes of a configuration.
pub const MAX_CONFIG_BYTES: usize = 8 << 20;
