//! `docker exec`.

use engine_api::IdResponse;
use engine_api::exec::{CreateRequest, Inspect, StartRequest};
use engine_client::{Request, escape};

use super::attach::inspect;
use super::environment::{check_variable, environment};
use super::options::some_if_any;
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, Order, flag};
use crate::context::Context;
use crate::failure::Failure;
use crate::messages;
use crate::stream::resize::Resizer;
use crate::stream::{self, End, Wiring, parse_keys};
use crate::terminal;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("detach", 'd', Kind::Bool, "", "Detached mode: run command in the background"),
    flag("detach-keys", NONE, Kind::Text, "", "Override the key sequence for detaching a container"),
    flag("env", 'e', Kind::List, "", "Set environment variables").checked(check_variable),
    flag("env-file", NONE, Kind::List, "", "Read in a file of environment variables"),
    flag("interactive", 'i', Kind::Bool, "", "Keep STDIN open even if not attached"),
    flag("privileged", NONE, Kind::Bool, "", "Give extended privileges to the command"),
    flag("tty", 't', Kind::Bool, "", "Allocate a pseudo-TTY"),
    flag("user", 'u', Kind::Text, "", "Username or UID (format: \"<name|uid>[:<group|gid>]\")"),
    flag("workdir", 'w', Kind::Text, "", "Working directory inside the container"),
];

pub const COMMAND: Command = Command {
    name: "exec",
    usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    about: "Execute a command in a running container",
    aliases: "docker container exec, docker exec",
    flags: &[FLAGS],
    args: Args::AtLeast(2),
    order: Order::FlagsFirst,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let (tty, detach) = (flags.is_set("tty"), flags.is_set("detach"));
    let keys = context.detach_keys(flags.text("detach-keys")).to_owned();
    let detach_keys = parse_keys(&keys);
    let interactive = flags.is_set("interactive") && !detach;
    let environment = environment(flags.list("env-file"), flags.list("env")).map_err(Failure::Text);
    let possible = match environment {
        Ok(_) if tty && interactive && !terminal::stdin_is_terminal() => Err(Failure::text(messages::NOT_A_TTY)),
        other => other,
    };
    let environment = match possible {
        Ok(environment) => environment,
        // A wrong name is told before anything about terminals.
        Err(failure) => return Err(inspect(&context.client, flags.arg(0)).await.err().unwrap_or(failure)),
    };
    let console_size = if tty { terminal::size().map(|size| [size.height, size.width]) } else { None };
    let request = CreateRequest {
        user: flags.text("user").to_owned(),
        privileged: flags.is_set("privileged"),
        tty,
        console_size,
        attach_stdin: interactive,
        attach_stderr: !detach,
        attach_stdout: !detach,
        detach_keys: keys,
        env: some_if_any(environment),
        working_dir: flags.text("workdir").to_owned(),
        cmd: Some(flags.args[1..].to_vec().into()),
        detach,
    };
    let created: IdResponse =
        context.client.call(Request::post(format!("/containers/{}/exec", escape(flags.arg(0)))).json(&request)).await?;
    if created.id.is_empty() {
        return Err(Failure::text("exec ID empty"));
    }
    let start = Request::post(format!("/exec/{}/start", created.id)).json(&StartRequest { detach, tty, console_size });
    if detach {
        context.client.send(start).await?;
        return Ok(0);
    }
    let wiring = Wiring { stdin: interactive, stdout: true, stderr: true, tty, detach_keys };
    let duplex = context.client.hijack(start).await?;
    let resizer = tty.then(|| Resizer::start(context.client.clone(), format!("/exec/{}/resize", created.id)));
    let end = stream::run(duplex, &wiring).await?;
    drop(resizer);
    if end == End::Detached {
        return Err(Failure::text(messages::DETACHED));
    }
    let result: Inspect = context.client.call(Request::get(format!("/exec/{}/json", created.id))).await?;
    Ok(u8::try_from(result.exit_code.unwrap_or(0) & 0xff).unwrap_or(1))
}
