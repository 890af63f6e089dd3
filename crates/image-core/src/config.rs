//! Image configurations (image-spec config.md and what Docker adds to it).

use std::collections::BTreeMap;

use ids::Digest;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{ImageError, MAX_CONFIG_BYTES, Platform};

/// The most layers an image may have: Docker's own limit is 127 (`max depth exceeded`), peers allow some more.
const MAX_LAYERS: usize = 1024;

/// A configuration as far as it is understood. Its digest, the image's id, is over the bytes it was parsed from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub author: String,
    #[serde(default, deserialize_with = "nullable")]
    pub architecture: String,
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub variant: String,
    #[serde(default, deserialize_with = "nullable")]
    pub os: String,
    #[serde(default, rename = "os.version", deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// RFC 3339; not every image has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub config: ContainerConfig,
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub docker_version: String,
    #[serde(default, deserialize_with = "nullable")]
    pub history: Vec<History>,
    #[serde(default, deserialize_with = "nullable")]
    pub rootfs: RootFs,
    /// The steps that made it, for builds that look there (BuildKit's inline cache): base64 of a list.
    #[serde(default, rename = "moby.buildkit.cache.v0", skip_serializing_if = "Option::is_none")]
    pub build_cache: Option<String>,
}

/// What a container of the image starts with unless it says otherwise. `None` means unset, which is not empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfig {
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub user: String,
    #[serde(deserialize_with = "keys", serialize_with = "as_keys", skip_serializing_if = "Vec::is_empty")]
    pub exposed_ports: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(deserialize_with = "keys", serialize_with = "as_keys", skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
}

/// Durations in nanoseconds, as in Docker's API; 0 is "as the engine does".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    #[serde(deserialize_with = "nullable")]
    pub test: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// How a layer, or a change without one, came about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub author: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// The layers by the digests of their plain bytes, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    #[serde(default, rename = "type", deserialize_with = "nullable")]
    pub kind: String,
    #[serde(default, deserialize_with = "nullable")]
    pub diff_ids: Vec<Digest>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

impl ImageConfig {
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        if bytes.len() > MAX_CONFIG_BYTES {
            return Err(ImageError::TooLarge { what: "image config", limit: MAX_CONFIG_BYTES });
        }
        // serde would read a struct from an array as well.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(ImageError::Config("not a JSON object"));
        }
        let config: Self = serde_json::from_slice(bytes).map_err(ImageError::ConfigJson)?;
        if !matches!(config.rootfs.kind.as_str(), "" | "layers") {
            return Err(ImageError::Config("unsupported rootfs type"));
        }
        if config.rootfs.diff_ids.len() > MAX_LAYERS {
            return Err(ImageError::Config("too many layers"));
        }
        Ok(config)
    }

    /// The platform in normal form. What an image leaves out is Docker's default of its time: linux.
    pub fn platform(&self) -> Platform {
        let os = if self.os.is_empty() { "linux" } else { &self.os };
        let mut platform = Platform::new(os, &self.architecture, &self.variant);
        platform.os_version = Some(self.os_version.clone()).filter(|version| !version.is_empty());
        platform.normalized()
    }

    /// The bytes to store; the image's id is their digest.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The history with the layer that each line made, lowest first.
    pub fn history_with_layers(&self) -> Vec<(&History, Option<usize>)> {
        let mut next = 0;
        let mut lines = Vec::with_capacity(self.history.len());
        for line in &self.history {
            let layer = (!line.empty_layer && next < self.rootfs.diff_ids.len()).then_some(next);
            next += usize::from(layer.is_some());
            lines.push((line, layer));
        }
        lines
    }
}

/// Go writes null for what is empty.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A set, which Go writes as an object whose values say nothing.
fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let map = Option::<BTreeMap<String, serde::de::IgnoredAny>>::deserialize(deserializer)?;
    Ok(map.unwrap_or_default().into_keys().collect())
}

fn as_keys<S: serde::Serializer>(keys: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Empty {}
    serializer.collect_map(keys.iter().map(|key| (key, Empty {})))
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nulls_and_missing_fields_are_empty() {
        let bytes = json!({
            "architecture": "amd64", "os": null,
            "config": {"Env": null, "Cmd": null, "Entrypoint": [], "Volumes": null, "ExposedPorts": {"80/tcp": {}}, "Labels": null},
            "rootfs": {"type": "layers", "diff_ids": null}, "history": null,
        });
        let config = ImageConfig::parse(bytes.to_string().as_bytes()).unwrap();
        assert_eq!(config.config.cmd, None);
        assert_eq!(config.config.entrypoint, Some(Vec::new()), "empty is not unset");
        assert_eq!(config.config.exposed_ports, ["80/tcp"]);
        assert_eq!(config.platform().to_string(), "linux/amd64");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut config = ImageConfig { architecture: "arm64".into(), os: "linux".into(), ..Default::default() };
        config.config.volumes = vec!["/data".into()];
        config.config.env = vec!["A=b".into()];
        config.rootfs.diff_ids = vec![Digest::of("1")];
        config.history = vec![History { created_by: "x".into(), ..Default::default() }];
        assert_eq!(ImageConfig::parse(&config.to_bytes()).unwrap(), config);
    }

    #[test]
    fn other_kinds_of_root_file_systems_are_refused() {
        let error = ImageConfig::parse(br#"{"rootfs":{"type":"layers+base","diff_ids":[]}}"#).unwrap_err();
        assert_eq!(error.to_string(), "invalid image config: unsupported rootfs type");
        assert!(ImageConfig::parse(b"[]").is_err());
        assert!(ImageConfig::parse(b"<html>").is_err());
    }

    #[test]
    fn history_lines_without_a_layer_count_none() {
        let line = |empty_layer| History { empty_layer, ..Default::default() };
        let mut config =
            ImageConfig { history: vec![line(false), line(true), line(false), line(false)], ..Default::default() };
        config.rootfs.diff_ids = vec![Digest::of("1"), Digest::of("2")];
        let layers: Vec<_> = config.history_with_layers().into_iter().map(|(_, layer)| layer).collect();
        assert_eq!(layers, [Some(0), None, Some(1), None]);
    }
}
