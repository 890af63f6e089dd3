//! `/containers`: create, look at, start, stop, attach, wait, remove.

pub mod archive;
pub mod create;
mod host_config;
mod inspect;
mod list;
pub mod stats;
pub mod update;
pub mod websocket;

use std::collections::BTreeMap;
use std::sync::Arc;

use container_core::{DetachKeys, ReadOnly};
use engine_api::adapt::{self, CgroupHierarchy};
use engine_api::container as wire;
use engine_api::network::EndpointSettings;
use errors::ErrorKind;
use futures_util::stream;
use http::{HeaderValue, StatusCode};
use image_core::Platform;

use crate::Api;
use crate::hijack::{self, Framing, Inbound};
use crate::reply;
use crate::request::Request;
use crate::status::{Answer, Failure};
use crate::streams::{Prefixes, log_pieces};
use ::containers::{
    AttachRequest, LogsRequest, RemoveOptions, StopOptions, TtySize, WaitCondition, WaitResult, Waiting,
};
use container_core::Timestamp;
pub use list::to_wire as summary;

/// Bytes of a body that cannot hold an object with a member, as old clients send with a start.
const NO_OBJECT: u64 = 7;
const RAW_STREAM: &str = "application/vnd.docker.raw-stream";
const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub async fn list(api: &Api, request: &Request) -> Answer {
    let listed = api.containers.containers.list(&list::from_query(&request.query)?).await?;
    let mut listed: Vec<wire::Summary> = listed.into_iter().map(list::to_wire).collect();
    adapt::container_list(&mut listed, request.version);
    Ok(reply::ok(&listed))
}

pub async fn create(api: &Api, request: Request) -> Answer {
    let (name, version) = (request.query.text("name").map(str::to_owned), request.version);
    let request_platform = request.query.text("platform").map(str::to_owned);
    let body = request.json_with(wire::CreateRequest::read).await?;
    let mut body = body.ok_or_else(|| Failure::bad_request("config cannot be empty in order to create a container"))?;
    let hierarchy = if api.engine.has_cgroup_v2() { CgroupHierarchy::V2 } else { CgroupHierarchy::V1 };
    let adapted = adapt::container_create(&mut body, version, hierarchy)?;
    if let Some(text) = request_platform {
        check_platform(api, &body.config.image, &text).await?;
    }
    let read_only = if adapt::read_only_is_shallow(version) { ReadOnly::Shallow } else { ReadOnly::Default };
    let created = api.containers.containers.create(create::from_wire(name, body, read_only)?).await?;
    let warnings = created.warnings.into_iter().chain(adapted).collect();
    Ok(reply::json(StatusCode::CREATED, &wire::CreateResponse { id: created.id, warnings }))
}

/// The image must be of the platform that was asked for; otherwise clients pull it.
async fn check_platform(api: &Api, image: &str, wanted: &str) -> Result<(), Failure> {
    let platform = Platform::parse(wanted)?;
    let resolved = api.images.resolve(image).await?;
    let is_it = platform.os == resolved.config.os && platform.architecture == resolved.config.architecture;
    if is_it {
        return Ok(());
    }
    let message =
        format!("image with reference {image} was found but does not provide the specified platform ({wanted})");
    Err(Failure::new(ErrorKind::NotFound, message))
}

pub async fn inspect(api: &Api, request: &Request) -> Answer {
    let view = api.containers.containers.inspect(&request.name).await?;
    let mut answer = inspect::to_wire(view);
    if request.query.flag("size") {
        let size = api.containers.containers.size(&answer.id).await?;
        answer.size_rw = i64::try_from(size.own).ok();
        answer.size_root_fs = i64::try_from(size.total).ok();
    }
    if !answer.state.running && view_was_started(&answer) {
        name_networks(api, &mut answer.network_settings.networks).await;
    }
    adapt::container_inspect(&mut answer, request.version);
    Ok(reply::ok(&answer))
}

fn view_was_started(answer: &wire::Inspect) -> bool {
    answer.state.started_at != container_core::rfc3339(None)
}

/// What was in a network once keeps its id when it is not there; a network that has gone meanwhile has none.
async fn name_networks(api: &Api, endpoints: &mut BTreeMap<String, EndpointSettings>) {
    for (name, endpoint) in endpoints.iter_mut().filter(|(_, endpoint)| endpoint.network_id.is_empty()) {
        if let Ok(view) = api.networks.inspect(name).await {
            endpoint.network_id = view.network.id.to_string();
        }
    }
}

pub async fn top(api: &Api, request: &Request) -> Answer {
    let arguments = request.query.text("ps_args").unwrap_or("-ef");
    let processes = api.containers.streams.top(&request.name, arguments).await?;
    Ok(reply::ok(&wire::TopResponse { processes: processes.rows, titles: processes.titles }))
}

pub async fn logs(api: Arc<Api>, request: &Request) -> Answer {
    let query = &request.query;
    let wanted = LogsRequest {
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        since: query.time_ns("since")?.map(Timestamp),
        until: query.time_ns("until")?.map(Timestamp),
        tail: match query.text("tail") {
            // Whatever is no number means all of them, as in Docker.
            Some(text) => text.parse().ok(),
            None => None,
        },
        follow: query.flag("follow"),
    };
    if !wanted.stdout && !wanted.stderr {
        return Err(Failure::bad_request("Bad parameters: you must choose at least one stream"));
    }
    let prefixes = Prefixes { timestamps: query.flag("timestamps"), details: query.flag("details") };
    let logs = api.containers.streams.logs(&request.name, wanted).await?;
    let content_type = HeaderValue::from_static(adapt::stream_type(logs.tty, request.version));
    Ok(reply::chunks(content_type, log_pieces(logs, prefixes)))
}

pub async fn resize(api: &Api, request: &Request) -> Answer {
    api.containers.lifecycle.resize(&request.name, tty_size(request)?).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `h` and `w`, in characters.
pub fn tty_size(request: &Request) -> Result<TtySize, Failure> {
    let number = |name, what| {
        let text = request.query.text(name).unwrap_or_default();
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let why = if is_number { "value out of range" } else { "invalid syntax" };
        text.parse().map_err(|_| Failure::bad_request(format!("invalid resize {what} {text:?}: {why}")))
    };
    Ok(TtySize { height: number("h", "height")?, width: number("w", "width")? })
}

pub async fn start(api: &Api, request: &Request) -> Answer {
    if request.may_be_longer_than(NO_OBJECT) {
        return Err(Failure::bad_request(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        ));
    }
    if request.query.text("checkpoint").is_some() {
        return Err(Failure::new(ErrorKind::NotImplemented, "checkpoints are not supported by this engine"));
    }
    if request.query.text("checkpoint-dir").is_some() {
        return Err(Failure::new(ErrorKind::PermissionDenied, "custom checkpointdir is not supported"));
    }
    api.containers.lifecycle.start(&request.name).await?;
    Ok(reply::no_content())
}

pub async fn stop(api: &Api, request: &Request) -> Answer {
    api.containers.lifecycle.stop(&request.name, stop_options(request)?).await?;
    Ok(reply::no_content())
}

pub async fn restart(api: &Api, request: &Request) -> Answer {
    api.containers.lifecycle.restart(&request.name, stop_options(request)?).await?;
    Ok(reply::no_content())
}

fn stop_options(request: &Request) -> Result<StopOptions, Failure> {
    let signal = request.query.text("signal").map(str::to_owned);
    Ok(StopOptions { signal, timeout_s: request.query.number("t")? })
}

pub async fn kill(api: &Api, request: &Request) -> Answer {
    api.containers.lifecycle.kill(&request.name, request.query.text("signal")).await?;
    Ok(reply::no_content())
}

pub async fn rename(api: &Api, request: &Request) -> Answer {
    api.containers.containers.rename(&request.name, request.query.text("name").unwrap_or_default()).await?;
    Ok(reply::no_content())
}

pub async fn pause(api: &Api, request: &Request) -> Answer {
    api.containers.lifecycle.pause(&request.name).await?;
    Ok(reply::no_content())
}

pub async fn unpause(api: &Api, request: &Request) -> Answer {
    api.containers.lifecycle.unpause(&request.name).await?;
    Ok(reply::no_content())
}

pub async fn remove(api: &Api, request: &Request) -> Answer {
    if request.query.flag("link") {
        api.containers.containers.remove_link(&request.name).await?;
        return Ok(reply::no_content());
    }
    let options = RemoveOptions { force: request.query.flag("force"), volumes: request.query.flag("v") };
    api.containers.containers.remove(&request.name, options).await?;
    Ok(reply::no_content())
}

/// The headers go out at once, so that the client knows it is waiting before it starts the container; the body follows.
pub async fn wait(api: Arc<Api>, request: &Request) -> Answer {
    let condition = match request.query.text("condition") {
        None | Some("not-running") => WaitCondition::NotRunning,
        Some("next-exit") => WaitCondition::NextExit,
        Some("removed") => WaitCondition::Removed,
        Some(other) => return Err(Failure::bad_request(format!("invalid condition: \"{other}\""))),
    };
    let waiting = api.containers.lifecycle.wait(&request.name, condition)?;
    if !adapt::wait_answers_at_once(request.version) {
        return Ok(reply::ok(&answer_of(waiting).await));
    }
    Ok(reply::chunks(JSON, stream::once(line_of(waiting))))
}

async fn answer_of(waiting: Waiting) -> wire::WaitResponse {
    let WaitResult { code, error } = waiting.done().await;
    let error = error.map(|message| wire::WaitError { message });
    wire::WaitResponse { error, status_code: i64::from(code) }
}

async fn line_of(waiting: Waiting) -> std::io::Result<bytes::Bytes> {
    let mut text = serde_json::to_vec(&answer_of(waiting).await)?;
    text.push(b'\n');
    Ok(text.into())
}

/// Hijacks the connection, now if the container runs, or when it starts. A refusal is no JSON: who asks for a stream gets
/// a line of it.
pub async fn attach(api: Arc<Api>, request: Request) -> Answer {
    let refused = |failure: Failure| failure.into_line(HeaderValue::from_static(RAW_STREAM));
    Ok(attach_or_refuse(api, request).await.unwrap_or_else(refused))
}

async fn attach_or_refuse(api: Arc<Api>, request: Request) -> Answer {
    let query = &request.query;
    let streams =
        AttachRequest { stdin: query.flag("stdin"), stdout: query.flag("stdout"), stderr: query.flag("stderr") };
    let keys = query.text("detachKeys").unwrap_or_default();
    let keys =
        DetachKeys::parse(keys).map_err(|_| Failure::bad_request(format!("Invalid detach keys ({keys}) provided")))?;
    let (name, wants_stream, version) = (request.name.clone(), query.flag("stream"), request.version);
    let logs = if query.flag("logs") {
        let wanted = LogsRequest { stdout: streams.stdout, stderr: streams.stderr, ..LogsRequest::default() };
        Some(api.containers.streams.logs(&name, wanted).await?)
    } else {
        None
    };
    let attached = match wants_stream {
        true => Some(api.containers.streams.attach(&name, streams)?),
        false => None,
    };
    let tty = match (&attached, &logs) {
        (Some(attached), _) => attached.tty,
        (None, Some(logs)) => logs.tty,
        // Nothing will be sent; the head is the container's nevertheless.
        (None, None) => api.containers.containers.inspect(&name).await?.config.tty,
    };
    let inbound = match (streams.stdin, tty) {
        (false, _) => Inbound::Ignored,
        (true, false) => Inbound::Plain,
        (true, true) => Inbound::Typed(keys),
    };
    let hijacked = hijack::hijack(request.parts, Some(request.body), Framing::of(tty, version));
    tokio::spawn(async move {
        let Some(mut client) = hijacked.client.await else { return };
        if let Some(logs) = logs {
            client.settle().await;
            if client.send_all(log_pieces(logs, Prefixes { timestamps: false, details: false })).await.is_err() {
                return;
            }
        }
        let Some(attached) = attached else { return client.close().await };
        match attached.stream().await {
            Ok(Some(process)) => hijack::connect(client, process, inbound).await.close().await,
            // The container was removed, or its start failed: there is nothing to attach to.
            Ok(None) => client.close().await,
            Err(error) => {
                tracing::debug!(error = errors::chain(&error), "cannot attach");
                client.close().await;
            }
        }
    });
    Ok(hijacked.reply)
}
