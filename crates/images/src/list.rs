//! `docker image ls`.

use std::collections::BTreeMap;

use ids::{Digest, Reference};
use image_core::Platform;

use crate::error::ImagesError;
use crate::resolve::{Found, repo_digests, tags};
use crate::service::Images;

/// Which images to list; each field that is set must hold.
#[derive(Debug, Clone, Default)]
pub struct ListFilters {
    pub dangling: Option<bool>,
    /// Patterns for names (`busy*`, `*:latest`); one must match.
    pub reference: Vec<String>,
    /// `key` or `key=value`; all must hold. A leading `!` turns one around.
    pub label: Vec<String>,
    /// Only what was made before (since) this image.
    pub before: Option<String>,
    pub since: Option<String>,
    /// Only what was made before this time.
    pub until: Option<jiff::Timestamp>,
}

/// One image of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSummary {
    pub id: Digest,
    pub names: Vec<String>,
    pub repo_digests: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// Seconds since 1970; 0 if the image does not say.
    pub created: i64,
    /// Unpacked bytes of all layers.
    pub size: u64,
    /// Id of the image that this one was committed on; empty where it came otherwise.
    pub parent: String,
    pub platform: Platform,
    /// How many containers were made of it.
    pub containers: usize,
}

impl Images {
    /// Images, the newest first.
    pub async fn list(&self, filters: &ListFilters) -> Result<Vec<ImageSummary>, ImagesError> {
        let before = self.created_of(filters.before.as_deref()).await?;
        let since = self.created_of(filters.since.as_deref()).await?;
        let mut listed = Vec::new();
        for found in self.all().await?.into_values() {
            let created = found.image.created();
            let early = before.is_none_or(|before| created.is_some_and(|created| created < before));
            let late = since.is_none_or(|since| created.is_some_and(|created| created > since));
            let old = filters.until.is_none_or(|until| created.is_none_or(|created| created < until));
            if !early || !late || !old {
                continue;
            }
            if let Some(summary) = self.summary(&found, filters).await? {
                listed.push(summary);
            }
        }
        listed.sort_by(|one, other| other.created.cmp(&one.created).then(one.id.cmp(&other.id)));
        Ok(listed)
    }

    async fn created_of(&self, name: Option<&str>) -> Result<Option<jiff::Timestamp>, ImagesError> {
        match name {
            Some(name) => Ok(Some(self.find(name).await?.image.created().unwrap_or(jiff::Timestamp::UNIX_EPOCH))),
            None => Ok(None),
        }
    }

    async fn summary(&self, found: &Found, filters: &ListFilters) -> Result<Option<ImageSummary>, ImagesError> {
        let image = &found.image;
        let labels = &image.config.config.labels;
        let mut names = tags(&found.records);
        let mut digests = repo_digests(&self.backend, &found.records).await?;
        let dangling = names.is_empty() && digests.is_empty();
        if filters.dangling.is_some_and(|wanted| wanted != dangling)
            || !filters.label.iter().all(|filter| label_matches(labels, filter))
        {
            return Ok(None);
        }
        if !filters.reference.is_empty() {
            // Only the names that match are shown.
            names.retain(|name| filters.reference.iter().any(|pattern| reference_matches(pattern, name)));
            digests.retain(|name| filters.reference.iter().any(|pattern| reference_matches(pattern, name)));
            if names.is_empty() && digests.is_empty() {
                return Ok(None);
            }
        }
        let mut size = 0;
        for chain in &image.chain {
            size += self.layer_bytes(chain).await?;
        }
        Ok(Some(ImageSummary {
            id: image.id,
            names,
            repo_digests: digests,
            labels: labels.clone(),
            created: image.created().map_or(0, jiff::Timestamp::as_second),
            size,
            parent: found.parent().to_owned(),
            platform: image.config.platform(),
            containers: self.shared.users.users_of(&image.id).len(),
        }))
    }
}

pub(crate) fn label_matches(labels: &BTreeMap<String, String>, filter: &str) -> bool {
    let (filter, wanted) = match filter.strip_prefix('!') {
        Some(rest) => (rest, false),
        None => (filter, true),
    };
    let holds = match filter.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
        None => labels.contains_key(filter),
    };
    holds == wanted
}

/// As Docker's reference filter: a pattern for the familiar name, with or without its tag.
fn reference_matches(pattern: &str, name: &str) -> bool {
    let bare = match Reference::parse_familiar(name) {
        Ok(reference) => reference.familiar_name(),
        Err(_) => name.to_owned(),
    };
    glob(pattern.as_bytes(), name.as_bytes()) || glob(pattern.as_bytes(), bare.as_bytes())
}

/// Go's path.Match: `*` and `?` stop at a slash, `[a-z]` is a class, `\` takes the next character as it is.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.first(), text.first()) {
        (None, None) => true,
        (Some(b'*'), _) => {
            glob(&pattern[1..], text) || text.first().is_some_and(|c| *c != b'/') && glob(pattern, &text[1..])
        }
        (Some(b'?'), Some(c)) => *c != b'/' && glob(&pattern[1..], &text[1..]),
        (Some(b'['), Some(c)) => match class(&pattern[1..], *c) {
            Some((true, rest)) => glob(rest, &text[1..]),
            _ => false,
        },
        (Some(b'\\'), Some(c)) => pattern.get(1) == Some(c) && glob(&pattern[2..], &text[1..]),
        (Some(p), Some(c)) => p == c && glob(&pattern[1..], &text[1..]),
        _ => false,
    }
}

/// Whether the class has the character, and what is behind it; `None` if it does not end.
fn class(pattern: &[u8], c: u8) -> Option<(bool, &[u8])> {
    let end = pattern.iter().position(|b| *b == b']')?;
    let (inside, rest) = (&pattern[..end], &pattern[end + 1..]);
    let (inside, negated) = match inside.strip_prefix(b"^") {
        Some(rest) => (rest, true),
        None => (inside, false),
    };
    let mut found = false;
    let mut at = 0;
    while at < inside.len() {
        let last = if inside.get(at + 1) == Some(&b'-') && at + 2 < inside.len() { at + 2 } else { at };
        found |= (inside[at]..=inside[last]).contains(&c);
        at = last + 1;
    }
    Some((found != negated, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_gos_do() {
        for (pattern, name, expected) in [
            ("busybox", "busybox:latest", true),
            ("busy*", "busybox:latest", true),
            ("*:latest", "busybox:latest", true),
            ("*", "reg:5000/a:b", false),
            ("*/*", "reg:5000/a:b", true),
            ("b[a-u]sybox", "busybox:1", true),
            ("b[^u]sybox", "busybox:1", false),
            ("busybo?", "busybox:1", true),
            ("busybox:2", "busybox:1", false),
        ] {
            assert_eq!(reference_matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn labels_match_by_key_or_by_value() {
        let labels: BTreeMap<_, _> = [("a".to_owned(), "b".to_owned())].into();
        for (filter, expected) in
            [("a", true), ("a=b", true), ("a=c", false), ("x", false), ("!x", true), ("!a=b", false)]
        {
            assert_eq!(label_matches(&labels, filter), expected, "{filter}");
        }
    }
}
