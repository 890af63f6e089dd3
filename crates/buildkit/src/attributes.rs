//! What a front end is told: a map of texts, which becomes a build's request. What is not understood is refused.

use std::collections::BTreeMap;

use builder::{BuildError, BuildRequest, CacheSource, ContextSource};
use container_core::Ulimit;
use dockerfile::IgnoreRules;
use image_core::Platform;

use crate::attest::Attestations;
use crate::error::SolveError;
use crate::messages;
use crate::oci_layout::LayoutImage;

/// Platforms of one build.
const MAX_PLATFORMS: usize = 32;

/// The build, without its files, and where these are.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub request: BuildRequest,
    pub places: Places,
    /// What it is for; the host's for none.
    pub platforms: Vec<String>,
    /// The result is an index, however many platforms there are.
    pub is_index: bool,
    pub attestations: Attestations,
}

/// Where a build's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// The Dockerfile's path in its folder.
    pub filename: String,
    /// An address, where the context is not the client's folder.
    pub context: Option<String>,
    /// The client's names for its folders; the Dockerfile's where it was said.
    pub context_name: String,
    pub dockerfile_name: Option<String>,
    /// Further contexts: the client's names for their folders.
    pub named: BTreeMap<String, String>,
    /// Further contexts that are images in folders of the client's.
    pub layouts: BTreeMap<String, LayoutImage>,
}

impl Default for Places {
    fn default() -> Self {
        let filename = "Dockerfile".to_owned();
        let (context_name, named, layouts) = ("context".to_owned(), BTreeMap::new(), BTreeMap::new());
        Self { filename, context: None, context_name, dockerfile_name: None, named, layouts }
    }
}

/// Reads them all.
pub(crate) fn read(attributes: &BTreeMap<String, String>) -> Result<Wanted, SolveError> {
    let mut wanted = Wanted::default();
    (wanted.request.remove, wanted.request.force_remove) = (true, true);
    wanted.request.network_mode = "default".to_owned();
    for (name, value) in attributes {
        match name.split_once(':') {
            Some((family, member)) => read_member(&mut wanted, family, member, name, value)?,
            None => read_one(&mut wanted, name, value)?,
        }
    }
    wanted.request.dockerfile.clone_from(&wanted.places.filename);
    Ok(wanted)
}

fn read_member(wanted: &mut Wanted, family: &str, member: &str, name: &str, value: &str) -> Result<(), SolveError> {
    let request = &mut wanted.request;
    match family {
        "build-arg" => drop(request.arguments.insert(member.to_owned(), Some(value.to_owned()))),
        "label" => drop(request.labels.insert(member.to_owned(), value.to_owned())),
        "context" if value.starts_with("docker-image://") => {
            request.contexts.insert(member.to_owned(), value.to_owned());
        }
        "context" => named_context(wanted, member, name, value)?,
        // What a client's folder is a checkout of: nothing of it is in the image.
        "vcs" | "local-sessionid" => {}
        "attest" => wanted.attestations.read(member, value)?,
        _ => return Err(messages::no_attribute(name, value)),
    }
    Ok(())
}

/// A folder of the client's, or an address that the builder fetches.
fn named_context(wanted: &mut Wanted, member: &str, name: &str, value: &str) -> Result<(), SolveError> {
    if let Some(layout) = LayoutImage::parse(value) {
        let layout = layout?;
        wanted.request.contexts.insert(member.to_owned(), format!("docker-image://{}", layout.digest));
        wanted.places.layouts.insert(member.to_owned(), layout);
        return Ok(());
    }
    match value.split_once(':') {
        Some(("local", folder)) if !folder.is_empty() => {
            wanted.places.named.insert(member.to_owned(), folder.to_owned());
        }
        Some(("http" | "https" | "git" | "ssh", _)) => {
            let source = ContextSource::Remote(value.to_owned());
            wanted.request.named_files.insert(member.to_owned(), source);
        }
        _ if value.starts_with("git@") => {
            let source = ContextSource::Remote(value.to_owned());
            wanted.request.named_files.insert(member.to_owned(), source);
        }
        _ => return Err(messages::no_attribute(name, value)),
    }
    Ok(())
}

fn read_one(wanted: &mut Wanted, name: &str, value: &str) -> Result<(), SolveError> {
    let Wanted { request, places, .. } = wanted;
    let text = || value.to_owned();
    match name {
        "filename" => places.filename = text().trim_start_matches("./").to_owned(),
        "context" => places.context = Some(text()).filter(|context| !context.is_empty()),
        "contextkey" => places.context_name = text(),
        "dockerfilekey" => places.dockerfile_name = Some(text()),
        "target" => request.target = Some(text()).filter(|target| !target.is_empty()),
        "no-cache" if value.is_empty() => request.no_cache = true,
        "no-cache" => request.no_cache_filter = list(value),
        "image-resolve-mode" => match value {
            "" | "default" | "local" | "preferlocal" => {}
            "pull" => request.pull = true,
            other => return Err(SolveError::invalid(format!("invalid image-resolve-mode: {other}"))),
        },
        "platform" => wanted.platforms = platforms(value)?,
        "multi-platform" => match value {
            "" | "0" | "false" => {}
            "1" | "true" => wanted.is_index = true,
            other => return Err(SolveError::invalid(format!("invalid boolean value for multi-platform: {other}"))),
        },
        "force-network-mode" => match value {
            "" | "sandbox" => {}
            "host" | "none" => request.network_mode = text(),
            other => return Err(SolveError::invalid(format!("invalid netmode {other}"))),
        },
        "add-hosts" => request.extra_hosts = hosts(value)?,
        "cache-from" => {
            for name in list(value) {
                request.cache_from.push(CacheSource::parse(&name).map_err(refused)?);
            }
        }
        "cache-imports" => request.cache_from.extend(imports(value)?),
        "shm-size" => request.resources.shm_size = number(name, value)?,
        "ulimit" => request.resources.ulimits = ulimits(value)?,
        "cgroup-parent" => request.resources.cgroup_parent = text(),
        // What the client's own front end would need, and how it names it.
        "frontend.caps" | "source" | "cmdline" => {}
        _ => return Err(messages::no_attribute(name, value)),
    }
    Ok(())
}

/// Each once, in normal form.
fn platforms(value: &str) -> Result<Vec<String>, SolveError> {
    let mut found = Vec::new();
    for text in list(value) {
        let wrong = |error: image_core::ImageError| {
            SolveError::invalid(format!("failed to parse target platform {text}: {}", errors::chain(&error)))
        };
        let platform = Platform::parse(&text).map_err(wrong)?.to_string();
        if !found.contains(&platform) {
            found.push(platform);
        }
    }
    match found.len() {
        0..=MAX_PLATFORMS => Ok(found),
        _ => Err(SolveError::invalid(format!("a build is for {MAX_PLATFORMS} platforms at most"))),
    }
}

fn list(value: &str) -> Vec<String> {
    value.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn number(name: &str, value: &str) -> Result<i64, SolveError> {
    value.parse().map_err(|_| SolveError::invalid(format!("failed to parse {name}: {value:?}")))
}

/// `host=address`, as containers have it: `host:address`.
fn hosts(value: &str) -> Result<Vec<String>, SolveError> {
    let host = |entry: String| match entry.split_once('=') {
        Some((host, address)) if !host.is_empty() => Ok(format!("{host}:{address}")),
        _ => Err(SolveError::invalid(format!("failed to parse additional hosts: invalid key-value pair: {entry}"))),
    };
    list(value).into_iter().map(host).collect()
}

/// `nofile=1024:2048`.
fn ulimits(value: &str) -> Result<Vec<Ulimit>, SolveError> {
    let limit = |entry: String| {
        let wrong = || SolveError::invalid(format!("failed to parse ulimit: {entry}"));
        let (name, limits) = entry.split_once('=').ok_or_else(wrong)?;
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let number = |text: &str| text.parse().map_err(|_| wrong());
        Ok(Ulimit { name: name.to_owned(), soft: number(soft)?, hard: number(hard)? })
    };
    list(value).into_iter().map(limit).collect()
}

/// A JSON list of `{"Type": "registry", "Attrs": {"ref": …}}`.
fn imports(value: &str) -> Result<Vec<CacheSource>, SolveError> {
    let wrong = || SolveError::invalid(format!("failed to unmarshal cache-imports: {value}"));
    let entries: Vec<serde_json::Value> = serde_json::from_str(value).map_err(|_| wrong())?;
    let entry = |mut entry: serde_json::Value| {
        let attributes = match entry["Attrs"].take() {
            serde_json::Value::Null => BTreeMap::new(),
            attributes => serde_json::from_value(attributes).map_err(|_| wrong())?,
        };
        CacheSource::of(entry["Type"].as_str().ok_or_else(wrong)?, attributes).map_err(refused)
    };
    entries.into_iter().map(entry).collect()
}

fn refused(error: BuildError) -> SolveError {
    SolveError::invalid(error.to_string())
}

/// An ignore file's rules; its client applies them.
pub(crate) fn ignore_rules(bytes: &[u8]) -> Result<IgnoreRules, SolveError> {
    let failed = |error: String| SolveError::invalid(format!("failed to parse dockerignore: {error}"));
    IgnoreRules::parse(&String::from_utf8_lossy(bytes)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Wanted, SolveError> {
        read(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn attributes_become_a_request() {
        let wanted = of(&[
            ("filename", "./sub/My.Dockerfile"),
            ("build-arg:A", "b=c"),
            ("label:x.y", "z"),
            ("add-hosts", "a=1.2.3.4,b=::1"),
            ("ulimit", "nofile=10:20,nproc=5"),
            ("no-cache", ""),
            ("target", "out"),
            ("image-resolve-mode", "pull"),
            ("cache-imports", r#"[{"Type":"registry","Attrs":{"ref":"r/c"}}]"#),
        ])
        .unwrap();
        let request = wanted.request;
        assert_eq!(request.dockerfile, "sub/My.Dockerfile");
        assert_eq!(request.arguments["A"].as_deref(), Some("b=c"));
        assert_eq!((request.labels["x.y"].as_str(), request.target.as_deref()), ("z", Some("out")));
        assert_eq!(request.extra_hosts, ["a:1.2.3.4", "b:::1"]);
        assert_eq!((request.resources.ulimits[0].hard, request.resources.ulimits[1].soft), (20, 5));
        assert!(request.no_cache && request.pull);
        assert_eq!(request.cache_from, [CacheSource::parse("r/c").unwrap()]);
        assert_eq!(wanted.places.context_name, "context");
    }

    #[test]
    fn platforms_are_told_once_and_in_normal_form() {
        let wanted = of(&[("platform", "linux/amd64,linux/arm64/v8,linux/x86_64"), ("multi-platform", "1")]).unwrap();
        assert_eq!(wanted.platforms, ["linux/amd64", "linux/arm64"]);
        assert!(wanted.is_index);
        assert_eq!(of(&[("platform", "")]).unwrap().platforms, [""; 0]);
    }

    #[test]
    fn what_is_not_done_is_refused() {
        for (name, value) in [
            ("attest:signature", ""),
            ("attest:provenance", "mode=some"),
            ("platform", "linux/amd64,moon"),
            ("context:base", "oci-layout://x"),
            ("context:base", "local:"),
            ("requestid", "frontend.outline"),
            ("multi-platform", "perhaps"),
            ("add-hosts", "nothing"),
            ("something-new", "x"),
        ] {
            assert!(of(&[(name, value)]).is_err(), "{name}");
        }
        of(&[
            ("attest:provenance", "mode=min,disabled=true"),
            ("vcs:source", "https://x"),
            ("multi-platform", "false"),
        ])
        .unwrap();
    }

    #[test]
    fn ignore_files_are_told_line_by_line() {
        let text = b"# no\n/node_modules/\n\n!node_modules/keep\n *.log \n";
        assert_eq!(ignore_rules(text).unwrap().patterns(), ["node_modules", "!node_modules/keep", "*.log"]);
        assert!(ignore_rules(b"!").is_err());
    }
}
