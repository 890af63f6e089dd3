//! `docker volume rm`.

use engine_client::{Request, escape};

use crate::command::{Args, Command, Flag, Kind, Matches, flag};
use crate::context::{self, Context};
use crate::failure::Failure;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("force", 'f', Kind::Bool, "", "Force the removal of one or more volumes"),
];

pub const COMMAND: Command = Command {
    name: "rm",
    names: &["remove"],
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    about: "Remove one or more volumes",
    long: "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
    aliases: "docker volume rm, docker volume remove",
    flags: &[FLAGS],
    args: Args::AtLeast(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let mut errors = Vec::new();
    for name in &flags.args {
        let request = Request::delete(format!("/volumes/{}", escape(name))).with_flag("force", flags.is_set("force"));
        match context.client.send(request).await {
            Ok(_) => context::print_line(name)?,
            Err(error) => errors.push(error.to_string()),
        }
    }
    if errors.is_empty() { Ok(0) } else { Err(Failure::Text(errors.join("\n"))) }
}
