//! `docker volume inspect`.

use engine_client::{Request, escape};

use crate::command::{Args, Command, Flag, Kind, Matches, flag};
use crate::context::Context;
use crate::failure::Failure;
use crate::inspect::{OBJECT_FORMAT_USAGE, show};

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("format", 'f', Kind::Text, "", OBJECT_FORMAT_USAGE),
];

pub const COMMAND: Command = Command {
    name: "inspect",
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    about: "Display detailed information on one or more volumes",
    flags: &[FLAGS],
    args: Args::AtLeast(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    show(flags, async |name: &str| Ok(context.client.bytes(request(name)).await?.to_vec())).await
}

/// `GET /volumes/x`.
pub fn request(name: &str) -> Request {
    Request::get(format!("/volumes/{}", escape(name)))
}
