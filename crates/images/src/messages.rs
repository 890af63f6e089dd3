//! Words that Docker's users know, kept word by word.

use ids::Digest;
use registry_client::RegistryError;

pub(crate) const PULLING_LAYER: &str = "Pulling fs layer";
pub(crate) const WAITING: &str = "Waiting";
pub(crate) const DOWNLOADING: &str = "Downloading";
pub(crate) const VERIFYING: &str = "Verifying Checksum";
pub(crate) const DOWNLOADED: &str = "Download complete";
pub(crate) const EXTRACTING: &str = "Extracting";
pub(crate) const PULLED: &str = "Pull complete";
pub(crate) const PULL_EXISTS: &str = "Already exists";
pub(crate) const LOADING: &str = "Loading layer";
pub(crate) const PREPARING: &str = "Preparing";
pub(crate) const PUSHING: &str = "Pushing";
pub(crate) const PUSHED: &str = "Pushed";
pub(crate) const PUSH_EXISTS: &str = "Layer already exists";

pub(crate) fn pulling_from(path: &str) -> String {
    format!("Pulling from {path}")
}

pub(crate) fn digest(digest: &Digest) -> String {
    format!("Digest: {digest}")
}

pub(crate) fn newer(name: &str) -> String {
    format!("Status: Downloaded newer image for {name}")
}

pub(crate) fn up_to_date(name: &str) -> String {
    format!("Status: Image is up to date for {name}")
}

pub(crate) fn push_refers(name: &str) -> String {
    format!("The push refers to repository [{name}]")
}

pub(crate) fn mounted_from(path: &str) -> String {
    format!("Mounted from {path}")
}

pub(crate) fn pushed(tag: &str, digest: &Digest, size: u64) -> String {
    format!("{tag}: digest: {digest} size: {size}")
}

/// Before something is tried again.
pub(crate) fn retrying(seconds: u64) -> String {
    format!("Retrying in {seconds} second{}", if seconds == 1 { "" } else { "s" })
}

/// Lines of a load.
pub(crate) fn loaded(name: &str) -> String {
    format!("Loaded image: {name}\n")
}

pub(crate) fn loaded_id(id: &Digest) -> String {
    format!("Loaded image ID: {id}\n")
}

pub(crate) fn renaming(name: &str, old: &Digest) -> String {
    format!("The image {name} already exists, renaming the old one with ID {old} to empty string\n")
}

/// What a registry's refusal means to who wanted to pull `reference`, whose repository is `name`.
pub(crate) fn pull_refused(reference: &str, name: &str, error: &RegistryError) -> Option<String> {
    let coded = |code: &str| error.has_code(code);
    if coded("DENIED") || coded("UNAUTHORIZED") || error.status() == Some(401) || error.status() == Some(403) {
        return Some(format!(
            "pull access denied for {name}, repository does not exist or may require 'docker login': {error}"
        ));
    }
    if coded("NAME_UNKNOWN") {
        return Some(format!("repository {name} not found: {error}"));
    }
    let not_found = matches!(error, RegistryError::Api { status: 404, .. });
    (coded("MANIFEST_UNKNOWN") || not_found).then(|| format!("manifest for {reference} not found: {error}"))
}

/// The same for a push.
pub(crate) fn push_refused(error: &RegistryError) -> Option<String> {
    match error {
        RegistryError::NoCredentials => Some("no basic auth credentials".to_owned()),
        other if other.has_code("DENIED") => Some(other.to_string()),
        other if other.status() == Some(401) => Some(other.to_string()),
        _ => None,
    }
}
