//! Builds: a context and a Dockerfile become an image.
//!
//! Entry point: [`Builder::build`]. Each step of a stage is looked up in the cache under a key that follows from what it
//! reads; what is not there is made: RUN in a container of the daemon's own ([`Runs`]), COPY and ADD as a layer that is
//! written straight from the context's archive, everything else in the configuration. Layers are kept through
//! [`Images`] for as long as the cache has the step; the daemon wires both.
//!
//! Invariants: a context is never unpacked, except into folders of its own for RUN's mounts: its files are found in an index over
//! its archive, so that no link or name of it leads anywhere. Paths of images are resolved inside of them by descriptor.
//! The cache is the one thing that this crate owns, in the table `build-cache`; it can be rebuilt. A secret is in no key,
//! layer, history or log.

mod agents;
mod builder;
mod cache;
mod cache_mounts;
mod cancel;
mod context;
mod emulation;
mod error;
mod fetch;
mod files;
mod fill;
mod hints;
mod layer;
mod lent;
mod linked;
mod made;
mod messages;
mod metadata_steps;
mod mounts;
mod output;
mod owners;
mod parallel;
mod paths;
mod ports;
mod progress;
mod remote;
mod remote_cache;
mod request;
mod rootfs;
mod run;
mod squash;
mod stage;
mod state;
mod transfer;
mod transfer_step;
mod tree;

pub use builder::{Builder, BuilderConfig};
pub use cache::{CacheRecord, PruneFilter, Pruned};
pub use error::BuildError;
pub use files::{ImageFile, ImageFiles};
pub use lent::{Agent, ClientSession, Contents, ContextEntry, ContextFiles, ContextKind};
pub use made::{Made, Material};
pub use output::{Line, Output, Stream, lines, steps};
pub use ports::{
    Assembled, AssembledImage, Assembly, HeldLayers, Image, Images, LayerStream, PortError, RunRequest, Runs,
    Statement, View,
};
pub use progress::{Progress, StepId};
pub use remote_cache::{CacheMode, CachePlace, CacheSource, CacheStore, CacheTarget};
pub use request::{BuildRequest, BuildSecret, ContextSource, IgnoreFile, Resources, Secrets};

pub use registry_client::{BlobSource, Credentials, Repository};
