//! What is said of a result: how it was made, and what is in it (moby/buildkit, docs/attestations).

mod packages;
mod provenance;
mod sbom;

pub(crate) use provenance::Facts;

use std::collections::BTreeMap;

use builder::Builder;

use crate::built::{Part, Said};
use crate::error::SolveError;
use crate::job::Job;

/// What a build is to say of its result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attestations {
    provenance: Option<Provenance>,
    sbom: Option<Sbom>,
}

/// How much is told of how it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// No arguments and labels, and not the Dockerfile.
    Min,
    Max,
}

/// Which predicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V02,
    V1,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Provenance {
    pub detail: Detail,
    pub version: Version,
    pub builder_id: String,
    pub reproducible: bool,
    inline_only: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sbom {
    inline_only: bool,
}

impl Attestations {
    /// Reads `attest:KIND`.
    pub fn read(&mut self, kind: &str, value: &str) -> Result<(), SolveError> {
        let mut fields = fields(kind, value)?;
        // Some clients tell it twice.
        if fields.get("type").is_some_and(|told| told == kind) {
            fields.remove("type");
        }
        let enabled = fields.remove("enabled").unwrap_or_else(|| "true".to_owned());
        let disabled = flag(kind, "disabled", fields.remove("disabled"))? || !flag(kind, "enabled", Some(enabled))?;
        match kind {
            "provenance" => {
                let wanted = Provenance::of(fields)?;
                self.provenance = (!disabled).then_some(wanted);
            }
            "sbom" => {
                let wanted = Sbom::of(fields)?;
                self.sbom = (!disabled).then_some(wanted);
            }
            other => return Err(SolveError::invalid(format!("unknown attestation type {other:?}"))),
        }
        Ok(())
    }

    /// All that was asked for about one image.
    pub async fn of(
        &self,
        job: &std::sync::Arc<Job>,
        builder: &Builder,
        part: &Part,
        facts: &Facts<'_>,
    ) -> Result<Vec<Said>, SolveError> {
        let mut said = Vec::new();
        if let Some(wanted) = &self.sbom {
            let step = job.internal(format!("[{}] generating sbom using the engine's scanner", part.platform));
            let made = sbom::of(builder, part).await;
            step.end(&made);
            let (statement, filename) = (made?, "sbom.spdx.json");
            said.push(Said { statement, filename, inline_only: wanted.inline_only });
        }
        if let Some(wanted) = &self.provenance {
            let (statement, filename) = (provenance::of(wanted, builder, part, facts).await?, "provenance.json");
            said.push(Said { statement, filename, inline_only: wanted.inline_only });
        }
        Ok(said)
    }
}

impl Provenance {
    fn of(mut fields: BTreeMap<String, String>) -> Result<Self, SolveError> {
        let detail = match fields.remove("mode").as_deref() {
            None | Some("max" | "full") => Detail::Max,
            Some("min") => Detail::Min,
            Some(other) => return Err(SolveError::invalid(format!("invalid mode {other:?}"))),
        };
        let version = match fields.remove("version").as_deref() {
            None | Some("v0.2") => Version::V02,
            Some("v1") => Version::V1,
            Some(other) => return Err(SolveError::invalid(format!("invalid provenance version {other:?}"))),
        };
        let builder_id = fields.remove("builder-id").unwrap_or_default();
        let reproducible = flag("provenance", "reproducible", fields.remove("reproducible"))?;
        let inline_only = flag("provenance", "inline-only", fields.remove("inline-only"))?;
        nothing_left("provenance", &fields)?;
        Ok(Self { detail, version, builder_id, reproducible, inline_only })
    }
}

impl Sbom {
    fn of(mut fields: BTreeMap<String, String>) -> Result<Self, SolveError> {
        if let Some(generator) = fields.remove("generator").filter(|generator| !generator.is_empty()) {
            return Err(SolveError::unsupported(format!(
                "the SBOM generator {generator}: the engine's own scanner makes SBOMs, without generator="
            )));
        }
        let inline_only = flag("sbom", "inline-only", fields.remove("inline-only"))?;
        nothing_left("sbom", &fields)?;
        Ok(Self { inline_only })
    }
}

/// `mode=max,reproducible=true`; `true` alone says nothing more.
fn fields(kind: &str, value: &str) -> Result<BTreeMap<String, String>, SolveError> {
    let mut fields = BTreeMap::new();
    for field in value.split(',').filter(|field| !matches!(*field, "" | "true")) {
        let wrong = || SolveError::invalid(format!("failed to parse {kind} attestation: invalid value {field}"));
        let (name, value) = field.split_once('=').ok_or_else(wrong)?;
        fields.insert(name.to_owned(), value.to_owned());
    }
    Ok(fields)
}

fn flag(kind: &str, name: &str, value: Option<String>) -> Result<bool, SolveError> {
    match value.as_deref() {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1" | "") => Ok(true),
        Some(other) => Err(SolveError::invalid(format!("failed to parse {kind} attestation: invalid {name}={other}"))),
    }
}

fn nothing_left(kind: &str, fields: &BTreeMap<String, String>) -> Result<(), SolveError> {
    match fields.iter().next() {
        Some((name, value)) => {
            Err(SolveError::unsupported(format!("the attribute {name}={value} of the attestation {kind}")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attestations_are_told_by_kind() {
        let mut wanted = Attestations::default();
        wanted.read("provenance", "mode=min,version=v1,inline-only=true").unwrap();
        wanted.read("sbom", "type=sbom,enabled=true").unwrap();
        let provenance = wanted.provenance.clone().unwrap();
        assert_eq!((provenance.detail, provenance.version, provenance.inline_only), (Detail::Min, Version::V1, true));
        assert_eq!(wanted.sbom, Some(Sbom::default()));
        wanted.read("provenance", "mode=min,disabled=true").unwrap();
        assert_eq!(wanted.provenance, None);
        wanted.read("sbom", "enabled=false").unwrap();
        assert_eq!(wanted.sbom, None);
        for (kind, value) in [
            ("sbom", "generator=x"),
            ("sbom", "moon=1"),
            ("sbom", "type=moon"),
            ("provenance", "mode=x"),
            ("provenance", "x"),
            ("other", ""),
        ] {
            assert!(wanted.read(kind, value).is_err(), "{kind} {value}");
        }
    }
}
