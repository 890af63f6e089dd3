//! `docker push`.

use engine_client::Request;

use super::pull::parse;
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::messages;
use crate::progress::{Output, show};

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("all-tags", 'a', Kind::Bool, "", "Push all tags of an image to the repository"),
    flag("disable-content-trust", NONE, Kind::Bool, "true", "Skip image signing"),
    flag("platform", NONE, Kind::Text, "", "Push a platform-specific manifest as a single-platform image to the registry.\nImage index won't be pushed, meaning that other manifests, including attestations won't be preserved.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)"),
    flag("quiet", 'q', Kind::Bool, "", "Suppress verbose output"),
];

pub const COMMAND: Command = Command {
    name: "push",
    usage: "[OPTIONS] NAME[:TAG]",
    about: "Upload an image to a registry",
    aliases: "docker image push, docker push",
    flags: &[FLAGS],
    args: Args::Exactly(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let mut reference = parse(flags.arg(0))?;
    let quiet = flags.is_set("quiet");
    match (flags.is_set("all-tags"), reference.is_name_only()) {
        (true, false) => return Err(Failure::text(messages::TAG_WITH_ALL_TAGS)),
        (false, true) => {
            reference = reference.with_default_tag();
            if !quiet {
                context::print_line(&format!("Using default tag: {}", reference.tag().unwrap_or_default()))?;
            }
        }
        _ => {}
    }
    let platform = match flags.text("platform") {
        "" => String::new(),
        text => platform_json(text)?,
    };
    let request = Request::post(format!("/images/{}/push", engine_client::escape(&reference.name())))
        .with_some("platform", platform)
        .with_some("tag", reference.tag().unwrap_or_default())
        .registry_auth(&context.config.auth_for(&reference.name()));
    let lines = context.client.stream(request).await?.lines();
    show(lines, if quiet { Output::Nowhere } else { Output::Stdout }).await?;
    if quiet {
        context::print_line(&reference.to_string())?;
    }
    Ok(0)
}

/// `os[/arch[/variant]]` as the API takes it.
pub fn platform_json(text: &str) -> Result<String, Failure> {
    let mut parts = text.split('/');
    let platform = engine_api::image::Platform {
        os: parts.next().unwrap_or_default().to_owned(),
        architecture: parts.next().unwrap_or_default().to_owned(),
        variant: parts.next().unwrap_or_default().to_owned(),
        ..engine_api::image::Platform::default()
    };
    if platform.os.is_empty() || parts.next().is_some() {
        return Err(Failure::Text(format!("invalid platform: {text:?}")));
    }
    serde_json::to_string(&platform).map_err(|error| Failure::Text(error.to_string()))
}
