//! `docker image inspect`.

use engine_client::{Request, escape};

use super::platform;
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::Context;
use crate::failure::Failure;
use crate::inspect::{OBJECT_FORMAT_USAGE, show};

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("format", 'f', Kind::Text, "", OBJECT_FORMAT_USAGE),
    flag("platform", NONE, Kind::Text, "", "Inspect a specific platform of the multi-platform image.\nIf the image or the server is not multi-platform capable, the command will error out if the platform does not match.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)"),
];

pub const COMMAND: Command = Command {
    name: "inspect",
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Display detailed information on one or more images",
    flags: &[FLAGS],
    args: Args::AtLeast(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let platform = platform::parameter(flags.text("platform")).map_err(Failure::Text)?;
    show(flags, async |name: &str| Ok(context.client.bytes(request(name, &platform)).await?.to_vec())).await
}

/// `GET /images/x/json`.
pub fn request(name: &str, platform: &str) -> Request {
    Request::get(format!("/images/{}/json", escape(name))).with_some("platform", platform)
}
