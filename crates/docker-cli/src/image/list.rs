//! `docker images`, which is `docker image ls`.

use engine_api::image::Summary;
use engine_client::Request;

use super::tree;
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::container::list::{FORMAT_USAGE, read_filters};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::format::{Column, Field, Format};
use crate::template::Value;
use crate::text::ellipsis::short_id;
use crate::text::size::{human_size, human_size_with_precision};
use crate::text::time;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("all", 'a', Kind::Bool, "", "Show all images (default hides intermediate images)"),
    flag("digests", NONE, Kind::Bool, "", "Show digests"),
    flag("filter", 'f', Kind::Filter, "", "Filter output based on conditions provided"),
    flag("format", NONE, Kind::Text, "", FORMAT_USAGE),
    flag("no-trunc", NONE, Kind::Bool, "", "Don't truncate output"),
    flag("quiet", 'q', Kind::Bool, "", "Only show image IDs"),
    flag("tree", NONE, Kind::Bool, "", "List multi-platform images as a tree (EXPERIMENTAL)"),
];

/// `docker images`.
pub const IMAGES: Command =
    Command { name: "images", names: &[], action: Some(|context, flags| Box::pin(images(context, flags))), ..LS };

/// `docker image ls`.
pub const LS: Command = Command {
    name: "ls",
    names: &["list"],
    usage: "[OPTIONS] [REPOSITORY[:TAG]]",
    about: "List images",
    aliases: "docker image ls, docker image list, docker images",
    flags: &[FLAGS],
    args: Args::AtMost(1),
    action: Some(|context, flags| Box::pin(async { execute(context, flags).await.map(|_| 0) })),
    ..Command::EMPTY
};

const TABLE: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const TABLE_WITH_DIGESTS: &str = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";

const RAW: &str = "repository: {{.Repository}}\ntag: {{.Tag}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n";
const RAW_WITH_DIGEST: &str = "repository: {{.Repository}}\ntag: {{.Tag}}\ndigest: {{.Digest}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n";

pub const COLUMNS: &[Column] = &[
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];

const NONE_SHOWN: &str = "<none>";

/// Words that people mean as commands of `docker image`.
const AMBIGUOUS: &[&str] =
    &["build", "history", "import", "inspect", "list", "load", "ls", "prune", "pull", "push", "rm", "save", "tag"];

async fn images(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let wanted = flags.arg(0);
    if execute(context, flags).await? == 0 && AMBIGUOUS.contains(&wanted) && !flags.is_set("tree") {
        context::say(&format!("\nNo images found matching {wanted:?}: did you mean \"docker image {wanted}\"?"));
    }
    Ok(0)
}

/// Lists, and answers how many there are.
async fn execute(context: &Context, flags: &Matches) -> Result<usize, Failure> {
    let quiet = flags.is_set("quiet");
    if flags.is_set("tree") {
        let clash = [("quiet", "quiet"), ("no-trunc", "no-trunc"), ("digests", "show-digest"), ("format", "format")];
        if let Some((_, shown)) =
            clash.iter().find(|(name, _)| flags.is_set(name) || !matches!(flags.text(name), "" | "false"))
        {
            return Err(Failure::Text(format!("--{shown} is not yet supported with --tree")));
        }
        return tree::show(context, flags).await;
    }
    let digests = flags.is_set("digests");
    let asked = match flags.text("format") {
        "" if quiet => "{{.ID}}",
        "" if !context.config.images_format.is_empty() => context.config.images_format.as_str(),
        "table" if quiet => "{{.ID}}",
        "raw" if quiet => "image_id: {{.ID}}",
        "raw" if digests => RAW_WITH_DIGEST,
        "raw" => RAW,
        asked => asked,
    };
    let with_digest = format!("{asked}\t{{{{.Digest}}}}");
    let lacks_digest = asked.starts_with("table ") && digests && !asked.contains("{{.Digest}}");
    let asked = if lacks_digest { with_digest.as_str() } else { asked };
    let format = Format::new(asked, if digests { TABLE_WITH_DIGESTS } else { TABLE }, "imageContext");
    format.check()?;
    let mut filters = read_filters(flags)?;
    if !flags.arg(0).is_empty() {
        filters.add("reference", flags.arg(0));
    }
    let request = Request::get("/images/json")
        .with_flag("all", flags.is_set("all"))
        .with_some("filters", filters.encode().unwrap_or_default());
    let list: Vec<Summary> = context.client.call(request).await?;
    let wants_digest = digests || format.mentions(".Digest");
    let full = flags.is_set("no-trunc");
    let rows = list
        .iter()
        .flat_map(|image| names(image, wants_digest, digests).into_iter().map(move |name| row(image, name, full)));
    context::print(&format.render(COLUMNS, rows.collect())?)?;
    Ok(list.len())
}

/// One row of an image: repository, tag, digest.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    repository: String,
    tag: String,
    digest: String,
}

/// A row a name; with digests, a row a digest of a name; a row of blanks for an image without any.
fn names(image: &Summary, wants_digest: bool, shows_digests: bool) -> Vec<Name> {
    let tagged =
        image.repo_tags.iter().filter(|name| !name.starts_with(NONE_SHOWN)).filter_map(|name| name.rsplit_once(':'));
    let digested: Vec<(&str, &str)> = image
        .repo_digests
        .iter()
        .filter(|name| !name.starts_with(NONE_SHOWN))
        .filter_map(|name| name.split_once('@'))
        .collect();
    let digest_of = |repository: &str| digested.iter().find(|(name, _)| *name == repository).map(|(_, digest)| *digest);
    let name = |repository: &str, tag: &str, digest: Option<&str>| Name {
        repository: repository.to_owned(),
        tag: tag.to_owned(),
        digest: digest.unwrap_or(NONE_SHOWN).to_owned(),
    };
    let mut rows: Vec<Name> =
        tagged.map(|(repository, tag)| name(repository, tag, digest_of(repository).filter(|_| wants_digest))).collect();
    if rows.is_empty() {
        let unnamed = |(repository, digest): &(&str, &str)| name(repository, NONE_SHOWN, Some(*digest));
        if shows_digests {
            rows.extend(digested.iter().map(unnamed));
        } else {
            rows.extend(digested.first().map(|(repository, _)| name(repository, NONE_SHOWN, Some(""))));
        }
    }
    if rows.is_empty() {
        rows.push(name(NONE_SHOWN, NONE_SHOWN, None));
    }
    rows
}

/// One row however many names there are: the first tag's.
pub fn first_row(image: &Summary, full: bool) -> Vec<Field> {
    let tag = image.repo_tags.first().filter(|name| !name.starts_with(NONE_SHOWN));
    let (repository, tag) = tag.and_then(|name| name.rsplit_once(':')).unwrap_or((NONE_SHOWN, NONE_SHOWN));
    let digest = String::new();
    row(image, Name { repository: repository.to_owned(), tag: tag.to_owned(), digest }, full)
}

fn row(image: &Summary, name: Name, full: bool) -> Vec<Field> {
    let id = if full { image.id.as_str() } else { short_id(&image.id) };
    let counted = |value: i64, shown: String| if value == -1 { "N/A".to_owned() } else { shown };
    let unique = if image.shared_size == -1 { -1 } else { image.size - image.shared_size };
    vec![
        ("ID", Value::text(id)),
        ("Repository", Value::Text(name.repository)),
        ("Tag", Value::Text(name.tag)),
        ("Digest", Value::Text(name.digest)),
        ("CreatedSince", Value::text(time::ago(image.created))),
        ("CreatedAt", Value::text(time::local_go(image.created))),
        ("Size", Value::text(human_size_with_precision(image.size, 3))),
        ("Containers", Value::text(counted(image.containers, image.containers.to_string()))),
        ("VirtualSize", Value::text(human_size(image.size))),
        ("SharedSize", Value::text(counted(image.shared_size, human_size(image.shared_size)))),
        ("UniqueSize", Value::text(counted(unique, human_size(unique)))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(tags: &[&str], digests: &[&str], wants_digest: bool) -> Vec<String> {
        let image = Summary {
            repo_tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            repo_digests: digests.iter().map(|digest| (*digest).to_owned()).collect(),
            ..Summary::default()
        };
        let rows = names(&image, wants_digest, wants_digest).into_iter();
        rows.map(|name| format!("{} {} {}", name.repository, name.tag, name.digest)).collect()
    }

    #[test]
    fn an_image_has_a_row_for_each_of_its_names() {
        assert_eq!(shown(&["a:1", "h:5000/b:2"], &[], false), ["a 1 <none>", "h:5000/b 2 <none>"]);
        assert_eq!(shown(&["a:1"], &["a@sha256:x"], true), ["a 1 sha256:x"]);
        assert_eq!(shown(&[], &["a@sha256:x", "b@sha256:x"], false), ["a <none> "]);
        assert_eq!(shown(&[], &["a@sha256:x", "b@sha256:x"], true), ["a <none> sha256:x", "b <none> sha256:x"]);
        assert_eq!(shown(&["<none>:<none>"], &["<none>@<none>"], true), ["<none> <none> <none>"]);
    }
}
