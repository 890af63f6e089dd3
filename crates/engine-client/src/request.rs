//! A request, before it has a connection.

use base64::Engine as _;
use bytes::Bytes;
use engine_api::auth::{AuthConfig, REGISTRY_AUTH};
use http::{HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::error::Error;

/// Bytes of a path segment that cannot stand for themselves; slashes stay, image names have them.
const SEGMENT: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'`');
/// Everything but what RFC 3986 calls unreserved.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What is sent behind the head.
#[derive(Debug)]
pub enum Payload {
    None,
    Json(Bytes),
    /// A file or a pipe, chunked (import, load, build).
    Stream(tokio::fs::File),
}

/// Method, path without version, query, headers, body.
#[derive(Debug)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) payload: Payload,
}

impl Request {
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), query: String::new(), headers: Vec::new(), payload: Payload::None }
    }

    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    pub fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    /// The same once more; `None` for one whose body comes once, or whose refusal would not say why (HEAD).
    pub(crate) fn again(&self) -> Option<Self> {
        let payload = match &self.payload {
            Payload::None => Payload::None,
            Payload::Json(text) => Payload::Json(text.clone()),
            Payload::Stream(_) => return None,
        };
        if self.method == Method::HEAD {
            return None;
        }
        let (method, path, query) = (self.method.clone(), self.path.clone(), self.query.clone());
        Some(Self { method, path, query, headers: self.headers.clone(), payload })
    }

    /// Asks for the headers of a GET alone.
    pub fn head(path: impl Into<String>) -> Self {
        Self::new(Method::HEAD, path)
    }

    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// One query parameter more.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl AsRef<str>) -> Self {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        self.query.extend(utf8_percent_encode(key, QUERY));
        self.query.push('=');
        self.query.extend(utf8_percent_encode(value.as_ref(), QUERY));
        self
    }

    /// A query parameter that is left out when empty.
    #[must_use]
    pub fn with_some(self, key: &str, value: impl AsRef<str>) -> Self {
        if value.as_ref().is_empty() { self } else { self.with(key, value) }
    }

    /// `key=1`, left out unless set.
    #[must_use]
    pub fn with_flag(self, key: &str, set: bool) -> Self {
        if set { self.with(key, "1") } else { self }
    }

    /// A JSON body. Wire types hold nothing that JSON cannot write.
    #[must_use]
    pub fn json(mut self, body: &impl Serialize) -> Self {
        let text = serde_json::to_vec(body).expect("wire types have text keys and finite numbers");
        self.payload = Payload::Json(text.into());
        self
    }

    /// A header more. What cannot be one is left out.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }

    #[must_use]
    pub fn upload(mut self, file: tokio::fs::File) -> Self {
        self.payload = Payload::Stream(file);
        self
    }

    /// Credentials for the registry that this request makes the daemon talk to.
    #[must_use]
    pub fn registry_auth(mut self, auth: &AuthConfig) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(&encode_auth(auth)) {
            value.set_sensitive(true);
            self.headers.push((HeaderName::from_static(REGISTRY_AUTH_LOWER), value));
        }
        self
    }
}

const REGISTRY_AUTH_LOWER: &str = "x-registry-auth";
const _: () = assert!(REGISTRY_AUTH_LOWER.eq_ignore_ascii_case(REGISTRY_AUTH));

/// Headers from a user's configuration.
pub fn headers(pairs: &[(String, String)]) -> Result<Vec<(HeaderName, HeaderValue)>, Error> {
    let wrong = |name: &str| Error::Host(format!("invalid header: {name:?}"));
    let pairs = pairs.iter().map(|(name, value)| {
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong(name))?;
        Ok((header, HeaderValue::from_str(value).map_err(|_| wrong(name))?))
    });
    pairs.collect()
}

/// A name as part of a path.
pub fn escape(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// Text with everything encoded that has a meaning in a URL, slashes too.
pub(crate) fn escape_all(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string()
}

/// base64url of the JSON, as the header wants it.
pub fn encode_auth(auth: &AuthConfig) -> String {
    let text = serde_json::to_vec(auth).expect("credentials are text");
    base64::engine::general_purpose::URL_SAFE.encode(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_encoded_and_empty_parameters_left_out() {
        let request =
            Request::get("/x").with("a b", "c&d=é").with_some("e", "").with_flag("f", true).with_flag("g", false);
        assert_eq!(request.query, "a%20b=c%26d%3D%C3%A9&f=1");
        assert_eq!(escape("a/b:c d?e"), "a/b:c%20d%3Fe");
    }

    #[test]
    fn credentials_travel_as_base64url() {
        let auth = AuthConfig { username: "ü?>".into(), ..AuthConfig::default() };
        assert_eq!(encode_auth(&auth), "eyJ1c2VybmFtZSI6IsO8Pz4ifQ==");
        assert_eq!(encode_auth(&AuthConfig::default()), "e30=");
    }
}
