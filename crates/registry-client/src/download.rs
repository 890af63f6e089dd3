//! A file from anywhere on the web, for `docker import URL`.

use bytes::Bytes;
use http::{HeaderMap, header};
use hyper::body::Incoming;

use crate::endpoint::Endpoint;
use crate::error::RegistryError;
use crate::repository::{Registries, get_following};
use crate::transport::{answered_error, failed, next_piece};

/// A body on its way.
pub struct Download {
    url: String,
    body: Incoming,
    /// As far as the server says so.
    pub size: Option<u64>,
}

impl Registries {
    /// Asks for the file at this URL, without any credentials; redirects are followed.
    pub async fn download(&self, url: &str) -> Result<Download, RegistryError> {
        let invalid = || RegistryError::Protocol(format!("invalid URL {url:?}"));
        let (scheme, rest) = url.split_once("://").ok_or_else(invalid)?;
        let authority = rest.split(['/', '?', '#']).next().filter(|authority| !authority.is_empty());
        let authority = authority.filter(|authority| !authority.contains('@')).ok_or_else(invalid)?;
        if !matches!(scheme, "http" | "https") {
            return Err(invalid());
        }
        let server = self.open(Endpoint::anywhere(authority, scheme == "http"));
        let answer = get_following(&server, url, &HeaderMap::new()).await?;
        if !answer.status().is_success() {
            return Err(answered_error(answer).await);
        }
        let size = answer.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Download { url: url.to_owned(), body: answer.into_body(), size })
    }
}

impl Download {
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let broken = |error| failed(&http::Method::GET, &self.url.parse().unwrap_or_default(), error);
        next_piece(&mut self.body).await.map_err(broken)
    }
}
