//! `docker tag`.

use engine_client::{Request, escape};

use super::pull::parse;
use crate::command::{Args, Command, Matches};
use crate::context::Context;
use crate::failure::Failure;

pub const COMMAND: Command = Command {
    name: "tag",
    usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    about: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    aliases: "docker image tag, docker tag",
    args: Args::Exactly(2),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let target = parse(flags.arg(1)).map_err(|error| {
        Failure::Text(format!("Error parsing reference: {:?} is not a valid repository/tag: {error}", flags.arg(1)))
    })?;
    if target.digest().is_some() {
        return Err(Failure::text("refusing to create a tag with a digest reference"));
    }
    let target = target.with_default_tag();
    let request = Request::post(format!("/images/{}/tag", escape(flags.arg(0))))
        .with("repo", target.name())
        .with_some("tag", target.tag().unwrap_or_default());
    context.client.send(request).await?;
    Ok(0)
}
