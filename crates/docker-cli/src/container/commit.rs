//! `docker commit`.

use engine_api::IdResponse;
use engine_client::Request;

use crate::command::{Args, Command, Flag, Kind, Matches, Order, flag};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::image::pull::parse;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("author", 'a', Kind::Text, "", "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")"),
    flag("change", 'c', Kind::List, "", "Apply Dockerfile instruction to the created image"),
    flag("message", 'm', Kind::Text, "", "Commit message"),
    flag("pause", 'p', Kind::Bool, "true", "Pause container during commit"),
];

pub const COMMAND: Command = Command {
    name: "commit",
    usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    about: "Create a new image from a container's changes",
    aliases: "docker container commit, docker commit",
    flags: &[FLAGS],
    args: Args::Between(1, 2),
    order: Order::FlagsFirst,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let mut request = Request::post("/commit").with("author", flags.text("author"));
    for change in flags.list("change") {
        request = request.with("changes", change);
    }
    request = request.with("comment", flags.text("message")).with("container", flags.arg(0));
    if !flags.is_set("pause") {
        request = request.with("pause", "0");
    }
    let (repository, tag) = match flags.arg(1) {
        "" => (String::new(), String::new()),
        name => {
            let reference = parse(name)?;
            if reference.digest().is_some() {
                return Err(Failure::text("refusing to create a tag with a digest reference"));
            }
            let reference = reference.with_default_tag();
            (reference.name(), reference.tag().unwrap_or_default().to_owned())
        }
    };
    request = request.with("repo", repository).with("tag", tag);
    let answer: IdResponse = context.client.call(request).await?;
    context::print_line(&answer.id)?;
    Ok(0)
}
