//! `POST /build?version=2`: builds as BuildKit's clients of the first years ask for them, with a session beside.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::builder::{CachePlace, CacheSource};
use ::buildkit::{Exporter, Solve, Solved, Statuses};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use buildkit_api::prost::Message;
use engine_api::json_message::JsonMessage;
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::Api;
use crate::build::{feed, parameters};
use crate::reply;
use crate::request::Request;
use crate::status::{Answer, Failure};

/// What a build that only brings another one's context is called by.
const UPLOAD: &str = "upload-request";
const TRACE: &str = "moby.buildkit.trace";
const IMAGE: &str = "moby.image.id";
/// Pieces of a context on their way.
const QUEUE: usize = 4;

/// Whether a build is for BuildKit.
pub fn is_asked_for(request: &Request) -> bool {
    request.query.text("version") == Some("2")
}

pub async fn build(api: Arc<Api>, request: Request) -> Answer {
    let id = request.query.text("buildid").unwrap_or_default().to_owned();
    if let Some(build) = id.strip_prefix(UPLOAD).and_then(|rest| rest.strip_prefix(':')) {
        let (sender, pieces) = mpsc::channel(QUEUE);
        api.buildkit.offer_upload(build, pieces)?;
        feed(request.body.into_data_stream().map(|piece| piece.map_err(std::io::Error::other)), sender).await;
        return Ok(reply::empty(http::StatusCode::OK));
    }
    if let Some(session) = request.query.text("session") {
        // A client that hears of a mistake before it serves its session waits long for that to end.
        api.buildkit.sessions().get(session).await?.check().await?;
    }
    let quiet = request.query.flag("q");
    let mut solve = wanted(&request)?;
    solve.reference = if id.is_empty() { api.buildkit.new_reference()? } else { id.clone() };
    solve.upload = match request.query.text("remote") {
        Some(UPLOAD) => Some(api.buildkit.take_upload(&id).await?),
        Some(_) => None,
        None => {
            let (sender, pieces) = mpsc::channel(QUEUE);
            let body = request.body.into_data_stream().map(|piece| piece.map_err(std::io::Error::other));
            tokio::spawn(feed(body, sender));
            Some(pieces)
        }
    };
    let (service, reference) = (api.buildkit.clone(), solve.reference.clone());
    let mut solving = AbortOnDropHandle::new(tokio::spawn(async move { service.solve(solve).await }));
    // As long as nothing was said, a failure is a status.
    let statuses = tokio::select! {
        biased;
        done = &mut solving => return Err(done.map_err(broken)?.err().map_or_else(Failure::going_down, Failure::from)),
        statuses = api.buildkit.statuses(&reference) => statuses?,
    };
    let telling = Telling { statuses, solving: Some(solving), quiet, last: Vec::new() };
    Ok(reply::json_lines(stream::unfold(telling, Telling::next)))
}

/// `POST /build/cancel`.
pub fn cancel(api: &Api, request: &Request) -> Answer {
    let id = request.query.text("id").ok_or_else(|| Failure::bad_request("build ID not provided"))?;
    api.buildkit.cancel(id);
    Ok(reply::empty(http::StatusCode::OK))
}

fn broken(_: tokio::task::JoinError) -> Failure {
    Failure::internal("the build did not come to its end")
}

/// A build that is told of. Dropped with the connection, it ends.
struct Telling {
    statuses: Statuses,
    solving: Option<AbortOnDropHandle<Result<Solved, ::buildkit::SolveError>>>,
    quiet: bool,
    /// Lines behind all statuses, the last first.
    last: Vec<JsonMessage>,
}

impl Telling {
    async fn next(mut self) -> Option<(JsonMessage, Self)> {
        if let Some(status) = self.statuses.next().await {
            let aux = STANDARD.encode(status.encode_to_vec());
            let line = JsonMessage { id: TRACE.to_owned(), aux: Some(json!(aux)), ..JsonMessage::default() };
            return Some((line, self));
        }
        if let Some(solving) = self.solving.take() {
            self.last = match solving.await {
                Ok(Ok(solved)) => ends_well(&solved, self.quiet),
                Ok(Err(error)) => vec![JsonMessage::failure(errors::chain(&error))],
                Err(error) => vec![JsonMessage::failure(broken(error).message)],
            };
        }
        let line = self.last.pop()?;
        Some((line, self))
    }
}

fn ends_well(solved: &Solved, quiet: bool) -> Vec<JsonMessage> {
    let Some(id) = solved.response.get("containerimage.digest") else { return Vec::new() };
    let aux = JsonMessage { id: IMAGE.to_owned(), aux: Some(json!({ "ID": id })), ..JsonMessage::default() };
    let text = quiet.then(|| JsonMessage { stream: format!("{id}\n"), ..JsonMessage::default() });
    text.into_iter().chain([aux]).collect()
}

/// The query in the words of a front end and its exporters.
fn wanted(request: &Request) -> Result<Solve, Failure> {
    let (wanted, _) = parameters::read(request)?;
    let query = &request.query;
    let mut attributes = BTreeMap::new();
    let mut put = |name: &str, value: String| drop(attributes.insert(name.to_owned(), value));
    put("filename", wanted.dockerfile);
    if let Some(remote) = query.text("remote").filter(|remote| !matches!(*remote, "client-session" | UPLOAD)) {
        put("context", remote.to_owned());
    }
    for (name, value) in wanted.arguments {
        if let Some(value) = value {
            put(&format!("build-arg:{name}"), value);
        }
    }
    for (name, value) in wanted.labels {
        put(&format!("label:{name}"), value);
    }
    for (name, value) in [("target", wanted.target), ("platform", wanted.platform)] {
        put(name, value.unwrap_or_default());
    }
    if wanted.no_cache {
        put("no-cache", String::new());
    }
    put("image-resolve-mode", if wanted.pull { "pull" } else { "default" }.to_owned());
    if !wanted.cache_from.is_empty() {
        put("cache-imports", cache_imports(&wanted.cache_from));
    }
    match wanted.network_mode.as_str() {
        "" | "default" => {}
        mode @ ("host" | "none") => put("force-network-mode", mode.to_owned()),
        other => return Err(Failure::bad_request(format!("network mode {other:?} not supported by buildkit"))),
    }
    let host = |host: &String| host.replacen(':', "=", 1);
    put("add-hosts", wanted.extra_hosts.iter().map(host).collect::<Vec<_>>().join(","));
    put_resources(&wanted.resources, &mut put)?;
    if wanted.squash {
        return Err(Failure::bad_request("squash is only supported with experimental mode"));
    }
    Ok(Solve {
        session: query.text("session").unwrap_or_default().to_owned(),
        frontend: "dockerfile.v0".to_owned(),
        attributes,
        exporters: exporters(query.text("outputs"), &wanted.tags)?,
        cache_exports: wanted.cache_to,
        ..Solve::default()
    })
}

/// As BuildKit's clients name them: a JSON list of types and attributes.
fn cache_imports(sources: &[CacheSource]) -> String {
    let entry = |source: &CacheSource| match (&source.place, &source.digest) {
        (CachePlace::Registry(reference), _) => json!({ "Type": "registry", "Attrs": { "ref": reference.familiar() } }),
        (CachePlace::Local(name), None) => json!({ "Type": "local", "Attrs": { "src": name } }),
        (CachePlace::Local(name), Some(digest)) => {
            json!({ "Type": "local", "Attrs": { "src": name, "digest": digest.to_string() } })
        }
    };
    serde_json::Value::from_iter(sources.iter().map(entry)).to_string()
}

fn put_resources(resources: &::builder::Resources, put: &mut impl FnMut(&str, String)) -> Result<(), Failure> {
    let limit = |limit: &container_core::Ulimit| format!("{}={}:{}", limit.name, limit.soft, limit.hard);
    let numbers = [
        resources.memory,
        resources.memory_swap,
        resources.cpu_shares,
        resources.cpu_quota_us,
        resources.cpu_period_us,
    ];
    let lists = [resources.cpuset_cpus.is_empty(), resources.cpuset_mems.is_empty(), resources.security_opt.is_empty()];
    if numbers.iter().any(|number| *number != 0) || lists.contains(&false) {
        return Err(Failure::bad_request(
            "limits of memory and processors and security options belong to the classic builder: build with DOCKER_BUILDKIT=0",
        ));
    }
    if !resources.ulimits.is_empty() {
        put("ulimit", resources.ulimits.iter().map(limit).collect::<Vec<_>>().join(","));
    }
    if resources.shm_size != 0 {
        put("shm-size", resources.shm_size.to_string());
    }
    if !resources.cgroup_parent.is_empty() {
        put("cgroup-parent", resources.cgroup_parent.clone());
    }
    Ok(())
}

/// One output; without any an image of the engine's.
fn exporters(outputs: Option<&str>, tags: &[String]) -> Result<Vec<Exporter>, Failure> {
    #[derive(serde::Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Output {
        r#type: String,
        attrs: Option<BTreeMap<String, String>>,
    }
    let outputs: Vec<Output> = match outputs.filter(|outputs| !matches!(*outputs, "null" | "[]")) {
        Some(text) => serde_json::from_str(text)
            .map_err(|error| Failure::bad_request(format!("invalid outputs specified: {error}")))?,
        None => Vec::new(),
    };
    if outputs.len() > 1 {
        return Err(Failure::bad_request("multiple outputs not supported"));
    }
    let named = || match tags {
        [] => BTreeMap::new(),
        tags => BTreeMap::from([("name".to_owned(), tags.join(","))]),
    };
    Ok(match outputs.into_iter().next() {
        None => vec![Exporter { kind: "moby".to_owned(), attributes: named(), ..Exporter::default() }],
        Some(output) => {
            let mut attributes = output.attrs.unwrap_or_default();
            if output.r#type == "moby" {
                attributes.extend(named());
            }
            vec![Exporter { kind: output.r#type, attributes, ..Exporter::default() }]
        }
    })
}
