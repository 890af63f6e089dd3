//! Images, as dockerd's users know them: pulled, pushed, listed, named, imported, saved, loaded, removed.
//!
//! Entry point: [`Images`]. The one image store is containerd's: content, image records and snapshots of the namespace
//! that the service is given; this crate keeps nothing on disk itself and has only caches of what never changes (a digest's
//! content, a chain's size).
//!
//! An image is a configuration digest, its id, with one or more manifests and any number of names. A name is a record
//! under a full reference (`docker.io/library/x:latest`); what lost its last name is kept under
//! `moby-dangling@sha256:…`. Layers are unpacked through containerd's diff service onto snapshots named by chain id, with
//! containerd's own keys and labels, so that `ctr` sees normal images.
//!
//! Who uses an image is asked through [`ImageUsers`], events go to an [`EventSink`]; the daemon implements both. No HTTP
//! and no type of the Engine API appears here.

mod assemble;
mod backend;
mod blobs;
mod build;
mod build_cache;
mod commit;
mod error;
mod events;
mod explain;
mod flights;
mod history;
mod holdings;
mod import;
mod last_use;
mod layers;
mod lease;
mod limit;
mod list;
mod load;
mod loaded;
mod login;
mod messages;
mod name;
mod progress;
mod prune;
mod pull;
mod push;
mod recode;
mod remote;
mod remove;
mod remove_platform;
mod resolve;
mod save;
mod service;
mod slots;
mod tag;
mod unpack;
mod usage;

pub use assemble::{Assembled, AssembledImage, Assembly};
pub use build::{BuildImage, LayerView};
pub use build_cache::HeldLayers;
pub use commit::CommitRequest;
pub use error::ImagesError;
pub use events::{EventSink, ImageEvent, ImageEventKind, ImageUser, ImageUsers};
pub use explain::{Holder, Stored, StoredKind};
pub use history::HistoryLine;
pub use holdings::{ManifestKind, ManifestSummary};
pub use import::ImportRequest;
pub use list::{ImageSummary, ListFilters};
pub use load::LoadRequest;
pub use progress::{Progress, ProgressSender, PushResult};
pub use prune::{PruneFilters, Pruned};
pub use pull::PullRequest;
pub use push::PushRequest;
pub use recode::ByteStream;
pub use remote::{RemoteImage, SearchRequest};
pub use remove::{RemoveOptions, Removed};
pub use resolve::ResolvedImage;
pub use save::SaveRequest;
pub use service::{Images, ImagesConfig};
pub use usage::{BuildLayers, Usage};

pub use image_core::{ContainerConfig, Healthcheck, ImageConfig, Platform};
pub use registry_client::{Credentials, RegistryOptions, SearchHit, Secret};
