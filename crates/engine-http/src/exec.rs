//! `/exec`: processes that are started in a running container.

use std::sync::Arc;

use container_core::{DetachKeys, ExecConfig};
use containers::{ExecStart, ExecView, TtySize};
use engine_api::exec as wire;
use engine_api::{IdResponse, adapt};
use http::StatusCode;

use crate::Api;
use crate::containers::tty_size;
use crate::hijack::{self, Framing, Inbound};
use crate::reframe::{Reframed, Shape};
use crate::reply;
use crate::request::Request;
use crate::status::{Answer, Failure};

pub async fn create(api: &Api, request: Request) -> Answer {
    let (container, version) = (request.name.clone(), request.version);
    let mut body: wire::CreateRequest = request.json().await?;
    adapt::exec_create(&mut body, version);
    DetachKeys::parse(&body.detach_keys)
        .map_err(|_| Failure::bad_request(format!("Invalid escape keys ({}) provided", body.detach_keys)))?;
    let config = ExecConfig {
        cmd: body.cmd.unwrap_or_default(),
        tty: body.tty,
        attach_stdin: body.attach_stdin,
        attach_stdout: body.attach_stdout,
        attach_stderr: body.attach_stderr,
        privileged: body.privileged,
        env: body.env.unwrap_or_default(),
        user: body.user,
        working_dir: body.working_dir,
        detach_keys: body.detach_keys,
        console_size: body.console_size.filter(|size| *size != [0, 0]).map(|[height, width]| (height, width)),
    };
    let id = api.containers.execs.create(&container, config)?;
    Ok(reply::json(StatusCode::CREATED, &IdResponse { id }))
}

/// Detached: answers when it runs. Otherwise the connection becomes its streams.
pub async fn start(api: Arc<Api>, request: Request) -> Answer {
    let (id, version) = (request.name.clone(), request.version);
    let (mut body, parts) = request.json_and_parts::<wire::StartRequest>().await?;
    adapt::exec_start(&mut body, version);
    // Only with a terminal.
    let given = body.console_size.filter(|_| body.tty);
    let console_size = given.filter(|size| *size != [0, 0]);
    let console_size = console_size.map(|[height, width]| TtySize { width, height });
    let options = ExecStart { detach: body.detach, console_size };
    let exec = api.containers.execs.check(&id)?;
    if body.detach {
        api.containers.execs.start(&id, options).await?;
        return Ok(reply::empty(StatusCode::OK));
    }
    let inbound = inbound(&exec)?;
    // Who starts it says what the stream is like, whatever was said when it was created.
    let shape = Shape::of(exec.config.tty, body.tty);
    let hijacked = hijack::hijack(parts, None, Framing::of(body.tty, version));
    tokio::spawn(async move {
        let Some(mut client) = hijacked.client.await else { return };
        match api.containers.execs.start(&id, options).await {
            Ok(Some(process)) => {
                client.settle().await;
                // The client asks for the exit code as soon as the stream ends: it ends when the code is known.
                let held = hijack::connect(client, Reframed::new(process, shape), inbound).await;
                if held.ended == hijack::Ended::Closed
                    && let Err(error) = api.containers.execs.settle(&id).await
                {
                    tracing::debug!(error = errors::chain(&error), "the exec is gone");
                }
                held.close().await;
            }
            Ok(None) => client.close().await,
            Err(error) => {
                // The connection is a stream by now: the words go there, as in Docker. The client may have gone.
                let _ = client.send(&as_output(&format!("{}\r\n", errors::chain(&error)), body.tty)).await;
                client.close().await;
            }
        }
    });
    Ok(hijacked.reply)
}

/// Bytes for the stream's stdout: a frame, or as they are for a terminal.
fn as_output(text: &str, tty: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() + 8);
    if !tty {
        bytes.extend([1, 0, 0, 0]);
        bytes.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    }
    bytes.extend(text.as_bytes());
    bytes
}

fn inbound(exec: &ExecView) -> Result<Inbound, Failure> {
    Ok(match (exec.config.attach_stdin, exec.config.tty) {
        (false, _) => Inbound::Ignored,
        (true, false) => Inbound::Plain,
        (true, true) => Inbound::Typed(DetachKeys::parse(&exec.config.detach_keys)?),
    })
}

pub async fn resize(api: &Api, request: &Request) -> Answer {
    api.containers.execs.resize(&request.name, tty_size(request)?).await?;
    Ok(reply::empty(StatusCode::OK))
}

pub async fn inspect(api: &Api, request: &Request) -> Answer {
    let exec = api.containers.execs.inspect(&request.name)?;
    Ok(reply::ok(&to_wire(exec)))
}

fn to_wire(exec: ExecView) -> wire::Inspect {
    let mut words = exec.config.cmd.iter().cloned();
    let process_config = wire::ProcessConfig {
        tty: exec.config.tty,
        entrypoint: words.next().unwrap_or_default(),
        arguments: words.collect(),
        privileged: Some(exec.config.privileged),
        user: exec.config.user.clone(),
    };
    wire::Inspect {
        id: exec.id,
        running: exec.running,
        exit_code: exec.exit_code.map(i64::from),
        process_config,
        open_stdin: exec.config.attach_stdin,
        open_stderr: exec.config.attach_stderr,
        open_stdout: exec.config.attach_stdout,
        // It is kept for who asks for its end.
        can_remove: false,
        container_id: exec.container_id,
        detach_keys: exec.config.detach_keys.clone(),
        pid: i64::from(exec.pid),
    }
}
