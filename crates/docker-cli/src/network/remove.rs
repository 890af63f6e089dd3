//! `docker network rm`.

use engine_client::{Request, escape};

use crate::command::{Args, Command, Flag, Kind, Matches, flag};
use crate::context::{self, Context};
use crate::failure::Failure;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("force", 'f', Kind::Bool, "", "Do not error if the network does not exist"),
];

pub const COMMAND: Command = Command {
    name: "rm",
    names: &["remove"],
    usage: "NETWORK [NETWORK...]",
    about: "Remove one or more networks",
    aliases: "docker network rm, docker network remove",
    flags: &[FLAGS],
    args: Args::AtLeast(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let mut failed = false;
    for name in &flags.args {
        match context.client.send(Request::delete(format!("/networks/{}", escape(name)))).await {
            Ok(_) => context::print_line(name)?,
            Err(error) if flags.is_set("force") && error.is_not_found() => {}
            Err(error) => {
                context::say(&error.to_string());
                failed = true;
            }
        }
    }
    if failed { Err(Failure::silent(1)) } else { Ok(0) }
}
