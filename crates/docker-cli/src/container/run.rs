//! `docker run`: create, attach, wait, start, copy, and the container's exit status as its own.

use std::sync::Arc;

use engine_api::container::{CreateRequest, WaitResponse};
use engine_client::{Client, Error, Lines, Request};

use super::create;
use super::create_flags::CREATE_FLAGS;
use super::options;
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, Order, flag};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::messages;
use crate::stream::resize::Resizer;
use crate::stream::{self, End, Wiring, parse_keys};
use crate::terminal::{self, signals::Signals};

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("detach", 'd', Kind::Bool, "", "Run container in background and print container ID"),
    flag("detach-keys", NONE, Kind::Text, "", "Override the key sequence for detaching a container"),
    flag("pull", NONE, Kind::Text, "missing", "Pull image before running (\"always\", \"missing\", \"never\")"),
    flag("quiet", 'q', Kind::Bool, "", "Suppress the pull output"),
    flag("sig-proxy", NONE, Kind::Bool, "true", "Proxy received signals to the process"),
];

pub const COMMAND: Command = Command {
    name: "run",
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create and run a new container from an image",
    aliases: "docker container run, docker run",
    flags: &[FLAGS, CREATE_FLAGS, &[create::API_SOCKET]],
    args: Args::AtLeast(1),
    order: Order::FlagsFirst,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

/// The daemon, not the container, failed.
const DAEMON_FAILED: u8 = 125;

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    create::check_pull(flags).map_err(refused)?;
    let mut request = options::create_request(context, flags).map_err(refused)?;
    let detach = flags.is_set("detach");
    if detach {
        if !flags.list("attach").is_empty() {
            return Err(Failure::text(messages::ATTACH_AND_DETACH));
        }
        let config = &mut request.config;
        (config.attach_stdin, config.attach_stdout, config.attach_stderr) = (false, false, false);
        config.stdin_once = false;
    } else if request.config.tty && request.config.attach_stdin && !terminal::stdin_is_terminal() {
        return Err(Failure::text(messages::NOT_A_TTY));
    }
    let id = create::create(context, flags, &mut request).await.map_err(daemon_failed)?;
    let config = &request.config;
    if !(config.attach_stdin || config.attach_stdout || config.attach_stderr) {
        // The id is told even if the container does not start.
        context::print_line(&id)?;
        start(&context.client, &id).await.map_err(daemon_failed)?;
        return Ok(0);
    }
    attached(context, flags, &request, &id).await
}

async fn attached(context: &Context, flags: &Matches, request: &CreateRequest, id: &str) -> Result<u8, Failure> {
    let config = &request.config;
    let keys = context.detach_keys(flags.text("detach-keys")).to_owned();
    let wiring = Wiring {
        stdin: config.attach_stdin,
        stdout: config.attach_stdout,
        stderr: config.attach_stderr,
        tty: config.tty,
        detach_keys: parse_keys(&keys),
    };
    // With a terminal, too: keys come by it, but who ends this program means the container's.
    let proxy = flags.is_set("sig-proxy").then(|| proxy_signals(context, id)).transpose()?;
    let attach = attach_request(id, &wiring, &keys);
    let duplex = context.client.hijack(attach).await?;
    let removed = request.host_config.auto_remove;
    let waiting = wait(&context.client, id, if removed { "removed" } else { "next-exit" }).await;
    let waiting = waiting.map_err(|error| daemon_failed(error.into()))?;
    if let Err(error) = start(&context.client, id).await {
        drop(duplex);
        if removed {
            // The daemon takes away what never ran; the next command should not find it.
            let _ = exit_status(waiting).await;
        }
        return Err(daemon_failed(error));
    }
    let resizer = config.tty.then(|| Resizer::start(context.client.clone(), format!("/containers/{id}/resize")));
    let end = stream::run(duplex, &wiring).await?;
    drop(resizer);
    if end == End::Detached {
        return Ok(0);
    }
    let status = exit_status(waiting).await;
    drop(proxy);
    status
}

pub async fn start(client: &Client, id: &str) -> Result<(), Failure> {
    client.send(Request::post(format!("/containers/{}/start", engine_client::escape(id)))).await?;
    Ok(())
}

/// `POST …/attach` for what is wired.
pub fn attach_request(id: &str, wiring: &Wiring, keys: &str) -> Request {
    Request::post(format!("/containers/{}/attach", engine_client::escape(id)))
        .with_some("detachKeys", keys)
        .with_flag("stderr", wiring.stderr)
        .with_flag("stdin", wiring.stdin)
        .with_flag("stdout", wiring.stdout)
        .with_flag("stream", true)
}

/// A wait that the daemon has registered: it answers its head at once and the status later (API 1.30).
pub async fn wait(client: &Client, id: &str, condition: &str) -> Result<Lines, Error> {
    let request = Request::post(format!("/containers/{}/wait", engine_client::escape(id))).with("condition", condition);
    Ok(client.stream(request).await?.lines())
}

/// The container's status; 125 when the daemon went away or says that it cannot tell.
pub async fn exit_status(mut waiting: Lines) -> Result<u8, Failure> {
    match waiting.next::<WaitResponse>().await {
        Ok(Some(answer)) => match answer.error.filter(|error| !error.message.is_empty()) {
            Some(error) => {
                context::say(&format!("Error waiting for container: {}", error.message));
                Ok(DAEMON_FAILED)
            }
            None => Ok(u8::try_from(answer.status_code & 0xff).unwrap_or(DAEMON_FAILED)),
        },
        Ok(None) => {
            context::say("error waiting for container: unexpected EOF");
            Ok(DAEMON_FAILED)
        }
        Err(error) => {
            context::say(&format!("error waiting for container: {error}"));
            Ok(DAEMON_FAILED)
        }
    }
}

/// Passes signals on until dropped.
#[derive(Debug)]
pub struct Proxy(tokio::task::JoinHandle<()>);

impl Drop for Proxy {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Catches signals from now on and sends them to the container.
pub fn proxy_signals(context: &Context, id: &str) -> Result<Proxy, Failure> {
    let mut signals = Signals::catch()?;
    let client: Arc<Client> = context.client.clone();
    let path = format!("/containers/{}/kill", engine_client::escape(id));
    Ok(Proxy(tokio::spawn(async move {
        while let Some(name) = signals.next().await {
            // A container that is not running any more needs no signal.
            let _ = client.send(Request::post(&path).with("signal", name)).await;
        }
    })))
}

fn refused(message: String) -> Failure {
    Failure::Status { code: DAEMON_FAILED, message: messages::with_hint("docker run", &message) }
}

/// Docker's three numbers: 127 for a command that is not there, 126 for one that cannot run, 125 for the rest.
fn daemon_failed(failure: Failure) -> Failure {
    if matches!(failure, Failure::Status { .. }) {
        return failure;
    }
    let message = failure.to_string();
    Failure::Status { code: status_of(&message), message: messages::with_hint("docker run", &message) }
}

/// The status that a refusal to start means.
pub fn status_of(message: &str) -> u8 {
    const NOT_THERE: &[&str] =
        &["executable file not found", "no such file or directory", "system cannot find the file specified"];
    const CANNOT_RUN: &[&str] = &["permission denied", "is a directory"];
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| message.contains(phrase));
    match () {
        () if says(NOT_THERE) => 127,
        () if says(CANNOT_RUN) => 126,
        () => DAEMON_FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_to_start_have_dockers_numbers() {
        assert_eq!(status_of("exec: \"x\": executable file not found in $PATH: unknown"), 127);
        assert_eq!(status_of("exec: \"/bin\": permission denied: unknown"), 126);
        assert_eq!(status_of("exec: \"/bin\": is a directory: unknown"), 126);
        assert_eq!(status_of("mkdir \"/etc/passwd\": not a directory: unknown"), 125);
        assert_eq!(status_of("Conflict. The container name is in use"), 125);
    }
}
