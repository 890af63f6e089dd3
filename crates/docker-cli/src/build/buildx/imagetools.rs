//! `docker buildx imagetools`: what a registry has under a name, without an engine.

use ids::Reference;
use image_core::{Descriptor, Document};

use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::{Context, print, write_all};
use crate::failure::Failure;
use crate::manifest::remote::{self, failed};
use crate::text::table::align_with;

pub const NOUN: Command = Command {
    name: "imagetools",
    usage: "COMMAND",
    about: "Commands to work on images in registry",
    args: Args::None,
    children: &[&INSPECT],
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[flag("raw", NONE, Kind::Bool, "", "Show original, unformatted JSON manifest")];

const INSPECT: Command = Command {
    name: "inspect",
    usage: "[OPTIONS] NAME",
    about: "Show details of an image in the registry",
    flags: &[FLAGS],
    args: Args::Exactly(1),
    local: true,
    action: Some(|context, flags| Box::pin(inspect(context, flags))),
    ..Command::EMPTY
};

async fn inspect(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let reference = Reference::parse_familiar(flags.arg(0)).map_err(failed)?.with_default_tag();
    let repository = remote::repository(context, &reference, false);
    let wanted = match reference.digest() {
        Some(digest) => digest.to_string(),
        None => reference.tag().unwrap_or_default().to_owned(),
    };
    let missing = || Failure::Text(format!("ERROR: {reference}: not found"));
    let fetched = match repository.manifest(&wanted).await {
        Err(error) if error.status() == Some(404) => return Err(missing()),
        answer => answer.map_err(|error| Failure::Text(format!("ERROR: {}", errors::chain(&error))))?,
    };
    if flags.is_set("raw") {
        // Without a line's end: these are the bytes that the digest is of.
        write_all(&fetched.bytes)?;
        return Ok(0);
    }
    let document = Document::parse(&fetched.bytes, &fetched.media_type, &reference.to_string()).map_err(failed)?;
    let digest = fetched.digest;
    let head = format!("Name:\t{reference}\nMediaType:\t{}\nDigest:\t{digest}\n", document.media_type());
    print(&align_with(&head, 0, 1))?;
    if let Document::Index(index) = &document {
        print(&align_with("\t\nManifests:\t\n", 0, 1))?;
        print(&entries(&reference, &index.manifests))?;
    }
    Ok(0)
}

/// The entries of an index, each with a blank line before it but the first.
fn entries(reference: &Reference, entries: &[Descriptor]) -> String {
    let mut text = String::new();
    let mut rows = String::new();
    for (at, entry) in entries.iter().enumerate() {
        if at > 0 {
            rows.push_str("\t\n");
        }
        rows.push_str(&format!("  Name:\t{reference}@{}\n  MediaType:\t{}\n", entry.digest, entry.media_type));
        let Some(platform) = &entry.platform else { continue };
        rows.push_str(&format!("  Platform:\t{platform}\n"));
        let versions = platform.os_version.iter().map(|version| ("OSVersion", version.clone()));
        let features = platform.os_features.iter().map(|features| ("OSFeatures", features.join(", ")));
        let urls = entry.urls.iter().map(|urls| ("URLs", urls.join(", ")));
        for (name, value) in versions.chain(features).chain(urls) {
            rows.push_str(&format!("  {name}:\t{value}\n"));
        }
        if let Some(annotations) = entry.annotations.as_ref().filter(|annotations| !annotations.is_empty()) {
            rows.push_str("  Annotations:\t\n");
            text.push_str(&align_with(&std::mem::take(&mut rows), 0, 1));
            let lines: String = annotations.iter().map(|(key, value)| format!("    {key}:\t{value}\n")).collect();
            text.push_str(&align_with(&lines, 0, 1));
        }
    }
    text + &align_with(&rows, 0, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ids::Digest;
    use image_core::{Platform, media_type};

    #[test]
    fn entries_are_shown_as_buildx_shows_them() {
        let reference = Reference::parse_familiar("reg:5000/app:1").unwrap();
        let entry = |platform: Platform| {
            let mut entry = Descriptor::new(media_type::OCI_MANIFEST, Digest::from_bytes([0; 32]), 1);
            entry.platform = Some(platform);
            entry
        };
        let mut attestation = entry(Platform::new("unknown", "unknown", ""));
        attestation.annotations = Some(
            [("vnd.docker.reference.digest", "sha256:x"), ("vnd.docker.reference.type", "attestation-manifest")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        );
        let shown = entries(&reference, &[entry(Platform::new("linux", "arm", "v7")), attestation]);
        let name = format!("reg:5000/app:1@{}", Digest::from_bytes([0; 32]));
        let expected = [
            &format!("  Name:      {name}"),
            "  MediaType: application/vnd.oci.image.manifest.v1+json",
            "  Platform:  linux/arm/v7",
            "             ",
            &format!("  Name:      {name}"),
            "  MediaType: application/vnd.oci.image.manifest.v1+json",
            "  Platform:  unknown/unknown",
            "  Annotations: ",
            "    vnd.docker.reference.digest: sha256:x",
            "    vnd.docker.reference.type:   attestation-manifest",
        ];
        let shown: Vec<&str> = shown.lines().map(str::trim_end).collect();
        assert_eq!(shown.len(), expected.len(), "{shown:#?}");
        for (shown, expected) in shown.iter().zip(expected) {
            let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(words(shown), words(expected));
        }
    }
}
