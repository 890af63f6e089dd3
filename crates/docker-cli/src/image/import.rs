//! `docker import`.

use std::os::fd::AsFd;

use engine_client::Request;
use ids::Reference;

use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::container::options::os_words;
use crate::context::Context;
use crate::failure::Failure;
use crate::progress::{Output, show};

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("change", 'c', Kind::List, "", "Apply Dockerfile instruction to the created image"),
    flag("message", 'm', Kind::Text, "", "Set commit message for imported image"),
    flag("platform", NONE, Kind::Text, "", "Set platform if server is multi-platform capable").or_variable("DOCKER_DEFAULT_PLATFORM"),
];

pub const COMMAND: Command = Command {
    name: "import",
    usage: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    about: "Import the contents from a tarball to create a filesystem image",
    aliases: "docker image import, docker import",
    flags: &[FLAGS],
    args: Args::AtLeast(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let source = flags.arg(0);
    let is_url = source.starts_with("http://") || source.starts_with("https://");
    let mut request = Request::post("/images/create");
    for change in flags.list("change") {
        request = request.with("changes", change);
    }
    request = request
        .with("fromSrc", if is_url { source } else { "-" })
        .with_some("message", flags.text("message"))
        .with_some("platform", flags.text("platform"))
        .with_some("repo", flags.arg(1));
    if source == "-" {
        let stdin = std::io::stdin().as_fd().try_clone_to_owned()?;
        request = request.upload(tokio::fs::File::from_std(stdin.into()));
    } else if !is_url {
        let file = std::fs::File::open(source)
            .map_err(|error| Failure::Text(format!("open {source}: {}", os_words(&error))))?;
        request = request.upload(tokio::fs::File::from_std(file));
    }
    // Before anything is sent, as Docker's client does.
    if !flags.arg(1).is_empty() {
        Reference::parse_familiar(flags.arg(1)).map_err(|error| Failure::Text(error.to_string()))?;
    }
    show(context.client.stream(request).await?.lines(), Output::Stdout).await?;
    Ok(0)
}
