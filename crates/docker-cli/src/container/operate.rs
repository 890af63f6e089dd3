//! Commands that do one thing to each named container: kill, pause, restart, stop, unpause, wait; and rename.

use engine_api::container::WaitResponse;
use engine_client::{Request, escape};

use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::{self, Context};
use crate::failure::Failure;

#[rustfmt::skip]
const KILL_FLAGS: &[Flag] = &[
    flag("signal", 's', Kind::Text, "", "Signal to send to the container"),
];
#[rustfmt::skip]
const STOP_FLAGS: &[Flag] = &[
    flag("signal", 's', Kind::Text, "", "Signal to send to the container"),
    flag("timeout", 't', Kind::Int, "", "Seconds to wait before killing the container"),
    flag("time", NONE, Kind::Int, "", "").alias_of("timeout").deprecated("use --timeout instead"),
];

pub const KILL: Command = Command {
    name: "kill",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Kill one or more running containers",
    aliases: "docker container kill, docker kill",
    flags: &[KILL_FLAGS],
    args: Args::AtLeast(1),
    action: Some(|context, flags| Box::pin(each(context, flags, "kill"))),
    ..Command::EMPTY
};

pub const PAUSE: Command = Command {
    name: "pause",
    usage: "CONTAINER [CONTAINER...]",
    about: "Pause all processes within one or more containers",
    aliases: "docker container pause, docker pause",
    args: Args::AtLeast(1),
    action: Some(|context, flags| Box::pin(each(context, flags, "pause"))),
    ..Command::EMPTY
};

pub const UNPAUSE: Command = Command {
    name: "unpause",
    usage: "CONTAINER [CONTAINER...]",
    about: "Unpause all processes within one or more containers",
    aliases: "docker container unpause, docker unpause",
    args: Args::AtLeast(1),
    action: Some(|context, flags| Box::pin(each(context, flags, "unpause"))),
    ..Command::EMPTY
};

pub const RESTART: Command = Command {
    name: "restart",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Restart one or more containers",
    aliases: "docker container restart, docker restart",
    flags: &[STOP_FLAGS],
    args: Args::AtLeast(1),
    action: Some(|context, flags| Box::pin(each(context, flags, "restart"))),
    ..Command::EMPTY
};

pub const STOP: Command = Command {
    name: "stop",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Stop one or more running containers",
    aliases: "docker container stop, docker stop",
    flags: &[STOP_FLAGS],
    args: Args::AtLeast(1),
    action: Some(|context, flags| Box::pin(each(context, flags, "stop"))),
    ..Command::EMPTY
};

pub const WAIT: Command = Command {
    name: "wait",
    usage: "CONTAINER [CONTAINER...]",
    about: "Block until one or more containers stop, then print their exit codes",
    aliases: "docker container wait, docker wait",
    args: Args::AtLeast(1),
    action: Some(|context, flags| Box::pin(wait(context, flags))),
    ..Command::EMPTY
};

pub const RENAME: Command = Command {
    name: "rename",
    usage: "CONTAINER NEW_NAME",
    about: "Rename a container",
    aliases: "docker container rename, docker rename",
    args: Args::Exactly(2),
    action: Some(|context, flags| Box::pin(rename(context, flags))),
    ..Command::EMPTY
};

/// Requests of which at most so many are under way at a time, as in Docker's client.
const AT_A_TIME: usize = 50;

/// Prints each name that worked and says what went wrong with the others.
async fn each(context: &Context, flags: &Matches, verb: &'static str) -> Result<u8, Failure> {
    let mut failed = false;
    for names in flags.args.chunks(AT_A_TIME) {
        let mut tasks = Vec::new();
        for name in names {
            let request = Request::post(format!("/containers/{}/{verb}", escape(name)))
                .with_some("signal", flags.text("signal"))
                .with_some("t", flags.text("timeout"));
            let client = context.client.clone();
            tasks.push((name, tokio::spawn(async move { client.send(request).await })));
        }
        for (name, task) in tasks {
            match task.await.map_err(|error| Failure::Text(error.to_string()))? {
                Ok(_) => context::print_line(name)?,
                Err(error) => {
                    context::say(&error.to_string());
                    failed = true;
                }
            }
        }
    }
    if failed { Err(Failure::silent(1)) } else { Ok(0) }
}

async fn wait(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let mut failed = false;
    for name in &flags.args {
        let request = Request::post(format!("/containers/{}/wait", escape(name)));
        match context.client.call::<WaitResponse>(request).await {
            Ok(answer) => context::print_line(&answer.status_code.to_string())?,
            Err(error) => {
                context::say(&error.to_string());
                failed = true;
            }
        }
    }
    if failed { Err(Failure::silent(1)) } else { Ok(0) }
}

async fn rename(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let (old, new) = (flags.arg(0).trim(), flags.arg(1).trim());
    if old.is_empty() || new.is_empty() {
        return Err(Failure::text("Error: Neither old nor new names may be empty"));
    }
    let request = Request::post(format!("/containers/{}/rename", escape(old))).with("name", new);
    if let Err(error) = context.client.send(request).await {
        context::say(&error.to_string());
        return Err(Failure::Text(format!("Error: failed to rename container named {old}")));
    }
    Ok(0)
}
