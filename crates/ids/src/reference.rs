//! Image references as people type them: `alpine`, `user/app:v2`, `host:5000/app@sha256:…`.
//!
//! The grammar is that of the distribution specification's reference package. What is typed without a host belongs to
//! Docker Hub, what is typed there without a user belongs to `library`.

use std::fmt;

use errors::{ErrorKind, Kind};

use crate::{Digest, DigestError};

const HUB: &str = "docker.io";
const HUB_LEGACY: &str = "index.docker.io";
const OFFICIAL: &str = "library";
const DEFAULT_TAG: &str = "latest";
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// A repository with, at choice, a tag and a digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text that is no reference. The wording is what users of Docker know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("invalid reference format")]
    Format,
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    #[error("repository name must not be more than {MAX_NAME} characters")]
    TooLong,
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl Kind for ReferenceError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

impl Reference {
    /// What a person typed, completed with Docker Hub and `library`. No tag is added: see [`Reference::with_default_tag`].
    pub fn parse_familiar(text: &str) -> Result<Self, ReferenceError> {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::LooksLikeId(text.to_owned()));
        }
        if let Some(refused) = uppercase(text) {
            return Err(refused);
        }
        let (named, digest) = match text.split_once('@') {
            Some((_, digest)) if !is_digest_shaped(digest) => return Err(ReferenceError::Format),
            Some((named, digest)) => (named, Some(digest.parse()?)),
            None => (text, None),
        };
        let (domain, remainder) = split_domain(named);
        let (path, tag) = match remainder.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (remainder, None),
        };
        if !is_domain(domain) || path.is_empty() {
            return Err(ReferenceError::Format);
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Format);
        }
        if !path.split('/').all(is_path_component) {
            return Err(ReferenceError::Format);
        }
        let path = if domain == HUB && !path.contains('/') { format!("{OFFICIAL}/{path}") } else { path.to_owned() };
        if domain.len() + 1 + path.len() > MAX_NAME {
            return Err(ReferenceError::TooLong);
        }
        Ok(Self { domain: domain.to_owned(), path, tag: tag.map(str::to_owned), digest })
    }

    /// The same with the tag `latest` where there is neither tag nor digest.
    pub fn with_default_tag(mut self) -> Self {
        if self.is_name_only() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same repository under another tag, without digest; an error unless the tag is well formed.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Format);
        }
        Ok(Self { domain: self.domain.clone(), path: self.path.clone(), tag: Some(tag.to_owned()), digest: None })
    }

    /// The same repository at this digest, without tag.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { domain: self.domain.clone(), path: self.path.clone(), tag: None, digest: Some(digest) }
    }

    pub fn is_name_only(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }

    /// The registry's name: `docker.io`, `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within its registry: `library/alpine`.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and repository in full: `docker.io/library/alpine`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// Registry and repository as people write them: `alpine`.
    pub fn familiar_name(&self) -> String {
        if self.domain != HUB {
            return self.name();
        }
        let official = self.path.strip_prefix(OFFICIAL).and_then(|rest| rest.strip_prefix('/'));
        official.unwrap_or(&self.path).to_owned()
    }

    /// The whole as people write it: `alpine:latest`, `alpine@sha256:…`.
    pub fn familiar(&self) -> String {
        format!("{}{}", self.familiar_name(), self.suffix())
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.map(|digest| format!("@{digest}")).unwrap_or_default();
        tag + &digest
    }
}

/// The whole in full: `docker.io/library/alpine:latest`.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.domain, self.path, self.suffix())
    }
}

/// Docker looks for capitals before anything else, and names what stands behind the registry, up to the first colon.
fn uppercase(text: &str) -> Option<ReferenceError> {
    let (domain, remainder) = split_domain(text);
    let name = remainder.split(':').next().unwrap_or_default();
    if name.to_lowercase() == name {
        return None;
    }
    let official = domain == HUB && !remainder.contains('/');
    Some(ReferenceError::Uppercase(if official { format!("{OFFICIAL}/{name}") } else { name.to_owned() }))
}

/// The part before the first slash is a host only if it looks like one: a dot, a port, an upper-case letter, `localhost`.
fn split_domain(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (if first == HUB_LEGACY { HUB } else { first }, rest)
        }
        _ => (HUB, name),
    }
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            let in_range = !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
            return in_range && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port));
        }
        None => match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (domain, None),
        },
    };
    host.split('.').all(is_domain_component) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

fn is_domain_component(part: &str) -> bool {
    !part.is_empty()
        && !part.starts_with('-')
        && !part.ends_with('-')
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Runs of lower-case letters and digits, joined by one dot, one or two underscores, or any number of dashes.
fn is_path_component(part: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !part.starts_with(alphanumeric) || !part.ends_with(alphanumeric) {
        return false;
    }
    part.split(alphanumeric)
        .filter(|gap| !gap.is_empty())
        .all(|gap| matches!(gap, "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
}

/// What the grammar of references takes for a digest; whether it is one is said by its parser.
fn is_digest_shaped(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, digits)| {
        algorithm.starts_with(|c: char| c.is_ascii_alphabetic())
            && digits.len() >= 32
            && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(text: &str) -> Result<String, ReferenceError> {
        Reference::parse_familiar(text).map(|r| r.with_default_tag().to_string())
    }

    #[test]
    fn names_are_completed_as_docker_completes_them() {
        let cases = [
            ("alpine", "docker.io/library/alpine:latest"),
            ("alpine:3.6", "docker.io/library/alpine:3.6"),
            ("nigelpoulton/tu-demo:v2", "docker.io/nigelpoulton/tu-demo:v2"),
            ("index.docker.io/busybox", "docker.io/library/busybox:latest"),
            ("gcr.io/google-containers/git-sync:v3.1.5", "gcr.io/google-containers/git-sync:v3.1.5"),
            ("localhost/app", "localhost/app:latest"),
            ("127.0.0.1:5000/a/b__c---d.e:T-1", "127.0.0.1:5000/a/b__c---d.e:T-1"),
            ("[::1]:5000/app", "[::1]:5000/app:latest"),
        ];
        for (typed, expected) in cases {
            assert_eq!(full(typed).as_deref(), Ok(expected), "{typed}");
        }
    }

    #[test]
    fn the_familiar_form_is_the_shortest() {
        let reference = Reference::parse_familiar("docker.io/library/alpine").unwrap().with_default_tag();
        assert_eq!(reference.familiar(), "alpine:latest");
        let digest = Digest::of(b"");
        assert_eq!(reference.with_digest(digest).familiar(), format!("alpine@{digest}"));
        assert_eq!(Reference::parse_familiar("host:1/a").unwrap().familiar(), "host:1/a");
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for typed in [
            "",
            "/",
            ":tag",
            "a:",
            "a:b:c",
            "a//b",
            "-a",
            "a___b",
            "a..b",
            "a@sha256:12",
            "a b",
            "a\n",
            "host:port/a",
            "a:-x",
        ] {
            assert!(Reference::parse_familiar(typed).is_err(), "{typed:?}");
        }
        assert_eq!(
            Reference::parse_familiar("Alpine").unwrap_err().to_string(),
            "invalid reference format: repository name (library/Alpine) must be lowercase"
        );
        assert_eq!(
            Reference::parse_familiar("example.com/a B:c").unwrap_err().to_string(),
            "invalid reference format: repository name (a B) must be lowercase"
        );
        assert!(Reference::parse_familiar(&"a".repeat(64)).is_err());
        assert_eq!(Reference::parse_familiar(&"b".repeat(300)), Err(ReferenceError::TooLong));
    }
}
