//! What is asked of registries without pulling: a search, and what a name stands for.

use bytes::Bytes;
use ids::Reference;
use image_core::{Descriptor, Document, ImageConfig, MAX_CONFIG_BYTES, Platform};
use registry_client::{Credentials, SearchHit};

use crate::blobs::fetch_small;
use crate::error::ImagesError;
use crate::pull::refused;
use crate::recode::ByteStream;
use crate::service::Images;

/// Search results that are asked for unless the caller says how many, and the most.
const DEFAULT_HITS: u32 = 25;
const MAX_HITS: u32 = 100;

/// A search of a registry's catalogue.
#[derive(Debug, Clone, Default)]
pub struct SearchRequest {
    /// A word, or `registry.example/word`.
    pub term: String,
    pub limit: Option<i64>,
    pub is_official: Option<bool>,
    pub is_automated: Option<bool>,
    /// At least so many.
    pub stars: i64,
    pub credentials: Credentials,
}

/// What a name stands for at its registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteImage {
    pub descriptor: Descriptor,
    pub platforms: Vec<Platform>,
}

impl Images {
    pub async fn search(&self, request: &SearchRequest) -> Result<Vec<SearchHit>, ImagesError> {
        let limit = match request.limit.unwrap_or(0) {
            0 => DEFAULT_HITS,
            limit => u32::try_from(limit).ok().filter(|limit| (1..=MAX_HITS).contains(limit)).unwrap_or(0),
        };
        if limit == 0 {
            return Err(ImagesError::SearchLimit(request.limit.unwrap_or(0)));
        }
        let (domain, term) = split_term(&request.term)?;
        let hits = self.shared.registries.search(domain, term, limit, &request.credentials).await?;
        let wanted = |hit: &SearchHit| {
            request.is_official.is_none_or(|wanted| wanted == hit.is_official)
                && request.is_automated.is_none_or(|wanted| wanted == hit.is_automated)
                && hit.star_count >= request.stars
        };
        Ok(hits.into_iter().filter(wanted).collect())
    }

    /// Asks the registry; nothing is stored.
    pub async fn remote_image(
        &self,
        reference: &Reference,
        credentials: Credentials,
    ) -> Result<RemoteImage, ImagesError> {
        let reference = reference.clone().with_default_tag();
        let mut failure = None;
        for repository in self.shared.registries.sources(&reference, credentials) {
            let asked = async {
                let fetched = repository.manifest(&wanted(&reference)).await?;
                let size = fetched.bytes.len() as u64;
                let document = Document::parse(&fetched.bytes, &fetched.media_type, &reference.to_string())?;
                let descriptor = Descriptor::new(document.media_type(), fetched.digest, size);
                let platforms = match document {
                    Document::Index(index) => index.manifests.into_iter().filter_map(|entry| entry.platform).collect(),
                    Document::Manifest(manifest) => {
                        let raw = fetch_small(&repository, &manifest.config, MAX_CONFIG_BYTES).await?;
                        vec![ImageConfig::parse(&raw)?.platform()]
                    }
                };
                Ok(RemoteImage { descriptor, platforms })
            };
            match asked.await {
                Ok(found) => return Ok(found),
                Err(error) => failure = Some(error),
            }
        }
        Err(match failure {
            Some(ImagesError::Registry(error)) => refused(&reference.familiar(), &reference.familiar_name(), error),
            Some(error) => error,
            None => ImagesError::NoSuchImage(reference.familiar()),
        })
    }

    /// The file at a URL, for an import, and its size as far as the server says so.
    pub async fn download(&self, url: &str) -> Result<(ByteStream, Option<u64>), ImagesError> {
        let file = self.shared.registries.web_file(url).await?;
        let size = file.size;
        let pieces = futures_util::stream::unfold(Some(file), |file| async move {
            let mut file = file?;
            match file.next().await {
                Ok(Some(piece)) => Some((Ok::<Bytes, std::io::Error>(piece), Some(file))),
                Ok(None) => None,
                Err(error) => Some((Err(std::io::Error::other(error)), None)),
            }
        });
        Ok((Box::pin(pieces), size))
    }
}

/// A reference's tag or digest, as the registry is asked for it.
pub(crate) fn wanted(reference: &Reference) -> String {
    match reference.digest() {
        Some(digest) => digest.to_string(),
        None => reference.tag().unwrap_or_default().to_owned(),
    }
}

/// The registry of a term, and what is looked for there.
fn split_term(term: &str) -> Result<(&str, &str), ImagesError> {
    if term.contains("://") {
        return Err(ImagesError::SearchTerm(term.to_owned()));
    }
    let found = match term.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => {
            let is_hub = matches!(host, "docker.io" | "index.docker.io");
            (if is_hub { "docker.io" } else { host }, rest)
        }
        _ => ("docker.io", term),
    };
    let bare = if found.0 == "docker.io" { found.1.strip_prefix("library/").unwrap_or(found.1) } else { found.1 };
    if bare.is_empty() { Err(ImagesError::SearchTerm(term.to_owned())) } else { Ok((found.0, bare)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_may_begin_with_a_registry() {
        for (term, expected) in [
            ("alpine", ("docker.io", "alpine")),
            ("library/alpine", ("docker.io", "alpine")),
            ("team/app", ("docker.io", "team/app")),
            ("reg.lan/team/app", ("reg.lan", "team/app")),
            ("localhost/x", ("localhost", "x")),
            ("127.0.0.1:5000/x", ("127.0.0.1:5000", "x")),
            ("docker.io/library/x", ("docker.io", "x")),
        ] {
            assert_eq!(split_term(term).unwrap(), expected, "{term}");
        }
        assert!(split_term("https://reg.lan/x").is_err());
        assert!(split_term("").is_err());
    }
}
