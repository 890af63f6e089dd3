//! How a result was made: SLSA's provenance, in the versions 0.2 and 1, with BuildKit's names for what a build is
//! (moby/buildkit, docs/attestations/slsa-provenance.md). The graph of steps that BuildKit adds is not there: a build here
//! has its Dockerfile.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use builder::{Builder, Statement};
use buildkit_api::Timestamp;
use image_core::Platform;
use serde_json::{Map, Value, json};

use super::{Detail, Provenance, Version};
use crate::built::Part;
use crate::error::SolveError;

const V02: &str = "https://slsa.dev/provenance/v0.2";
const V1: &str = "https://slsa.dev/provenance/v1";
const BUILD_TYPE: &str = "https://mobyproject.org/buildkit@v1";
const BUILD_TYPE_V1: &str = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";
const METADATA: &str = "https://mobyproject.org/buildkit@v1#metadata";
const FRONTEND: &str = "dockerfile.v0";
/// Of the request, and of no weight for the result.
const OF_HOST: [&str; 5] = ["cgroup-parent", "image-resolve-mode", "platform", "cache-imports", "multi-platform"];

/// A build, as far as it is told.
pub(crate) struct Facts<'a> {
    pub reference: &'a str,
    pub attributes: &'a BTreeMap<String, String>,
    pub filename: &'a str,
    pub dockerfile: &'a [u8],
    pub started: Timestamp,
    pub finished: Timestamp,
}

pub(crate) async fn of(
    wanted: &Provenance,
    builder: &Builder,
    part: &Part,
    facts: &Facts<'_>,
) -> Result<Statement, SolveError> {
    let mut materials = Vec::new();
    for material in &part.made.materials {
        let digest = builder.digest_of(material).await?;
        materials.push(json!({ "uri": url(material), "digest": { "sha256": digest.hex() } }));
    }
    let told = Told::of(wanted, facts);
    let (predicate_type, predicate) = match wanted.version {
        Version::V02 => (V02, v02(wanted, facts, &told, materials)),
        Version::V1 => (V1, v1(wanted, facts, &told, materials)),
    };
    Ok(Statement { predicate_type: predicate_type.to_owned(), predicate })
}

/// What of the request is told.
struct Told {
    arguments: BTreeMap<String, String>,
    locals: Vec<Value>,
    is_complete: bool,
    source: Option<Value>,
    vcs: Map<String, Value>,
}

impl Told {
    fn of(wanted: &Provenance, facts: &Facts<'_>) -> Self {
        let (mut arguments, mut vcs, mut is_complete) = (BTreeMap::new(), Map::new(), true);
        for (name, value) in facts.attributes {
            if let Some(name) = name.strip_prefix("vcs:") {
                vcs.insert(name.to_owned(), json!(value));
            } else if name.starts_with("attest:") || OF_HOST.contains(&name.as_str()) {
            } else if wanted.detail == Detail::Min && (name.starts_with("build-arg:") || name.starts_with("label:")) {
                is_complete = false;
            } else {
                arguments.insert(name.clone(), value.clone());
            }
        }
        let local = |name: &str| json!({ "name": name });
        let locals = match facts.attributes.get("context").filter(|context| !context.is_empty()) {
            Some(_) => Vec::new(),
            None => vec![local("context"), local("dockerfile")],
        };
        let source = (wanted.detail == Detail::Max).then(|| {
            let text = STANDARD.encode(facts.dockerfile);
            json!({ "infos": [{ "filename": facts.filename, "language": "Dockerfile", "data": text }] })
        });
        Self { arguments, locals, is_complete, source, vcs }
    }

    fn metadata(&self) -> Map<String, Value> {
        let mut metadata = Map::new();
        if let Some(source) = &self.source {
            metadata.insert("source".to_owned(), source.clone());
        }
        if !self.vcs.is_empty() {
            metadata.insert("vcs".to_owned(), Value::Object(self.vcs.clone()));
        }
        metadata
    }
}

fn v02(wanted: &Provenance, facts: &Facts<'_>, told: &Told, materials: Vec<Value>) -> Value {
    let mut metadata = json!({
        "buildInvocationID": facts.reference,
        "buildStartedOn": facts.started.to_string(),
        "buildFinishedOn": facts.finished.to_string(),
        "completeness": { "parameters": told.is_complete, "environment": true, "materials": false },
        "reproducible": wanted.reproducible,
    });
    let more = told.metadata();
    if !more.is_empty() {
        metadata[METADATA] = Value::Object(more);
    }
    json!({
        "builder": { "id": wanted.builder_id },
        "buildType": BUILD_TYPE,
        "materials": materials,
        "invocation": {
            "configSource": { "entryPoint": facts.filename },
            "parameters": { "frontend": FRONTEND, "args": told.arguments, "locals": told.locals },
            "environment": { "platform": Platform::host().to_string() },
        },
        "metadata": metadata,
    })
}

fn v1(wanted: &Provenance, facts: &Facts<'_>, told: &Told, materials: Vec<Value>) -> Value {
    let mut metadata = json!({
        "invocationId": facts.reference,
        "startedOn": facts.started.to_string(),
        "finishedOn": facts.finished.to_string(),
        "buildkit_completeness": { "request": told.is_complete, "resolvedDependencies": false },
        "buildkit_reproducible": wanted.reproducible,
    });
    let more = told.metadata();
    if !more.is_empty() {
        metadata["buildkit_metadata"] = Value::Object(more);
    }
    json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE_V1,
            "externalParameters": {
                "configSource": { "path": facts.filename },
                "request": { "frontend": FRONTEND, "args": told.arguments, "locals": told.locals },
            },
            "internalParameters": { "builderPlatform": Platform::host().to_string() },
            "resolvedDependencies": materials,
        },
        "runDetails": { "builder": { "id": wanted.builder_id }, "metadata": metadata },
    })
}

/// `pkg:docker/busybox@latest?platform=linux%2Famd64` (Package URLs).
fn url(material: &builder::Material) -> String {
    let platform = material.platform.replace('/', "%2F");
    let (name, version) = match ids::Reference::parse_familiar(&material.name) {
        Ok(reference) => {
            let version = reference.digest().map(ToString::to_string);
            let version = version.or_else(|| reference.tag().map(str::to_owned));
            (reference.familiar_name(), version.unwrap_or_else(|| "latest".to_owned()))
        }
        Err(_) => (material.name.clone(), String::new()),
    };
    format!("pkg:docker/{}@{version}?platform={platform}", name.replace(':', "%3A"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(detail: Detail) -> Value {
        let wanted = Provenance {
            detail,
            version: Version::V02,
            builder_id: "b".into(),
            reproducible: true,
            inline_only: false,
        };
        let attributes = [("build-arg:SECRET", "s"), ("filename", "F"), ("vcs:revision", "r"), ("platform", "x")];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let time = Timestamp { seconds: 1, nanos: 0 };
        let facts = Facts {
            reference: "id",
            attributes: &attributes,
            filename: "F",
            dockerfile: b"FROM x",
            started: time,
            finished: time,
        };
        v02(&wanted, &facts, &Told::of(&wanted, &facts), Vec::new())
    }

    #[test]
    fn little_is_told_without_arguments() {
        let min = told(Detail::Min);
        let text = min.to_string();
        assert!(!text.contains("SECRET") && !text.contains("RlJPTSB4"), "{text}");
        assert_eq!(min["metadata"]["completeness"]["parameters"], false);
        assert_eq!(min["invocation"]["parameters"]["args"], json!({ "filename": "F" }));
        assert_eq!(min["metadata"]["buildStartedOn"], "1970-01-01T00:00:01Z");
        assert_eq!(min["metadata"][METADATA]["vcs"]["revision"], "r");
    }

    #[test]
    fn much_is_told_with_the_dockerfile() {
        let max = told(Detail::Max);
        assert_eq!(max["invocation"]["parameters"]["args"]["build-arg:SECRET"], "s");
        assert_eq!(max["metadata"][METADATA]["source"]["infos"][0]["data"], "RlJPTSB4");
    }

    #[test]
    fn materials_are_package_urls() {
        let material = |name: &str| builder::Material { name: name.to_owned(), platform: "linux/arm64".to_owned() };
        assert_eq!(url(&material("busybox")), "pkg:docker/busybox@latest?platform=linux%2Farm64");
        assert_eq!(url(&material("r:5000/a:1")), "pkg:docker/r%3A5000/a@1?platform=linux%2Farm64");
    }
}
