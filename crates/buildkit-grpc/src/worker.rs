//! Who builds, in BuildKit's terms: one worker.

use buildkit_api::pb::Platform;
use buildkit_api::types::{BuildkitVersion, WorkerRecord};

use crate::Identity;

pub(crate) fn record(identity: &Identity) -> WorkerRecord {
    let host = image_core::Platform::host();
    let platform =
        Platform { architecture: host.architecture, os: host.os, variant: host.variant, ..Platform::default() };
    // By the second clients know that images of several platforms are kept, and archives and caches exported.
    let labels = [("executor", "containerd"), ("snapshotter", "overlayfs")];
    let labels = labels.map(|(name, value)| (format!("org.mobyproject.buildkit.worker.{name}"), value.to_owned()));
    WorkerRecord {
        id: identity.id.clone(),
        labels: labels.into(),
        platforms: vec![platform],
        buildkit_version: Some(version(identity)),
        ..WorkerRecord::default()
    }
}

pub(crate) fn version(identity: &Identity) -> BuildkitVersion {
    BuildkitVersion {
        package: "github.com/moby/buildkit".to_owned(),
        version: identity.version.clone(),
        revision: identity.revision.clone(),
        dockerfile_version: String::new(),
    }
}
