//! `docker pull`, and the pull inside `run`.

use engine_client::Request;
use ids::Reference;

use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::messages;
pub use crate::progress::Output;
use crate::progress::show;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("all-tags", 'a', Kind::Bool, "", "Download all tagged images in the repository"),
    flag("disable-content-trust", NONE, Kind::Bool, "true", "Skip image verification"),
    flag("platform", NONE, Kind::Text, "", "Set platform if server is multi-platform capable").or_variable("DOCKER_DEFAULT_PLATFORM"),
    flag("quiet", 'q', Kind::Bool, "", "Suppress verbose output"),
];

pub const COMMAND: Command = Command {
    name: "pull",
    usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
    about: "Download an image from a registry",
    aliases: "docker image pull, docker pull",
    flags: &[FLAGS],
    args: Args::Exactly(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let reference = parse(flags.arg(0))?;
    let (all, quiet) = (flags.is_set("all-tags"), flags.is_set("quiet"));
    if all && !reference.is_name_only() {
        return Err(Failure::text(messages::TAG_WITH_ALL_TAGS));
    }
    let output = if quiet { Output::Nowhere } else { Output::Stdout };
    let pulled = if all {
        fetch(context, &reference, "", flags.text("platform"), output).await?;
        reference
    } else {
        let whole = reference.clone().with_default_tag();
        if reference.is_name_only() && !quiet {
            context::print_line(&format!("Using default tag: {}", whole.tag().unwrap_or_default()))?;
        }
        fetch(context, &whole, &tag_or_digest(&whole), flags.text("platform"), output).await?;
        whole
    };
    // The one line that a script wants, and all that --quiet leaves.
    context::print_line(&pulled.to_string())?;
    Ok(0)
}

/// Pulls what a container needs.
pub async fn pull(context: &Context, image: &str, platform: &str, output: Output) -> Result<(), Failure> {
    let reference = parse(image)?.with_default_tag();
    fetch(context, &reference, &tag_or_digest(&reference), platform, output).await
}

async fn fetch(
    context: &Context,
    reference: &Reference,
    tag: &str,
    platform: &str,
    output: Output,
) -> Result<(), Failure> {
    let auth = context.config.auth_for(&reference.name());
    let request = Request::post("/images/create")
        .with("fromImage", reference.name())
        .with_some("platform", platform)
        .with_some("tag", tag)
        .registry_auth(&auth);
    show(context.client.stream(request).await?.lines(), output).await
}

fn tag_or_digest(reference: &Reference) -> String {
    match reference.digest() {
        Some(digest) => digest.to_string(),
        None => reference.tag().unwrap_or_default().to_owned(),
    }
}

/// A reference, or Docker's words about it.
pub fn parse(text: &str) -> Result<Reference, Failure> {
    Reference::parse_familiar(text).map_err(|error| Failure::Text(error.to_string()))
}
