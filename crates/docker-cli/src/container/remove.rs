//! `docker rm`.

use engine_client::{Request, escape};

use crate::command::{Args, Command, Flag, Kind, Matches, flag};
use crate::context::{self, Context};
use crate::failure::Failure;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("force", 'f', Kind::Bool, "", "Force the removal of a running container (uses SIGKILL)"),
    flag("link", 'l', Kind::Bool, "", "Remove the specified link"),
    flag("volumes", 'v', Kind::Bool, "", "Remove anonymous volumes associated with the container"),
];

pub const COMMAND: Command = Command {
    name: "rm",
    names: &["remove"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Remove one or more containers",
    aliases: "docker container rm, docker container remove, docker rm",
    flags: &[FLAGS],
    args: Args::AtLeast(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

/// Removals that are under way at a time, as in Docker's client.
const AT_A_TIME: usize = 50;

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let force = flags.is_set("force");
    let mut failed = false;
    for names in flags.args.chunks(AT_A_TIME) {
        let mut tasks = Vec::new();
        for name in names {
            let bare = name.trim_matches('/');
            if bare.is_empty() {
                context::say("container name cannot be empty");
                failed = true;
                continue;
            }
            let request = Request::delete(format!("/containers/{}", escape(bare)))
                .with_flag("force", force)
                .with_flag("link", flags.is_set("link"))
                .with_flag("v", flags.is_set("volumes"));
            let client = context.client.clone();
            tasks.push((name, tokio::spawn(async move { client.send(request).await })));
        }
        for (name, task) in tasks {
            match task.await.map_err(|error| Failure::Text(error.to_string()))? {
                Ok(_) => context::print_line(name)?,
                Err(error) => {
                    context::say(&error.to_string());
                    // Gone is what was forced.
                    failed |= !(force && error.is_not_found());
                }
            }
        }
    }
    if failed { Err(Failure::silent(1)) } else { Ok(0) }
}
