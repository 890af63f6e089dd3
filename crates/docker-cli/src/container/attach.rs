//! `docker attach`.

use engine_api::container::{Inspect, WaitResponse};
use engine_client::{Client, Request, escape};

use super::run::{attach_request, proxy_signals, wait};
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::Context;
use crate::failure::Failure;
use crate::messages;
use crate::stream::resize::Resizer;
use crate::stream::{self, End, Wiring, parse_keys};
use crate::terminal;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("detach-keys", NONE, Kind::Text, "", "Override the key sequence for detaching a container"),
    flag("no-stdin", NONE, Kind::Bool, "", "Do not attach STDIN"),
    flag("sig-proxy", NONE, Kind::Bool, "true", "Proxy all received signals to the process"),
];

pub const COMMAND: Command = Command {
    name: "attach",
    usage: "[OPTIONS] CONTAINER",
    about: "Attach local standard input, output, and error streams to a running container",
    aliases: "docker container attach, docker attach",
    flags: &[FLAGS],
    args: Args::Exactly(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

/// The container as the daemon describes it.
pub async fn inspect(client: &Client, name: &str) -> Result<Inspect, Failure> {
    Ok(client.call(Request::get(format!("/containers/{}/json", escape(name)))).await?)
}

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let container = inspect(&context.client, flags.arg(0)).await?;
    let state = &container.state;
    let refusal = match () {
        () if !state.running => Some(messages::ATTACH_STOPPED),
        () if state.paused => Some(messages::ATTACH_PAUSED),
        () if state.restarting => Some(messages::ATTACH_RESTARTING),
        () => None,
    };
    if let Some(words) = refusal {
        return Err(Failure::text(words));
    }
    let tty = container.config.tty;
    let keys = context.detach_keys(flags.text("detach-keys")).to_owned();
    let wiring = Wiring {
        stdin: !flags.is_set("no-stdin") && container.config.open_stdin,
        stdout: true,
        stderr: true,
        tty,
        detach_keys: parse_keys(&keys),
    };
    if tty && wiring.stdin && !terminal::stdin_is_terminal() {
        return Err(Failure::text(messages::NOT_A_TTY));
    }
    let proxy = (flags.is_set("sig-proxy") && !tty).then(|| proxy_signals(context, &container.id)).transpose()?;
    let mut waiting = wait(&context.client, &container.id, "not-running").await?;
    let duplex = context.client.hijack(attach_request(&container.id, &wiring, &keys)).await?;
    let resizer = tty.then(|| Resizer::start(context.client.clone(), format!("/containers/{}/resize", container.id)));
    let end = stream::run(duplex, &wiring).await?;
    drop((resizer, proxy));
    if end == End::Detached {
        return Err(Failure::text(messages::DETACHED));
    }
    match waiting.next::<WaitResponse>().await? {
        Some(answer) => match answer.error.filter(|error| !error.message.is_empty()) {
            Some(error) => Err(Failure::Text(error.message)),
            None => Ok(u8::try_from(answer.status_code & 0xff).unwrap_or(1)),
        },
        None => Ok(0),
    }
}
