//! Annotations of manifests and indexes as exporters name them: `annotation-manifest[linux/amd64].KEY` (moby/buildkit,
//! docs/annotations.md).

use std::collections::BTreeMap;

use image_core::Platform;

use crate::error::SolveError;

const PREFIX: &str = "annotation";

/// All of one exporter's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Annotations {
    pub index: BTreeMap<String, String>,
    manifests: Vec<One>,
    descriptors: Vec<One>,
}

/// For one platform, or for each.
#[derive(Debug, Clone, PartialEq, Eq)]
struct One {
    platform: Option<String>,
    key: String,
    value: String,
}

impl Annotations {
    /// Reads an exporter's option; `false`: it is no annotation.
    pub fn read(&mut self, option: &str, value: &str) -> Result<bool, SolveError> {
        let Some(rest) = option.strip_prefix(PREFIX) else { return Ok(false) };
        let wrong = || SolveError::invalid(format!("invalid annotation {option}"));
        let end = rest.find(['[', '.']).ok_or_else(wrong)?;
        let (kind, rest) = rest.split_at(end);
        let (platform, key) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (platform, key) = rest.split_once("].").ok_or_else(wrong)?;
                (Some(Platform::parse(platform).map_err(|_| wrong())?.to_string()), key)
            }
            None => (None, &rest[1..]),
        };
        if key.is_empty() {
            return Err(wrong());
        }
        let (key, value) = (key.to_owned(), value.to_owned());
        match (kind, platform) {
            ("" | "-manifest", platform) => self.manifests.push(One { platform, key, value }),
            ("-manifest-descriptor", platform) => self.descriptors.push(One { platform, key, value }),
            ("-index", None) => drop(self.index.insert(key, value)),
            ("-index", Some(_)) => return Err(wrong()),
            ("-index-descriptor", _) => {
                return Err(SolveError::unsupported(format!("{option}: annotations of an index's descriptor")));
            }
            _ => return Err(wrong()),
        }
        Ok(true)
    }

    pub fn is_empty(&self) -> bool {
        self.index.is_empty() && self.manifests.is_empty() && self.descriptors.is_empty()
    }

    pub fn of_manifest(&self, platform: &str) -> BTreeMap<String, String> {
        chosen(&self.manifests, platform)
    }

    /// Of the index's entry.
    pub fn of_descriptor(&self, platform: &str) -> BTreeMap<String, String> {
        chosen(&self.descriptors, platform)
    }
}

/// What is for one platform wins over what is for each.
fn chosen(all: &[One], platform: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for own in [false, true] {
        for one in all.iter().filter(|one| one.platform.is_some() == own) {
            if one.platform.as_deref().is_none_or(|wanted| wanted == platform) {
                found.insert(one.key.clone(), one.value.clone());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_say_what_they_are_on() {
        let mut all = Annotations::default();
        for (option, value) in [
            ("annotation.a", "each"),
            ("annotation[linux/amd64].a", "amd64"),
            ("annotation-manifest.b.c", "x"),
            ("annotation-manifest-descriptor[linux/arm64].d", "y"),
            ("annotation-index.e", "z"),
        ] {
            assert!(all.read(option, value).unwrap(), "{option}");
        }
        assert!(!all.read("name", "x").unwrap());
        let manifest = all.of_manifest("linux/amd64");
        assert_eq!((manifest["a"].as_str(), manifest["b.c"].as_str()), ("amd64", "x"));
        assert_eq!(all.of_manifest("linux/arm64")["a"], "each");
        assert!(all.of_descriptor("linux/amd64").is_empty());
        assert_eq!(all.of_descriptor("linux/arm64")["d"], "y");
        assert_eq!(all.index["e"], "z");
        for wrong in ["annotation", "annotation.", "annotation-moon.x", "annotation[linux/amd64]x", "annotation[].x"] {
            assert!(Annotations::default().read(wrong, "").is_err(), "{wrong}");
        }
    }
}
