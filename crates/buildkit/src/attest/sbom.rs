//! What is in an image, as SPDX 2.3 has it.

use builder::{Builder, Statement};
use errors::ErrorKind;
use ids::Digest;
use serde_json::{Value, json};

use super::packages::{self, Distribution, Package};
use crate::built::Part;
use crate::error::SolveError;

const PREDICATE: &str = "https://spdx.dev/Document";
const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const UNKNOWN: &str = "NOASSERTION";
const TOOL: &str = concat!("Tool: longshore-", env!("CARGO_PKG_VERSION"));

pub(super) async fn of(builder: &Builder, part: &Part) -> Result<Statement, SolveError> {
    let files = builder.files(&part.made).await?;
    let broken =
        |error: std::io::Error| SolveError::refused(ErrorKind::Internal, format!("cannot scan the image: {error}"));
    let found = tokio::task::spawn_blocking(move || packages::find(&files)).await;
    let (packages, distribution) = found.map_err(std::io::Error::other).and_then(|found| found).map_err(broken)?;
    let created = part.made.image.config.created.clone().unwrap_or_default();
    let predicate = document(&part.made.id, &created, &packages, &distribution);
    Ok(Statement { predicate_type: PREDICATE.to_owned(), predicate })
}

/// The same packages give the same document.
fn document(id: &str, created: &str, packages: &[Package], distribution: &Distribution) -> Value {
    let packages: Vec<Value> = packages.iter().map(|package| described(package, distribution)).collect();
    let relation = |package: &Value| json!({ "spdxElementId": DOCUMENT, "relatedSpdxElement": package["SPDXID"], "relationshipType": "DESCRIBES" });
    let relationships: Vec<Value> = packages.iter().map(relation).collect();
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": DOCUMENT,
        "name": "sbom",
        "documentNamespace": format!("urn:oci:image:{id}"),
        "creationInfo": { "created": whole_seconds(created), "creators": [TOOL] },
        "packages": packages,
        "relationships": relationships,
    })
}

fn described(package: &Package, distribution: &Distribution) -> Value {
    let url = package.url(distribution);
    let mut told = json!({
        "name": package.name,
        "SPDXID": format!("SPDXRef-Package-{}-{}", package.kind, &Digest::of(&url).hex()[..16]),
        "versionInfo": package.version,
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": false,
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": UNKNOWN,
        "copyrightText": UNKNOWN,
        "externalRefs": [
            { "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": url },
        ],
    });
    // Package managers' words for licences are not always SPDX's.
    if !package.license.is_empty() {
        told["licenseComments"] = json!(package.license);
    }
    told
}

/// SPDX knows no fractions of seconds.
fn whole_seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_describes_its_packages() {
        let package = Package {
            kind: "deb",
            name: "bash".to_owned(),
            version: "5".to_owned(),
            architecture: "amd64".to_owned(),
            license: String::new(),
        };
        let distribution = Distribution { id: "debian".to_owned(), version: "12".to_owned() };
        let made = document("sha256:1", "2020-01-02T03:04:05.678Z", &[package], &distribution);
        assert_eq!(made["creationInfo"]["created"], "2020-01-02T03:04:05Z");
        assert_eq!(
            made["packages"][0]["externalRefs"][0]["referenceLocator"],
            "pkg:deb/debian/bash@5?arch=amd64&distro=debian-12"
        );
        assert_eq!(made["relationships"][0]["relatedSpdxElement"], made["packages"][0]["SPDXID"]);
        assert!(made["packages"][0].get("licenseComments").is_none());
    }
}
