//! `docker network inspect`.

use engine_client::{Request, escape};

use crate::command::{Args, Command, Flag, Kind, Matches, flag};
use crate::context::Context;
use crate::failure::Failure;
use crate::inspect::{OBJECT_FORMAT_USAGE, show};

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("format", 'f', Kind::Text, "", OBJECT_FORMAT_USAGE),
    flag("verbose", 'v', Kind::Bool, "", "Verbose output for diagnostics"),
];

pub const COMMAND: Command = Command {
    name: "inspect",
    usage: "[OPTIONS] NETWORK [NETWORK...]",
    about: "Display detailed information on one or more networks",
    flags: &[FLAGS],
    args: Args::AtLeast(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let verbose = flags.is_set("verbose");
    show(flags, async |name: &str| Ok(context.client.bytes(request(name, verbose)).await?.to_vec())).await
}

/// `GET /networks/x`.
pub fn request(name: &str, verbose: bool) -> Request {
    Request::get(format!("/networks/{}", escape(name))).with_some("verbose", if verbose { "true" } else { "" })
}
