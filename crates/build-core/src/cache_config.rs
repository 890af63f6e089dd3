//! A build cache on its way between engines, in the form that BuildKit gave it: `application/vnd.buildkit.cacheconfig.v0`
//! (moby/buildkit, cache/remotecache/v1/doc.go).
//!
//! A record is a step by its key, with the records that it lies on and the layer that it made. A step that changed no files
//! has a chain without layers as its result. The keys are this engine's own: BuildKit reads the form and finds none of them.

use std::collections::BTreeMap;

use ids::Digest;
use serde::{Deserialize, Serialize};

/// The type of the blob that lists steps.
pub const CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";
/// The most bytes of such a blob.
pub const MAX_CACHE_CONFIG_BYTES: usize = 8 << 20;
/// A layer that lies on none.
const NO_PARENT: i64 = -1;

/// What one step made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedStep {
    pub key: Digest,
    /// The step before it.
    pub parent: Option<Digest>,
    /// `None`: it changed no files.
    pub layer: Option<CachedLayer>,
    /// RFC 3339; empty where it is not known.
    pub created: String,
}

/// The layer of a step, in the form in which it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedLayer {
    pub blob: Digest,
    pub media_type: String,
    pub size: u64,
    /// Of its plain form.
    pub diff_id: Digest,
}

#[derive(Debug, thiserror::Error)]
pub enum CacheConfigError {
    #[error("a build cache's list of steps has more than {MAX_CACHE_CONFIG_BYTES} bytes")]
    TooLarge,
    #[error("a build cache's list of steps is not understood")]
    Json(#[from] serde_json::Error),
}

/// The list of these steps; one that is there twice counts once.
pub fn write_cache_config(steps: &[CachedStep]) -> Vec<u8> {
    let mut config = Config::default();
    let mut places: BTreeMap<Digest, usize> = BTreeMap::new();
    // The uppermost layer so far, by the step that it belongs to.
    let mut tops: BTreeMap<Digest, i64> = BTreeMap::new();
    for step in steps {
        if places.contains_key(&step.key) {
            continue;
        }
        let below = step.parent.and_then(|parent| tops.get(&parent).copied()).unwrap_or(NO_PARENT);
        let mut record = Record { digest: step.key.to_string(), ..Record::default() };
        if let Some(link) = step.parent.and_then(|parent| places.get(&parent).copied()) {
            record.inputs.push(vec![Input { selector: String::new(), link }]);
        }
        let created = Some(step.created.clone()).filter(|created| !created.is_empty());
        let top = match &step.layer {
            Some(layer) => {
                let at = config.layer(layer, below, created.clone());
                record.layers.push(LayerResult { layer: at, created_at: created });
                i64::try_from(at).unwrap_or(NO_PARENT)
            }
            None => {
                record.chains.push(ChainResult { layers: Vec::new(), created_at: created });
                below
            }
        };
        tops.insert(step.key, top);
        places.insert(step.key, config.records.len());
        config.records.push(record);
    }
    serde_json::to_vec(&config).unwrap_or_default()
}

/// The steps of a list. Records of other forms are none of ours, and left out.
pub fn read_cache_config(bytes: &[u8]) -> Result<Vec<CachedStep>, CacheConfigError> {
    if bytes.len() > MAX_CACHE_CONFIG_BYTES {
        return Err(CacheConfigError::TooLarge);
    }
    let config: Config = serde_json::from_slice(bytes)?;
    let key = |record: &Record| record.digest.parse::<Digest>().ok();
    let step = |record: &Record| {
        let link = record.inputs.first().and_then(|inputs| inputs.first()).map(|input| input.link);
        let parent = link.and_then(|link| config.records.get(link)).and_then(key);
        let (layer, created) = match (record.layers.first(), record.chains.first()) {
            (Some(result), _) => (Some(config.layers.get(result.layer)?.to_layer()?), result.created_at.clone()),
            (None, Some(chain)) if chain.layers.is_empty() => (None, chain.created_at.clone()),
            _ => return None,
        };
        Some(CachedStep { key: key(record)?, parent, layer, created: created.unwrap_or_default() })
    };
    Ok(config.records.iter().filter_map(step).collect())
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Config {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    layers: Vec<Layer>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    records: Vec<Record>,
}

impl Config {
    /// The place of a layer in the list, where it stands once for each layer that it lies on.
    fn layer(&mut self, layer: &CachedLayer, parent: i64, created_at: Option<String>) -> usize {
        let blob = layer.blob.to_string();
        if let Some(at) = self.layers.iter().position(|known| known.blob == blob && known.parent == parent) {
            return at;
        }
        let annotations = Annotations {
            media_type: layer.media_type.clone(),
            diff_id: layer.diff_id.to_string(),
            size: layer.size,
            created_at,
        };
        self.layers.push(Layer { blob, parent, annotations: Some(annotations) });
        self.layers.len() - 1
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Layer {
    blob: String,
    /// Go leaves out a zero, the first layer.
    #[serde(default)]
    parent: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<Annotations>,
}

impl Layer {
    fn to_layer(&self) -> Option<CachedLayer> {
        let annotations = self.annotations.as_ref()?;
        Some(CachedLayer {
            blob: self.blob.parse().ok()?,
            media_type: annotations.media_type.clone(),
            size: annotations.size,
            diff_id: annotations.diff_id.parse().ok()?,
        })
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Annotations {
    media_type: String,
    #[serde(rename = "diffID")]
    diff_id: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Record {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<LayerResult>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    chains: Vec<ChainResult>,
    digest: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<Vec<Input>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct LayerResult {
    layer: usize,
    #[serde(rename = "createdAt", default, skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ChainResult {
    #[serde(default)]
    layers: Vec<usize>,
    #[serde(rename = "createdAt", default, skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Input {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    selector: String,
    #[serde(default)]
    link: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, parent: Option<&str>, layer: Option<&str>) -> CachedStep {
        CachedStep {
            key: Digest::of(name),
            parent: parent.map(Digest::of),
            layer: layer.map(|text| CachedLayer {
                blob: Digest::of(format!("{text}.gz")),
                media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
                size: 7,
                diff_id: Digest::of(text),
            }),
            created: "2020-01-02T03:04:05Z".to_owned(),
        }
    }

    #[test]
    fn steps_come_back_as_they_went() {
        let steps = [step("a", None, Some("one")), step("b", Some("a"), None), step("c", Some("b"), Some("two"))];
        let bytes = write_cache_config(&steps);
        assert_eq!(read_cache_config(&bytes).unwrap(), steps);
        let twice = [&steps[..], &steps[..]].concat();
        assert_eq!(write_cache_config(&twice), bytes, "a step that two stages have counts once");
    }

    #[test]
    fn layers_lie_on_each_other_as_buildkit_has_it() {
        let steps = [step("a", None, Some("one")), step("b", Some("a"), None), step("c", Some("b"), Some("two"))];
        let config: serde_json::Value = serde_json::from_slice(&write_cache_config(&steps)).unwrap();
        assert_eq!(config["layers"][0]["parent"], -1);
        assert_eq!(config["layers"][1]["parent"], 0, "a step without a layer lies between");
        assert_eq!(config["records"][2]["inputs"], serde_json::json!([[{ "link": 1 }]]));
        assert_eq!(config["records"][2]["layers"][0]["layer"], 1);
        assert_eq!(config["layers"][1]["annotations"]["diffID"], Digest::of("two").to_string());
    }

    #[test]
    fn records_that_say_nothing_of_use_are_left_out() {
        let digest = Digest::of("x");
        for records in [
            serde_json::json!([{ "digest": digest }]),
            serde_json::json!([{ "digest": digest, "layers": [{ "layer": 9 }] }]),
            serde_json::json!([{ "digest": "nonsense", "chains": [{ "layers": [] }] }]),
            serde_json::json!([{ "digest": digest, "chains": [{ "layers": [1, 2] }] }]),
            serde_json::json!([]),
        ] {
            let bytes = serde_json::json!({ "records": records }).to_string();
            assert_eq!(read_cache_config(bytes.as_bytes()).unwrap(), [], "{bytes}");
        }
        assert!(read_cache_config(b"[").is_err());
        assert!(read_cache_config(&vec![b' '; MAX_CACHE_CONFIG_BYTES + 1]).is_err());
    }
}
