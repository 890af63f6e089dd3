//! `docker push`.

use engine_client::Request;

use super::platform;
use super::pull::parse;
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::messages;
use crate::progress::{Output, show};
use crate::terminal;

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

const PLATFORM_NOTE: &str = "Using --platform pushes only the specified platform manifest of a multi-platform image index.\nOther components, like attestations, will not be included.\nTo push the complete multi-platform image, remove the --platform flag.\n";

/// Information in front of the output, its lines below each other.
fn note(text: &str) -> Result<(), Failure> {
    let on_terminal = terminal::stdout_is_terminal();
    let header = if on_terminal {
        "\x1b[1m\x1b[106m\x1b[30mi\x1b[0m\x1b[0m \x1b[96mInfo → \x1b[0m\x1b[0m"
    } else {
        " Info -> "
    };
    let margin = " ".repeat(if on_terminal { "i Info → ".chars().count() } else { header.len() });
    let mut out = String::from("\n");
    for (at, line) in text.split('\n').enumerate() {
        out.push_str(if at == 0 { header } else { &margin });
        if on_terminal {
            let line = line.replace("--platform", "\x1b[1m--platform\x1b[0m");
            out.push_str(&format!("\x1b[3m{line}\x1b[0m\n"));
        } else {
            out.push_str(&format!("{line}\n"));
        }
    }
    context::print(&out)
}

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let platform = platform::parameter(flags.text("platform")).map_err(|reason| {
        // Docker's client says both in one line.
        Failure::Text(format!("Invalid platform {}{reason}", flags.text("platform")))
    })?;
    if !platform.is_empty() {
        note(PLATFORM_NOTE)?;
    }
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
