//! Where a server sends us on: addresses made whole, redirects followed, and whether an address is still at home.

use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;

use crate::error::RegistryError;
use crate::transport::{RequestBody, Transport, empty, failed};

/// Addresses that lead to addresses, as Go has it.
pub(crate) const MAX_REDIRECTS: usize = 10;

/// A GET that follows redirects; the headers go to the first server only. Answers the address that answered, as well.
pub(crate) async fn get_following(
    transport: &Transport,
    address: &str,
    headers: &HeaderMap,
) -> Result<(Response<Incoming>, String), RegistryError> {
    let mut url = address.to_owned();
    let none = HeaderMap::new();
    for _ in 0..=MAX_REDIRECTS {
        let headers = if same_origin(address, &url) { headers } else { &none };
        let answer = transport.send(get(&url, headers)?).await?;
        if !answer.status().is_redirection() || answer.status() == StatusCode::NOT_MODIFIED {
            return Ok((answer, url));
        }
        url = location(&answer, &url)?;
    }
    Err(RegistryError::Redirects(MAX_REDIRECTS))
}

/// A GET without a body, over http or https.
fn get(url: &str, headers: &HeaderMap) -> Result<Request<RequestBody>, RegistryError> {
    let uri: Uri = url.parse().map_err(|_| RegistryError::Address(url.to_owned()))?;
    let scheme = uri.scheme_str().unwrap_or_default();
    if !matches!(scheme, "http" | "https") {
        let reason = format!("unsupported protocol scheme {scheme:?}");
        let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, reason);
        return Err(failed(&Method::GET, &uri, source));
    }
    let mut request = Request::new(empty());
    *request.uri_mut() = uri;
    request.headers_mut().extend(headers.clone());
    Ok(request)
}

/// Where an answer sends us, made whole.
pub(crate) fn location(answer: &Response<Incoming>, base: &str) -> Result<String, RegistryError> {
    let value = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let value = value.ok_or_else(|| RegistryError::Protocol("no location".to_owned()))?;
    absolute(base, value).ok_or_else(|| RegistryError::Protocol(format!("invalid location {value:?}")))
}

/// A target may leave out what stays the same (RFC 3986 5.2).
fn absolute(base: &str, value: &str) -> Option<String> {
    let is_scheme = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric());
    if value.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme)) {
        return Some(value.to_owned());
    }
    let (scheme, rest) = base.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    if let Some(other) = value.strip_prefix("//") {
        return Some(format!("{scheme}://{other}"));
    }
    if value.starts_with('/') {
        return Some(format!("{scheme}://{authority}{value}"));
    }
    let path = rest[authority.len()..].split('?').next()?;
    if value.starts_with('?') {
        return Some(format!("{scheme}://{authority}{path}{value}"));
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    Some(format!("{scheme}://{authority}{folder}/{value}"))
}

/// Whether credentials for `home` may go to `url`.
pub(crate) fn same_origin(home: &str, url: &str) -> bool {
    let origin = |url: &str| {
        let (scheme, rest) = url.split_once("://")?;
        Some((scheme.to_owned(), rest.split(['/', '?']).next()?.to_ascii_lowercase()))
    };
    // `user@host` in a location must not pass for the host.
    origin(home).is_some() && origin(home) == origin(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_taken_from_where_they_were_given() {
        let base = "http://reg:5000/v2/a/blobs/uploads/";
        for (value, expected) in [
            ("https://other/x", "https://other/x"),
            ("/v2/x?y=z", "http://reg:5000/v2/x?y=z"),
            ("//cdn/x", "http://cdn/x"),
            ("id?z", "http://reg:5000/v2/a/blobs/uploads/id?z"),
            ("?z", "http://reg:5000/v2/a/blobs/uploads/?z"),
        ] {
            assert_eq!(absolute(base, value).as_deref(), Some(expected), "{value}");
        }
        assert_eq!(absolute("https://a.b/c/d?e", "y").as_deref(), Some("https://a.b/c/y"));
        assert_eq!(absolute("https://a.b", "y").as_deref(), Some("https://a.b/y"));
    }

    #[test]
    fn only_the_same_scheme_host_and_port_is_home() {
        let home = "https://reg:5000";
        assert!(same_origin(home, "https://REG:5000/v2/x"));
        for other in ["http://reg:5000/", "https://reg/", "https://reg:5000@evil/", "https://reg:5000.evil/", "x"] {
            assert!(!same_origin(home, other), "{other}");
        }
    }
}
