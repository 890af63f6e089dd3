//! Manifests at their registries.

use engine_api::auth::AuthConfig;
use engine_api::image::{Descriptor, Platform};
use ids::Reference;
use image_core::{Document, ImageConfig, Index, MAX_CONFIG_BYTES, Manifest};
use registry_client::{
    Credentials, FetchedManifest, Registries, RegistryError, RegistryOptions, Repository, Secret, Verify,
};

use super::store::Stored;
use crate::context::Context;
use crate::failure::Failure;

/// What a reference stands for.
pub enum Remote {
    Image(Stored),
    List(Index),
}

/// The repository of a reference, asked with this user's credentials.
pub fn repository(context: &Context, reference: &Reference, insecure: bool) -> Repository {
    let mut options = RegistryOptions::default();
    if insecure {
        options.insecure.push(reference.domain().to_owned());
    }
    let auth = context.config.auth_for(&reference.name());
    Registries::new(options).repository(reference, credentials(auth))
}

fn credentials(auth: AuthConfig) -> Credentials {
    let secret = |secret: &engine_api::auth::Secret| Secret::new(secret.expose());
    if !auth.registry_token.is_empty() {
        return Credentials::RegistryToken(secret(&auth.registry_token));
    }
    if !auth.identity_token.is_empty() {
        return Credentials::IdentityToken { token: secret(&auth.identity_token), username: auth.username };
    }
    if auth.username.is_empty() {
        return Credentials::Anonymous;
    }
    Credentials::Password { password: secret(&auth.password), username: auth.username }
}

/// Asks a registry what the reference stands for; an image's platform is read from its configuration.
pub async fn fetch(repository: &Repository, reference: &Reference) -> Result<Remote, Failure> {
    let wanted = match reference.digest() {
        Some(digest) => digest.to_string(),
        None => reference.tag().unwrap_or_default().to_owned(),
    };
    let fetched = repository.manifest(&wanted).await.map_err(|error| refused(reference, error))?;
    match Document::parse(&fetched.bytes, &fetched.media_type, &reference.to_string()).map_err(failed)? {
        Document::Index(index) => Ok(Remote::List(index)),
        Document::Manifest(manifest) => image(repository, reference, &fetched, &manifest).await.map(Remote::Image),
    }
}

async fn image(
    repository: &Repository,
    reference: &Reference,
    fetched: &FetchedManifest,
    manifest: &Manifest,
) -> Result<Stored, Failure> {
    let size = manifest.config.size;
    if size > MAX_CONFIG_BYTES as u64 {
        return Err(Failure::Text(format!("configuration of {reference} is larger than {MAX_CONFIG_BYTES} bytes")));
    }
    let mut raw = Vec::new();
    let mut reader = repository.blob(manifest.config.digest, size, 0, Verify::Here).await.map_err(failed)?;
    while let Some(piece) = reader.next().await.map_err(failed)? {
        raw.extend_from_slice(&piece);
    }
    let config = ImageConfig::parse(&raw).map_err(failed)?;
    let descriptor = Descriptor {
        media_type: manifest.media_type.clone(),
        digest: fetched.digest.to_string(),
        size: i64::try_from(fetched.bytes.len()).unwrap_or(i64::MAX),
        platform: Some(Platform {
            architecture: config.architecture,
            os: config.os,
            os_version: config.os_version,
            variant: config.variant,
            ..Platform::default()
        }),
        ..Descriptor::default()
    };
    Stored::new(reference, descriptor, &fetched.bytes)
}

fn refused(reference: &Reference, error: RegistryError) -> Failure {
    let hidden = ["UNAUTHORIZED", "DENIED", "NAME_UNKNOWN", "MANIFEST_UNKNOWN"].iter().any(|code| error.has_code(code));
    if hidden || matches!(error.status(), Some(401 | 403 | 404)) {
        return Failure::Text(format!("no such manifest: {reference}"));
    }
    failed(error)
}

pub fn failed(error: impl std::error::Error + 'static) -> Failure {
    Failure::Text(errors::chain(&error))
}
