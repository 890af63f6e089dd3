//! Manifests: asked for by tag or digest, verified, sent.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use hyper::body::Incoming;
use ids::Digest;
use image_core::{Descriptor, MAX_MANIFEST_BYTES, media_type};

use crate::error::RegistryError;
use crate::repository::{Access, Ask, Repository};
use crate::transport::{content_type, full, read_bounded};

/// A manifest or index as it came. The digest is that of the bytes.
#[derive(Debug, Clone)]
pub struct FetchedManifest {
    pub bytes: Bytes,
    pub digest: Digest,
    /// The answer's Content-Type.
    pub media_type: String,
}

impl Repository {
    /// What a tag or digest stands for, without its content where the registry tells it so.
    pub async fn resolve(&self, target: &str) -> Result<Descriptor, RegistryError> {
        let path = format!("{}/manifests/{target}", self.path());
        let mut ask = Ask::new(Method::HEAD, &path, Access::Pull);
        ask.headers = accept();
        match self.ask(&ask).await {
            Ok(answer) => {
                if let (Some(digest), Some(size)) = (said_digest(answer.headers()), said_size(answer.headers())) {
                    return Ok(Descriptor::new(content_type(&answer), digest, size));
                }
            }
            // An answer to HEAD has no body: what is wrong is told to GET only.
            Err(error) if error.status().is_some() => {}
            Err(error) => return Err(error),
        }
        let fetched = self.manifest(target).await?;
        Ok(Descriptor::new(&fetched.media_type, fetched.digest, fetched.bytes.len() as u64))
    }

    /// The content of a tag or digest.
    pub async fn manifest(&self, target: &str) -> Result<FetchedManifest, RegistryError> {
        let path = format!("{}/manifests/{target}", self.path());
        let mut ask = Ask::new(Method::GET, &path, Access::Pull);
        ask.headers = accept();
        let answer = self.ask(&ask).await?;
        let media_type = content_type(&answer).split(';').next().unwrap_or_default().trim().to_owned();
        let said = said_digest(answer.headers());
        let bytes = read_manifest(answer.into_body()).await?;
        let digest = Digest::of(&bytes);
        let wanted = target.parse::<Digest>().ok().or(said);
        match wanted {
            Some(wanted) if wanted != digest => Err(RegistryError::Digest(wanted)),
            _ => Ok(FetchedManifest { bytes, digest, media_type }),
        }
    }

    /// Stores a manifest under a tag or its digest.
    pub async fn put_manifest(&self, target: &str, media_type: &str, bytes: Bytes) -> Result<Digest, RegistryError> {
        let path = format!("{}/manifests/{target}", self.path());
        let digest = Digest::of(&bytes);
        let body = move || full(bytes.clone());
        let mut ask = Ask::new(Method::PUT, &path, Access::Push);
        let value = HeaderValue::from_str(media_type).map_err(|_| RegistryError::Protocol("media type".to_owned()))?;
        ask.headers.insert(header::CONTENT_TYPE, value);
        ask.body = Some(&body);
        let answer = self.ask(&ask).await?;
        match said_digest(answer.headers()) {
            Some(stored) if stored != digest => Err(RegistryError::Digest(digest)),
            _ => Ok(digest),
        }
    }
}

async fn read_manifest(body: Incoming) -> Result<Bytes, RegistryError> {
    read_bounded(body, "manifest", MAX_MANIFEST_BYTES as u64).await
}

fn accept() -> HeaderMap {
    media_type::ACCEPTED.iter().map(|kind| (header::ACCEPT, HeaderValue::from_static(kind))).collect()
}

fn said_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get("docker-content-digest")?.to_str().ok()?.parse().ok()
}

fn said_size(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok().filter(|size| *size > 0)
}
