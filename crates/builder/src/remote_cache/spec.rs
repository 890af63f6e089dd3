//! `--cache-from` and `--cache-to` as they are written: `type=registry,ref=…`. What is not understood is refused.

use std::collections::BTreeMap;

use ids::{Digest, Reference};

use crate::error::BuildError;

/// Where a cache is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CachePlace {
    /// A repository, and its tag.
    Registry(Reference),
    /// A folder of the client's, by the name under which the client lends it.
    Local(String),
}

/// Where steps are looked for besides the engine's own cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSource {
    pub place: CachePlace,
    /// Which manifest of a folder.
    pub digest: Option<Digest>,
}

/// Which steps are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CacheMode {
    /// Those of the result.
    #[default]
    Min,
    /// Those of all stages, and what cache mounts hold.
    Max,
}

/// Where a build's steps are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheTarget {
    /// The image's own configuration.
    Inline,
    Place {
        place: CachePlace,
        mode: CacheMode,
        /// What cache mounts hold goes too.
        mounts: bool,
        /// The manifest is an index, as older versions of BuildKit have it.
        index: bool,
        /// The build goes well without it.
        ignore_error: bool,
    },
}

impl CacheSource {
    /// `type=registry,ref=host/name:tag`, or a name alone.
    pub fn parse(text: &str) -> Result<Self, BuildError> {
        match fields(text)? {
            Some((kind, attributes)) => Self::of(&kind, attributes),
            None => Ok(Self { place: CachePlace::Registry(reference(text)?), digest: None }),
        }
    }

    /// A kind and its attributes, as BuildKit's clients send them.
    pub fn of(kind: &str, mut attributes: BTreeMap<String, String>) -> Result<Self, BuildError> {
        let mut digest = None;
        let place = match kind {
            "registry" => registry_place(kind, &mut attributes)?,
            "local" => {
                digest = match attributes.remove("digest") {
                    Some(text) => Some(text.parse().map_err(|_| wrong(kind, "digest", &text))?),
                    None => None,
                };
                attributes.remove("tag");
                CachePlace::Local(needed(kind, &mut attributes, "src")?)
            }
            other => return Err(unknown(other, "source")),
        };
        nothing_left(kind, &attributes)?;
        Ok(Self { place, digest })
    }
}

impl CacheTarget {
    /// `type=registry,ref=host/name:tag,mode=max`, or a name alone.
    pub fn parse(text: &str) -> Result<Self, BuildError> {
        match fields(text)? {
            Some((kind, attributes)) => Self::of(&kind, attributes),
            None => Self::of("registry", [("ref".to_owned(), text.to_owned())].into()),
        }
    }

    /// A kind and its attributes, as BuildKit's clients send them.
    pub fn of(kind: &str, mut attributes: BTreeMap<String, String>) -> Result<Self, BuildError> {
        let place = match kind {
            "inline" => {
                attributes.retain(|name, value| !(name == "mode" && value == "min"));
                nothing_left(kind, &attributes)?;
                return Ok(Self::Inline);
            }
            "registry" => registry_place(kind, &mut attributes)?,
            "local" => {
                // The client writes the folder's index, and with it the tag.
                attributes.remove("tag");
                CachePlace::Local(needed(kind, &mut attributes, "dest")?)
            }
            other => return Err(unknown(other, "target")),
        };
        let mode = match attributes.remove("mode").as_deref() {
            None | Some("min" | "") => CacheMode::Min,
            Some("max") => CacheMode::Max,
            Some(other) => return Err(wrong(kind, "mode", other)),
        };
        let mut flag = |name: &str, default: bool| match attributes.remove(name).as_deref() {
            None => Ok(default),
            Some("true" | "1" | "") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(wrong(kind, name, other)),
        };
        let mounts = flag("mounts", mode == CacheMode::Max)?;
        let index = !flag("image-manifest", true)?;
        let ignore_error = flag("ignore-error", false)?;
        flag("force-compression", false)?;
        if !flag("oci-mediatypes", true)? {
            return Err(wrong(kind, "oci-mediatypes", "false"));
        }
        match attributes.remove("compression").as_deref() {
            None | Some("gzip") => {}
            Some(other) => return Err(wrong(kind, "compression", other)),
        }
        nothing_left(kind, &attributes)?;
        Ok(Self::Place { place, mode, mounts, index, ignore_error })
    }
}

/// `None`: it is a name alone.
fn fields(text: &str) -> Result<Option<(String, BTreeMap<String, String>)>, BuildError> {
    if !text.contains('=') {
        return Ok(None);
    }
    let mut attributes = BTreeMap::new();
    for field in text.split(',') {
        let not_a_pair = || BuildError::invalid(format!("invalid value {field}"));
        let (name, value) = field.split_once('=').ok_or_else(not_a_pair)?;
        attributes.insert(name.trim().to_lowercase(), value.to_owned());
    }
    let without_type = || BuildError::invalid(format!("type required form> {text:?}"));
    let kind = attributes.remove("type").ok_or_else(without_type)?;
    Ok(Some((kind, attributes)))
}

fn registry_place(kind: &str, attributes: &mut BTreeMap<String, String>) -> Result<CachePlace, BuildError> {
    attributes.retain(|name, value| !(name == "registry.insecure" && value == "false"));
    Ok(CachePlace::Registry(reference(&needed(kind, attributes, "ref")?)?))
}

fn reference(text: &str) -> Result<Reference, BuildError> {
    let wrong = |error: ids::ReferenceError| {
        BuildError::invalid(format!("invalid cache reference {text:?}: {}", errors::chain(&error)))
    };
    Ok(Reference::parse_familiar(text).map_err(wrong)?.with_default_tag())
}

fn needed(kind: &str, attributes: &mut BTreeMap<String, String>, name: &str) -> Result<String, BuildError> {
    let given = attributes.remove(name).filter(|value| !value.is_empty());
    given.ok_or_else(|| BuildError::invalid(format!("a cache of type {kind} needs {name}=…")))
}

fn nothing_left(kind: &str, attributes: &BTreeMap<String, String>) -> Result<(), BuildError> {
    match attributes.iter().next() {
        Some((name, value)) => Err(wrong(kind, name, value)),
        None => Ok(()),
    }
}

fn wrong(kind: &str, name: &str, value: &str) -> BuildError {
    BuildError::invalid(format!("the attribute {name}={value} of a cache of type {kind} is not supported"))
}

fn unknown(kind: &str, role: &str) -> BuildError {
    BuildError::invalid(format!("unknown cache {role} {kind:?}: registry, local and inline are"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_names_or_pairs() {
        let of = |text: &str| CacheSource::parse(text).unwrap();
        let name = Reference::parse_familiar("r.io/a:latest").unwrap();
        assert_eq!(of("r.io/a").place, CachePlace::Registry(name.clone()));
        assert_eq!(of("type=registry,ref=r.io/a").place, CachePlace::Registry(name));
        let digest = Digest::of("x");
        let local = of(&format!("type=local,src=dir,digest={digest}"));
        assert_eq!((local.place, local.digest), (CachePlace::Local("dir".to_owned()), Some(digest)));
    }

    #[test]
    fn targets_have_a_mode() {
        let of = |text: &str| CacheTarget::parse(text).unwrap();
        assert_eq!(of("type=inline"), CacheTarget::Inline);
        let CacheTarget::Place { mode, mounts, index, ignore_error, .. } = of("type=local,dest=d,mode=max") else {
            panic!("a place")
        };
        assert_eq!((mode, mounts, index, ignore_error), (CacheMode::Max, true, false, false));
        let CacheTarget::Place { mode, mounts, index, .. } = of("type=registry,ref=a,image-manifest=false") else {
            panic!("a place")
        };
        assert_eq!((mode, mounts, index), (CacheMode::Min, false, true));
    }

    #[test]
    fn what_is_not_done_is_refused_by_its_name() {
        for text in [
            "type=s3,bucket=b",
            "type=registry",
            "type=registry,ref=a,mode=most",
            "type=registry,ref=a,compression=zstd",
            "type=registry,ref=BAD",
            "type=local,dest=d,what=ever",
            "type=inline,mode=max",
            "ref=a",
            "type=local,dest",
        ] {
            assert!(CacheTarget::parse(text).is_err(), "{text}");
        }
        let told = CacheTarget::parse("type=registry,ref=a,compression=zstd").unwrap_err().to_string();
        assert_eq!(told, "the attribute compression=zstd of a cache of type registry is not supported");
        assert!(CacheSource::parse("type=gha").is_err());
        assert!(CacheSource::parse("type=local,src=d,digest=x").is_err());
    }
}
