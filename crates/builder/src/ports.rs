//! What builds need from their neighbours, declared by the consumer. dockerd wires them in.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use container_core::{Config, HostConfig};
use errors::{ErrorKind, Kind};
use futures_core::Stream;
use ids::{Digest, Reference};
use image_core::{Descriptor, ImageConfig, chain_ids};
use registry_client::{BlobSource, Credentials, Repository};
use serde::{Deserialize, Serialize};

use crate::output::Output;

/// A neighbour's failure: its text is shown as it is.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct PortError {
    pub kind: ErrorKind,
    pub message: String,
}

impl Kind for PortError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// A plain layer as it is made.
pub type LayerStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// An image in the making: its configuration, and where its layers are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Image {
    pub config: ImageConfig,
    pub layers: Vec<Descriptor>,
    /// Types of the OCI's instead of Docker's.
    pub oci: bool,
}

impl Image {
    /// The image's id as it is now; empty for one without anything in it.
    pub fn id(&self) -> String {
        if self.config.history.is_empty() && self.layers.is_empty() {
            return String::new();
        }
        Digest::of(self.config.to_bytes()).to_string()
    }

    /// The name of the topmost snapshot; empty without layers.
    pub fn chain_id(&self) -> String {
        chain_ids(&self.config.rootfs.diff_ids).last().map(Digest::to_string).unwrap_or_default()
    }
}

/// A look at an image's layers.
#[derive(Debug)]
pub struct View {
    /// The uppermost first.
    pub directories: Vec<PathBuf>,
    pub key: String,
}

/// The image store.
#[async_trait]
pub trait Images: Send + Sync {
    /// By any name; unpacked. [`ErrorKind::NotFound`] where it is not in the store, or not for this platform.
    async fn find(&self, name: &str, platform: Option<&str>) -> Result<(String, Image), PortError>;
    async fn pull(
        &self,
        name: &str,
        platform: Option<&str>,
        credentials: Credentials,
        output: &Output,
    ) -> Result<(), PortError>;
    /// Stores and unpacks a layer. `owner` keeps it until [`Images::forget_layers`].
    async fn add_layer(&self, owner: &str, below: &Image, layer: LayerStream) -> Result<Descriptor, PortError>;
    /// What only these kept is gone when this returns.
    async fn forget_layers(&self, owners: &[String]) -> Result<(), PortError>;
    /// Owners that keep a layer.
    async fn layer_owners(&self) -> Result<Vec<String>, PortError>;
    /// Whether the layers are still there.
    async fn has_layers(&self, image: &Image) -> Result<bool, PortError>;
    /// Makes an image of it, without a name; answers its id.
    async fn store(&self, image: &Image) -> Result<String, PortError>;
    /// `repository:tag`.
    async fn tag(&self, id: &str, image: &Image, name: &str) -> Result<(), PortError>;
    /// An archive of images, as `docker load` takes it.
    async fn load(&self, archive: LayerStream) -> Result<(), PortError>;
    /// What a name stands for: a manifest, or an index.
    async fn target(&self, name: &str) -> Result<Digest, PortError>;
    /// Writes manifests over images, and an index where there are several or something is said of one.
    async fn assemble(&self, assembly: &Assembly) -> Result<Box<dyn Assembled>, PortError>;
    /// Sends a name of the store to its registry.
    async fn push(&self, name: &str, credentials: Credentials, output: &Output) -> Result<(), PortError>;
    /// Keeps layers in the store while they are sent elsewhere.
    async fn hold(&self) -> Result<Box<dyn HeldLayers>, PortError>;
    /// A repository of a registry, as the daemon's configuration has it.
    fn repository(&self, reference: &Reference, credentials: Credentials) -> Repository;
    async fn view(&self, image: &Image) -> Result<View, PortError>;
    async fn close(&self, view: View) -> Result<(), PortError>;
}

/// Images that belong together, one for each platform, and what is said of them.
#[derive(Debug, Clone, Default)]
pub struct Assembly {
    pub images: Vec<AssembledImage>,
    /// What statements call the images: `repository:tag`.
    pub names: Vec<String>,
    /// Of the index.
    pub annotations: BTreeMap<String, String>,
    /// It is an index even if there is but one image.
    pub is_index: bool,
}

/// One image of an [`Assembly`].
#[derive(Debug, Clone, Default)]
pub struct AssembledImage {
    pub image: Image,
    /// Of its manifest, and of the index's entry for it.
    pub annotations: BTreeMap<String, String>,
    pub descriptor_annotations: BTreeMap<String, String>,
    pub statements: Vec<Statement>,
}

/// What is said of an image: the predicate of an in-toto statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// `https://spdx.dev/Document`.
    pub predicate_type: String,
    pub predicate: serde_json::Value,
}

/// Manifests in the store, which stay there until this is dropped, or for good once they are kept or named.
#[async_trait]
pub trait Assembled: Send + Sync {
    /// The manifest, or the index.
    fn target(&self) -> &Descriptor;
    /// Makes an image of it, without a name.
    async fn keep(&self) -> Result<(), PortError>;
    /// `repository:tag`.
    async fn tag(&self, name: &str) -> Result<(), PortError>;
    /// All of it as an archive, in which it has these names.
    async fn archive(&self, names: &[String]) -> Result<LayerStream, PortError>;
}

/// Layers of the store, which stay there until this is dropped.
#[async_trait]
pub trait HeldLayers: Send + Sync {
    /// The compressed form of a layer, which is always the same.
    async fn compressed(&self, layer: &Descriptor) -> Result<Descriptor, PortError>;
    fn source(&self, blob: &Descriptor) -> BlobSource;
}

/// What a RUN's container is made of.
#[derive(Debug, Clone, Default)]
pub struct RunRequest {
    /// What it lies on; its volumes become anonymous ones.
    pub image: Image,
    pub config: Config,
    pub host_config: HostConfig,
}

/// The daemon's containers.
#[async_trait]
pub trait Runs: Send + Sync {
    /// Answers the container's id.
    async fn create(&self, run: RunRequest) -> Result<String, PortError>;
    /// Starts it, tells what it prints, and answers its exit code.
    async fn run(&self, id: &str, output: &Output) -> Result<i32, PortError>;
    /// What it has changed.
    async fn layer(&self, id: &str) -> Result<LayerStream, PortError>;
    /// Ends and removes what builds of a daemon that died have left running; answers how many.
    async fn remove_left(&self) -> Result<usize, PortError>;
    /// Ends and removes it.
    async fn remove(&self, id: &str) -> Result<(), PortError>;
}
