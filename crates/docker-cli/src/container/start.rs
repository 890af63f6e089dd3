//! `docker start`.

use engine_client::{Request, escape};

use super::attach::inspect;
use super::run::{attach_request, exit_status, proxy_signals, wait};
use crate::command::{Args, Command, Daemons, Flag, Kind, Matches, NONE, flag};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::messages;
use crate::stream::resize::Resizer;
use crate::stream::{self, End, Wiring, parse_keys};
use crate::terminal;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("attach", 'a', Kind::Bool, "", "Attach STDOUT/STDERR and forward signals"),
    flag("checkpoint", NONE, Kind::Text, "", "Restore from this checkpoint").only(Daemons::Experimental),
    flag("checkpoint-dir", NONE, Kind::Text, "", "Use a custom checkpoint storage directory").only(Daemons::Experimental),
    flag("detach-keys", NONE, Kind::Text, "", "Override the key sequence for detaching a container"),
    flag("interactive", 'i', Kind::Bool, "", "Attach container's STDIN"),
];

pub const COMMAND: Command = Command {
    name: "start",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Start one or more stopped containers",
    aliases: "docker container start, docker start",
    flags: &[FLAGS],
    args: Args::AtLeast(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    check_experimental(context, flags).await?;
    if flags.is_set("attach") || flags.is_set("interactive") {
        if flags.args.len() > 1 {
            return Err(Failure::text("you cannot start and attach multiple containers at once"));
        }
        return start_attached(context, flags).await;
    }
    if flags.given("checkpoint") && flags.args.len() > 1 {
        return Err(Failure::text("you cannot restore multiple containers at once"));
    }
    let mut failed = Vec::new();
    for name in &flags.args {
        match start(context, flags, name).await {
            Ok(()) => context::print_line(name)?,
            Err(error) => {
                context::say(&error.to_string());
                failed.push(name.as_str());
            }
        }
    }
    if failed.is_empty() {
        return Ok(0);
    }
    Err(Failure::Text(format!("Error: failed to start containers: {}", failed.join(", "))))
}

/// Flags that a daemon knows only when it is told to try things.
async fn check_experimental(context: &Context, flags: &Matches) -> Result<(), Failure> {
    let given: Vec<&str> = ["checkpoint", "checkpoint-dir"].into_iter().filter(|name| flags.given(name)).collect();
    if given.is_empty() || context.client.ping().await?.experimental {
        return Ok(());
    }
    let refused = given
        .iter()
        .map(|name| format!("\"--{name}\" is only supported on a Docker daemon with experimental features enabled"));
    Err(Failure::Text(refused.collect::<Vec<_>>().join("\n")))
}

async fn start(context: &Context, flags: &Matches, name: &str) -> Result<(), Failure> {
    let request = Request::post(format!("/containers/{}/start", escape(name)))
        .with_some("checkpoint", flags.text("checkpoint"))
        .with_some("checkpoint-dir", flags.text("checkpoint-dir"));
    context.client.send(request).await?;
    Ok(())
}

async fn start_attached(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let container = inspect(&context.client, flags.arg(0)).await?;
    let (id, tty) = (container.id.as_str(), container.config.tty);
    let keys = context.detach_keys(flags.text("detach-keys")).to_owned();
    let wiring = Wiring {
        stdin: flags.is_set("interactive") && container.config.open_stdin,
        stdout: true,
        stderr: true,
        tty,
        detach_keys: parse_keys(&keys),
    };
    if tty && wiring.stdin && !terminal::stdin_is_terminal() {
        return Err(Failure::text(messages::NOT_A_TTY));
    }
    let proxy = (!tty).then(|| proxy_signals(context, id)).transpose()?;
    let duplex = context.client.hijack(attach_request(id, &wiring, &keys)).await?;
    let condition = if container.host_config.auto_remove { "removed" } else { "next-exit" };
    let waiting = wait(&context.client, id, condition).await?;
    start(context, flags, id).await?;
    let resizer = tty.then(|| Resizer::start(context.client.clone(), format!("/containers/{id}/resize")));
    let end = stream::run(duplex, &wiring).await?;
    drop((resizer, proxy));
    if end == End::Detached {
        return Ok(0);
    }
    exit_status(waiting).await
}
