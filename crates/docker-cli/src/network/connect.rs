//! `docker network connect` and `docker network disconnect`.

use engine_api::network::{ConnectRequest, DisconnectRequest};
use engine_client::{Request, escape};

use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::container::attachments::endpoint;
use crate::context::Context;
use crate::failure::Failure;

#[rustfmt::skip]
const CONNECT_FLAGS: &[Flag] = &[
    flag("alias", NONE, Kind::Strings, "", "Add network-scoped alias for the container"),
    flag("driver-opt", NONE, Kind::Strings, "", "driver options for the network"),
    flag("gw-priority", NONE, Kind::Int, "", "Highest gw-priority provides the default gateway. Accepts positive and negative values."),
    flag("ip", NONE, Kind::Text, "", "IPv4 address (e.g., \"172.30.100.104\")"),
    flag("ip6", NONE, Kind::Text, "", "IPv6 address (e.g., \"2001:db8::33\")"),
    flag("link", NONE, Kind::List, "", "Add link to another container"),
    flag("link-local-ip", NONE, Kind::Strings, "", "Add a link-local address for the container"),
];
#[rustfmt::skip]
const DISCONNECT_FLAGS: &[Flag] = &[
    flag("force", 'f', Kind::Bool, "", "Force the container to disconnect from a network"),
];

pub const CONNECT: Command = Command {
    name: "connect",
    usage: "[OPTIONS] NETWORK CONTAINER",
    about: "Connect a container to a network",
    flags: &[CONNECT_FLAGS],
    args: Args::Exactly(2),
    action: Some(|context, flags| Box::pin(connect(context, flags))),
    ..Command::EMPTY
};

pub const DISCONNECT: Command = Command {
    name: "disconnect",
    usage: "[OPTIONS] NETWORK CONTAINER",
    about: "Disconnect a container from a network",
    flags: &[DISCONNECT_FLAGS],
    args: Args::Exactly(2),
    action: Some(|context, flags| Box::pin(disconnect(context, flags))),
    ..Command::EMPTY
};

async fn connect(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let body = ConnectRequest {
        container: flags.arg(1).to_owned(),
        endpoint_config: Some(endpoint(flags).map_err(Failure::Text)?),
    };
    context.client.send(Request::post(format!("/networks/{}/connect", escape(flags.arg(0)))).json(&body)).await?;
    Ok(0)
}

async fn disconnect(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let body = DisconnectRequest { container: flags.arg(1).to_owned(), force: flags.is_set("force") };
    context.client.send(Request::post(format!("/networks/{}/disconnect", escape(flags.arg(0)))).json(&body)).await?;
    Ok(0)
}
