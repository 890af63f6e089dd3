//! `docker network rm`.

use engine_api::network::Network;
use engine_client::{Request, escape};

use crate::command::{Args, Command, Flag, Kind, Matches, flag};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::prompt::confirm;

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

/// A swarm cannot do without that network.
const INGRESS: &str = "WARNING! Before removing the routing-mesh network, make sure all the nodes in your swarm run the same docker engine version. Otherwise, removal may not be effective and functionality of newly create ingress networks will be impaired.\nAre you sure you want to continue?";

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let mut failed = false;
    for name in &flags.args {
        let found = context.client.call::<Network>(super::inspect::request(name, false)).await;
        if found.is_ok_and(|network| network.ingress) && !confirm(INGRESS)? {
            continue;
        }
        match context.client.send(Request::delete(format!("/networks/{}", escape(name)))).await {
            Ok(_) => context::print_line(name)?,
            Err(error) if flags.is_set("force") && error.is_not_found() => {}
            Err(error) => {
                context::say(&error.to_string());
                failed = true;
            }
        }
    }
    if failed { Err(Failure::text("exit status 1")) } else { Ok(0) }
}
