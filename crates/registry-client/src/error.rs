//! What can go wrong between a registry and us, worded as Docker's users know it.

use std::io;

use errors::{ErrorKind, Kind};
use ids::Digest;
use serde::Deserialize;

/// One entry of a registry's error answer (distribution-spec, "Error Codes").
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ApiError {
    #[serde(default)]
    pub code: String,
    #[serde(default)]
    pub message: String,
}

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The server was not reached, or the conversation broke off.
    #[error("{method} \"{url}\"")]
    Transport { method: String, url: String, source: io::Error },
    #[error("{}", shown(.errors, *.status))]
    Api { status: u16, errors: Vec<ApiError> },
    #[error("error parsing HTTP {status} response body: {reason}: {body:?}")]
    Body { status: u16, reason: String, body: String },
    /// What a registry's token server answered on the way to this address.
    #[error("{method} \"{url}\"")]
    Asking { method: String, url: String, source: Box<RegistryError> },
    #[error("login attempt to {url} failed with status: {status}")]
    Login { url: String, status: http::StatusCode },
    /// Nobody is there who could be asked for a search, in Docker's words.
    #[error("invalid registry endpoint {0}")]
    SearchEndpoint(String),
    #[error("registry {registry} offers no search: Unexpected status code {status}")]
    NoSearch { registry: String, status: u16 },
    #[error(
        "token server {realm} is not one of registry {registry}: credentials are not sent there (to allow it, name its host \
         in certs.d/{registry}/token-servers)"
    )]
    ForeignRealm { realm: String, registry: String },
    /// What is no registry refused to give a file.
    #[error("failed to GET {address} with status {status}: {body}")]
    Page { address: String, status: http::StatusCode, body: String },
    #[error("invalid URL {0:?}")]
    Address(String),
    #[error("no basic auth credentials")]
    NoCredentials,
    #[error("invalid authorization server answer: {0}")]
    Token(String),
    /// A web login that came to nothing.
    #[error("{0}")]
    Hub(String),
    #[error("{what} is larger than {limit} bytes")]
    TooLarge { what: &'static str, limit: u64 },
    #[error("verification failed for digest {0}")]
    Digest(Digest),
    #[error("unexpected EOF: {received} of {expected} bytes of {digest} received")]
    Short { digest: Digest, received: u64, expected: u64 },
    #[error("stopped after {0} redirects")]
    Redirects(usize),
    #[error("registry answered against the protocol: {0}")]
    Protocol(String),
    #[error("certificate {path}: {reason}")]
    Certificate { path: String, reason: String },
}

impl RegistryError {
    /// Whether the registry named this error code.
    pub fn has_code(&self, code: &str) -> bool {
        matches!(self, Self::Api { errors, .. } if errors.iter().any(|error| error.code == code))
    }

    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Api { status, .. } | Self::Body { status, .. } => Some(*status),
            Self::Page { status, .. } => Some(status.as_u16()),
            _ => None,
        }
    }

    /// Nobody listens: final for who asks for the first time, and what a restarting server looks like to the others.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Transport { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// Whether the same request may succeed in a moment.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Transport { source, .. } => !matches!(
                source.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::InvalidData | io::ErrorKind::NotFound
            ),
            Self::Short { .. } => true,
            other => matches!(other.status(), Some(408 | 429 | 500 | 502 | 503 | 504)),
        }
    }
}

impl Kind for RegistryError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoCredentials => ErrorKind::Unauthenticated,
            Self::ForeignRealm { .. } => ErrorKind::PermissionDenied,
            Self::NoSearch { status: 404 | 405, .. } => ErrorKind::NotFound,
            Self::NoSearch { .. } => ErrorKind::Unavailable,
            Self::Asking { source, .. } => source.kind(),
            Self::Login { .. } => ErrorKind::Internal,
            Self::Digest(_) | Self::Short { .. } => ErrorKind::DataLoss,
            Self::Transport { .. } => ErrorKind::Unavailable,
            Self::TooLarge { .. } | Self::Address(_) | Self::SearchEndpoint(_) => ErrorKind::InvalidArgument,
            other => match other.status() {
                Some(401) => ErrorKind::Unauthenticated,
                Some(403) => ErrorKind::PermissionDenied,
                Some(404) => ErrorKind::NotFound,
                Some(429) => ErrorKind::ResourceExhausted,
                Some(400..=499) => ErrorKind::InvalidArgument,
                Some(_) => ErrorKind::Unavailable,
                None => ErrorKind::Internal,
            },
        }
    }
}

/// `MANIFEST_UNKNOWN` is shown as `manifest unknown: what the registry says`.
fn shown(errors: &[ApiError], status: u16) -> String {
    if errors.is_empty() {
        let reason = http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or_default();
        return format!("unexpected status: {status} {reason}");
    }
    let line = |error: &ApiError| match (error.code.is_empty(), error.message.is_empty()) {
        (_, true) => printable(&words(&error.code)),
        (true, false) => printable(&error.message),
        (false, false) => printable(&format!("{}: {}", words(&error.code), error.message)),
    };
    errors.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn words(code: &str) -> String {
    code.to_ascii_lowercase().replace('_', " ")
}

/// With control characters as Go writes them in quotes: what a server says shall not steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            '\r' => shown.push_str("\\r"),
            c if c.is_ascii_control() => shown.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() => shown.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => shown.push(c),
        }
    }
    shown
}

/// The error that an answer's body tells, or that it is none.
pub(crate) fn of_answer(status: u16, json: bool, body: &[u8]) -> RegistryError {
    #[derive(Deserialize)]
    struct Envelope {
        #[serde(default)]
        errors: Vec<ApiError>,
        /// What token servers answer.
        #[serde(default)]
        details: Option<String>,
    }
    const SHOWN: usize = 512;
    match serde_json::from_slice::<Envelope>(body) {
        Ok(Envelope { mut errors, details }) => {
            if errors.is_empty()
                && let Some(message) = details
            {
                errors.push(ApiError { code: String::new(), message });
            }
            RegistryError::Api { status, errors }
        }
        Err(_) if body.is_empty() => RegistryError::Api { status, errors: Vec::new() },
        Err(error) => {
            let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]).into_owned();
            let reason = if json { error.to_string() } else { not_json(&text) };
            RegistryError::Body { status, reason, body: text }
        }
    }
}

fn not_json(text: &str) -> String {
    let first = text.chars().next().unwrap_or(' ').to_string();
    format!("invalid character '{}' looking for beginning of value", printable(&first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrys_errors_read_as_dockers_do() {
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#;
        let error = of_answer(404, true, body);
        assert_eq!(error.to_string(), "manifest unknown: manifest unknown");
        assert!(error.has_code("MANIFEST_UNKNOWN"));
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn what_a_registry_says_does_not_steer_a_terminal() {
        let body = b"{\"errors\":[{\"code\":\"DENIED\",\"message\":\"\\u001b]0;x\\u0007 a\\nb \\u009b c\"}]}";
        assert_eq!(of_answer(403, true, body).to_string(), "denied: \\x1b]0;x\\x07 a\\nb \\u009b c");
    }

    #[test]
    fn a_page_in_place_of_an_answer_is_shown_shortened() {
        let page = format!("<html>{}</html>", "x".repeat(10_000));
        let error = of_answer(502, false, page.as_bytes()).to_string();
        assert!(error.starts_with("error parsing HTTP 502 response body: invalid character '<'"), "{error}");
        assert!(error.len() < 700);
        assert_eq!(of_answer(500, false, b"").to_string(), "unexpected status: 500 Internal Server Error");
    }
}
