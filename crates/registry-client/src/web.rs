//! Files at any address of the web, by the connections that registries are reached with: what a build asks for.

use std::io;

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use hyper::body::Incoming;

use crate::connector::Connector;
use crate::error::RegistryError;
use crate::proxy::Proxies;
use crate::transport::{Transport, empty, next_piece};

/// Addresses that lead to addresses, as Go has it.
const MAX_REDIRECTS: usize = 10;

/// Why a file is not had.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// In Docker's words where it has some.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Transport(#[from] RegistryError),
}

/// A file on its way.
pub struct WebFile {
    /// Where it was in the end.
    pub address: String,
    /// What its head says: `Content-Type`, `Last-Modified`, the name in `Content-Disposition`.
    pub content_type: String,
    pub last_modified: String,
    pub disposition: String,
    body: Incoming,
}

impl WebFile {
    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        next_piece(&mut self.body).await
    }
}

/// Asks for a file over http or https, with the system's certificates and the environment's proxies.
pub async fn get_file(address: &str, user_agent: &str) -> Result<WebFile, WebError> {
    let connector = Connector::new(Proxies::from_environment(), || {
        let builder = tls_trust::builder().map_err(io::Error::other)?;
        Ok(builder.with_root_certificates(tls_trust::system_roots()).with_no_client_auth())
    });
    let transport = Transport::new(connector, user_agent);
    let mut address = address.to_owned();
    for _ in 0..=MAX_REDIRECTS {
        let wrong = |_| WebError::Refused(format!("invalid URL {address:?}"));
        let uri: Uri = address.parse().map_err(wrong)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(WebError::Refused(format!("unsupported scheme in {address:?}")));
        }
        let request = Request::builder().method(Method::GET).uri(uri.clone()).body(empty());
        let request = request.map_err(|error| WebError::Refused(error.to_string()))?;
        let answer = transport.send(request).await?;
        let text = |name: header::HeaderName| {
            answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let status = answer.status();
        if status.is_redirection() {
            address = absolute(&uri, &text(header::LOCATION));
            continue;
        }
        if !status.is_success() {
            return Err(WebError::Refused(format!("failed to GET {address} with status {status}: ")));
        }
        return Ok(WebFile {
            address,
            content_type: text(header::CONTENT_TYPE),
            last_modified: text(header::LAST_MODIFIED),
            disposition: text(header::CONTENT_DISPOSITION),
            body: answer.into_body(),
        });
    }
    Err(WebError::Refused(format!("{address} redirects too often")))
}

/// A redirect's target may leave out what stays the same.
fn absolute(base: &Uri, location: &str) -> String {
    let scheme = base.scheme_str().unwrap_or("https");
    let authority = base.authority().map(ToString::to_string).unwrap_or_default();
    match location {
        location if location.contains("://") => location.to_owned(),
        location if location.starts_with("//") => format!("{scheme}:{location}"),
        location if location.starts_with('/') => format!("{scheme}://{authority}{location}"),
        location => {
            let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{scheme}://{authority}{folder}/{location}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_relative_to_where_they_were() {
        let base: Uri = "https://a.b/c/d?e".parse().unwrap();
        for (location, expected) in
            [("http://x/y", "http://x/y"), ("//x/y", "https://x/y"), ("/y", "https://a.b/y"), ("y", "https://a.b/c/y")]
        {
            assert_eq!(absolute(&base, location), expected);
        }
    }
}
