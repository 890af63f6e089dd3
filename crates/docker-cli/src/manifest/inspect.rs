//! `docker manifest inspect`.

use engine_api::image::{Descriptor, Platform};
use ids::{Digest, Reference};
use image_core::Index;
use registry_client::Repository;

use super::list::List;
use super::parse;
use super::remote::{self, Remote, fetch};
use super::store::{Store, Stored, missing};
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::{self, Context};
use crate::failure::Failure;

const FLAGS: &[Flag] = &[
    flag("insecure", NONE, Kind::Bool, "", "Allow communication with an insecure registry"),
    flag("verbose", 'v', Kind::Bool, "", "Output additional info including layers and platform"),
];

pub const COMMAND: Command = Command {
    name: "inspect",
    usage: "[OPTIONS] [MANIFEST_LIST] MANIFEST",
    about: "Display an image manifest, or manifest list",
    flags: &[FLAGS],
    args: Args::Between(1, 2),
    local: true,
    experimental: true,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

/// A local list first, then what the registry has.
async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let verbose = flags.is_set("verbose");
    let store = Store::new(&context.config.folder);
    if flags.args.len() == 2 {
        let (list, image) = (parse(flags.arg(0))?, parse(flags.arg(1))?);
        let stored = store.get(&list, &image)?.ok_or_else(|| missing(&image))?;
        return show_image(&stored, verbose);
    }
    let reference = parse(flags.arg(0))?;
    if let Some(images) = store.list(&reference)? {
        return if verbose { show_images(&images) } else { show_list(&List::new(&reference, &images)?) };
    }
    let repository = remote::repository(context, &reference, flags.is_set("insecure"));
    match fetch(&repository, &reference).await? {
        Remote::Image(stored) => show_image(&stored, verbose),
        Remote::List(index) if verbose => show_images(&members(&repository, &reference, index).await?),
        Remote::List(index) => show_list(&List::of_descriptors(index.manifests.into_iter().map(to_wire).collect())),
    }
}

/// Each image of a registry's list, with the platform that the list gives it.
async fn members(repository: &Repository, list: &Reference, index: Index) -> Result<Vec<Stored>, Failure> {
    let mut images = Vec::with_capacity(index.manifests.len());
    for entry in index.manifests {
        let member = list.with_digest(entry.digest);
        let Remote::Image(mut stored) = fetch(repository, &member).await? else {
            return Err(Failure::Text(format!("{member} is a manifest list")));
        };
        // Docker's client keeps the tag that was asked for in front of the digest.
        stored.reference = format!("{list}@{}", entry.digest);
        stored.descriptor = to_wire(entry);
        images.push(stored);
    }
    Ok(images)
}

fn to_wire(descriptor: image_core::Descriptor) -> Descriptor {
    let digest: Digest = descriptor.digest;
    Descriptor {
        media_type: descriptor.media_type,
        digest: digest.to_string(),
        size: i64::try_from(descriptor.size).unwrap_or(i64::MAX),
        urls: descriptor.urls.unwrap_or_default(),
        annotations: descriptor.annotations.unwrap_or_default(),
        platform: descriptor.platform.map(|platform| Platform {
            architecture: platform.architecture,
            os: platform.os,
            os_version: platform.os_version.unwrap_or_default(),
            os_features: platform.os_features.unwrap_or_default(),
            variant: platform.variant,
        }),
    }
}

fn show_image(stored: &Stored, verbose: bool) -> Result<u8, Failure> {
    let text = if verbose { json(stored)? } else { stored.bytes()? };
    show(tabbed(&text))
}

fn show_images(images: &[Stored]) -> Result<u8, Failure> {
    show(tabbed(&json(images)?))
}

fn show_list(list: &List) -> Result<u8, Failure> {
    show(list.to_bytes())
}

fn show(mut text: Vec<u8>) -> Result<u8, Failure> {
    text.push(b'\n');
    context::write_all(&text)?;
    Ok(0)
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(|error| Failure::Text(error.to_string()))
}

/// JSON indented by tabs as Go does it: members in their order, numbers as they are written, empty objects closed.
fn tabbed(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let (mut level, mut in_text, mut escaped, mut opened) = (0_usize, false, false, false);
    let line = |out: &mut Vec<u8>, level: usize| {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b'\t', level));
    };
    for byte in json {
        if in_text {
            out.push(*byte);
            (in_text, escaped) = match (escaped, byte) {
                (true, _) => (true, false),
                (false, b'\\') => (true, true),
                (false, byte) => (*byte != b'"', false),
            };
            continue;
        }
        if byte.is_ascii_whitespace() {
            continue;
        }
        if opened && !matches!(byte, b'}' | b']') {
            level += 1;
            line(&mut out, level);
        }
        match byte {
            b'}' | b']' => {
                if !opened {
                    level = level.saturating_sub(1);
                    line(&mut out, level);
                }
                out.push(*byte);
            }
            b',' => {
                out.push(b',');
                line(&mut out, level);
            }
            b':' => out.extend_from_slice(b": "),
            byte => {
                in_text = *byte == b'"';
                out.push(*byte);
            }
        }
        opened = matches!(byte, b'{' | b'[');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_as_go_indents_it() {
        let given = br#"{ "a":[1,{"b":"x: {\"y\"},"}],"c":{},"d":[ ],"e":1.50}"#;
        let expected = "{\n\t\"a\": [\n\t\t1,\n\t\t{\n\t\t\t\"b\": \"x: {\\\"y\\\"},\"\n\t\t}\n\t],\n\t\"c\": {},\n\t\"d\": [],\n\t\"e\": 1.50\n}";
        assert_eq!(String::from_utf8(tabbed(given)).unwrap(), expected);
    }
}
