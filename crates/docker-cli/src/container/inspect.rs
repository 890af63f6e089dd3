//! `docker container inspect`.

use engine_client::{Request, escape};

use crate::command::{Args, Command, Flag, Kind, Matches, flag};
use crate::context::Context;
use crate::failure::Failure;
use crate::inspect::{OBJECT_FORMAT_USAGE, show};

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("format", 'f', Kind::Text, "", OBJECT_FORMAT_USAGE),
    flag("size", 's', Kind::Bool, "", "Display total file sizes"),
];

pub const COMMAND: Command = Command {
    name: "inspect",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Display detailed information on one or more containers",
    flags: &[FLAGS],
    args: Args::AtLeast(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let size = flags.is_set("size");
    show(flags, async |name: &str| Ok(context.client.bytes(request(name, size)).await?.to_vec())).await
}

/// `GET /containers/x/json`.
pub fn request(name: &str, size: bool) -> Request {
    Request::get(format!("/containers/{}/json", escape(name))).with_flag("size", size)
}
