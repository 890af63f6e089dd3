//! What a version of the API lacks or has beside the newest, in one place.
//!
//! Services speak the newest version only. A request of an older client is completed, or refused, on its way in, an
//! answer is reduced on its way out. Every such step is a row of a table: [`Change`]s of bodies and answers, one table
//! an operation, and [`PARAMETERS`] that older versions do not know. Each row names the version that brought it
//! (docs/api/version-history of the Engine API, and what Docker 28 does with it); a test walks over all of them.

mod answers;
mod endpoints;
mod parameters;
mod requests;

use std::fmt;

use serde_json::{Value, json};

use crate::container::{CreateRequest, Inspect, Summary};
use crate::event::Event;
use crate::host_config::HostConfig;
use crate::image;
use crate::system::{DiskUsage, Info};
use crate::version::ApiVersion;
use crate::{exec, network};

pub use parameters::{PARAMETERS, Parameter, is_heard};

/// `1.N`.
const fn v(minor: u16) -> ApiVersion {
    ApiVersion::new(1, minor)
}

/// A row: what is otherwise for some clients.
pub struct Change<T> {
    clients: Clients,
    /// The member that is concerned, as it is written.
    pub member: &'static str,
    /// What becomes of it, for people.
    pub effect: &'static str,
    step: Step<T>,
}

/// Whom a change concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clients {
    /// Those that speak an older version.
    Before(ApiVersion),
    /// Those that speak this version or a newer one.
    Since(ApiVersion),
}

enum Step<T> {
    Edit(fn(&mut T)),
    /// The words of a refusal, if there is something to refuse.
    Refuse(fn(&T) -> Option<String>),
}

/// A request that this version does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

impl errors::Kind for Refused {
    fn kind(&self) -> errors::ErrorKind {
        errors::ErrorKind::InvalidArgument
    }
}

/// For those that speak an older version than `1.minor`.
const fn before<T>(minor: u16, member: &'static str, effect: &'static str, edit: fn(&mut T)) -> Change<T> {
    Change { clients: Clients::Before(v(minor)), member, effect, step: Step::Edit(edit) }
}

const fn since<T>(minor: u16, member: &'static str, effect: &'static str, edit: fn(&mut T)) -> Change<T> {
    Change { clients: Clients::Since(v(minor)), member, effect, step: Step::Edit(edit) }
}

const fn refused_before<T>(minor: u16, member: &'static str, refuse: fn(&T) -> Option<String>) -> Change<T> {
    Change { clients: Clients::Before(v(minor)), member, effect: "is refused", step: Step::Refuse(refuse) }
}

const fn refused_since<T>(minor: u16, member: &'static str, refuse: fn(&T) -> Option<String>) -> Change<T> {
    Change { clients: Clients::Since(v(minor)), member, effect: "is refused", step: Step::Refuse(refuse) }
}

impl Clients {
    fn include(self, version: ApiVersion) -> bool {
        match self {
            Self::Before(boundary) => version < boundary,
            Self::Since(boundary) => version >= boundary,
        }
    }
}

impl fmt::Display for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before(boundary) => write!(f, "before {boundary}"),
            Self::Since(boundary) => write!(f, "since {boundary}"),
        }
    }
}

fn apply<T>(changes: &[Change<T>], value: &mut T, version: ApiVersion) -> Result<(), Refused> {
    for change in changes.iter().filter(|change| change.clients.include(version)) {
        match change.step {
            Step::Edit(edit) => edit(value),
            Step::Refuse(refuse) => {
                if let Some(words) = refuse(value) {
                    return Err(Refused(words));
                }
            }
        }
    }
    Ok(())
}

/// The same for what is never refused: an answer.
fn reduce<T>(changes: &[Change<T>], value: &mut T, version: ApiVersion) {
    let refused = apply(changes, value, version);
    debug_assert!(refused.is_ok(), "an answer has nothing to refuse");
}

/// What a host needs to know to complete an old request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupHierarchy {
    V1,
    V2,
}

/// A creation on its way in.
#[derive(Debug, Clone, PartialEq)]
struct Creation {
    request: CreateRequest,
    cgroup: CgroupHierarchy,
    warnings: Vec<String>,
}

/// `POST /containers/create`, in place; what the client is to be warned of.
pub fn container_create(
    request: &mut CreateRequest,
    version: ApiVersion,
    cgroup: CgroupHierarchy,
) -> Result<Vec<String>, Refused> {
    let mut creation = Creation { request: std::mem::take(request), cgroup, warnings: Vec::new() };
    apply(requests::CONTAINER_CREATE, &mut creation, version)?;
    *request = creation.request;
    Ok(creation.warnings)
}

/// `POST /containers/x/update`, in place.
pub fn container_update(request: &mut HostConfig, version: ApiVersion) {
    reduce(requests::CONTAINER_UPDATE, request, version);
}

/// `POST /containers/x/exec`, in place.
pub fn exec_create(request: &mut exec::CreateRequest, version: ApiVersion) {
    reduce(requests::EXEC_CREATE, request, version);
}

/// `POST /exec/x/start`, in place.
pub fn exec_start(request: &mut exec::StartRequest, version: ApiVersion) {
    reduce(requests::EXEC_START, request, version);
}

/// `POST /networks/create`, in place.
pub fn network_create(request: &mut network::CreateRequest, version: ApiVersion) {
    reduce(requests::NETWORK_CREATE, request, version);
}

/// `GET /containers/json`, in place.
pub fn container_list(list: &mut [Summary], version: ApiVersion) {
    for summary in list {
        reduce(answers::CONTAINER_SUMMARY, summary, version);
    }
}

/// `GET /containers/x/json`, in place.
pub fn container_inspect(inspect: &mut Inspect, version: ApiVersion) {
    reduce(answers::CONTAINER_INSPECT, inspect, version);
}

/// `GET /images/json`, in place.
pub fn image_list(list: &mut [image::Summary], version: ApiVersion) {
    for summary in list {
        reduce(answers::IMAGE_SUMMARY, summary, version);
    }
}

/// `GET /images/x/json` as it is written: until 1.49 the configuration had all members of a container's.
pub fn image_inspect(mut inspect: image::Inspect, version: ApiVersion) -> Value {
    reduce(answers::IMAGE_INSPECT, &mut inspect, version);
    let config = inspect.config.clone().filter(|_| version < v(50)).map(answers::whole_config);
    let mut answer = json!(inspect);
    if let Some(config) = config {
        answer["Config"] = json!(config);
    }
    answer
}

/// `GET /info` as it is written.
pub fn info(mut info: Info, version: ApiVersion) -> Value {
    reduce(answers::INFO, &mut info, version);
    let mut answer = json!(info);
    reduce(answers::WRITTEN_INFO, &mut answer, version);
    answer
}

/// Since 1.42 a volume with a name stays unless the client says otherwise, and a swarm has volumes, too.
pub fn volumes_are_of_1_42(version: ApiVersion) -> bool {
    version >= v(42)
}

/// `GET /system/df`, as it is written.
pub fn disk_usage(mut usage: DiskUsage, version: ApiVersion) -> DiskUsage {
    for image in usage.images.iter_mut().flatten() {
        reduce(answers::DISK_USAGE_IMAGE, image, version);
    }
    usage
}

/// Whether a client of this version is told of an event.
pub fn event_is_shown(event: &Event, version: ApiVersion) -> bool {
    // Creation of images (import, load) became an event of its own in 1.46.
    version >= v(46) || event.kind != "image" || event.action != "create"
}

/// Content type of an attach, exec or log stream.
pub fn stream_type(tty: bool, version: ApiVersion) -> &'static str {
    if tty || version < v(42) { crate::RAW_STREAM } else { crate::MULTIPLEXED_STREAM }
}

/// Before 1.44 what was read-only was so without what is mounted below it.
pub fn read_only_is_shallow(version: ApiVersion) -> bool {
    version < v(44)
}

/// Since 1.30 `POST /containers/x/wait` answers before it waits, so that a client knows that it will be told.
pub fn wait_answers_at_once(version: ApiVersion) -> bool {
    version >= v(30)
}

/// Before 1.42 a WebSocket had all three streams, whatever was asked for.
pub fn websocket_streams_are_chosen(version: ApiVersion) -> bool {
    version >= v(42)
}

/// Before 1.28 a WebSocket's messages were texts.
pub fn websocket_is_binary(version: ApiVersion) -> bool {
    version >= v(28)
}

/// Everything above for a page that people read: operation, clients, member, effect.
pub fn told() -> Vec<[String; 4]> {
    fn rows<T>(operation: &str, changes: &[Change<T>]) -> Vec<[String; 4]> {
        let row = |change: &Change<T>| {
            [operation.to_owned(), change.clients.to_string(), change.member.to_owned(), change.effect.to_owned()]
        };
        changes.iter().map(row).collect()
    }
    let rest = [
        ["GET /events", "before 1.46", "image create", "is not told"],
        [
            "GET /containers/{id}/logs, attach, POST /exec/{id}/start",
            "before 1.42",
            "Content-Type",
            "is `raw-stream` always",
        ],
        ["POST /containers/create", "before 1.44", "HostConfig.Binds", "are read-only without what is mounted below"],
        ["POST /containers/{id}/wait", "before 1.30", "the head of the answer", "comes with its end"],
        ["GET /containers/{id}/attach/ws", "before 1.42", "stdin, stdout, stderr", "are all attached"],
        ["GET /containers/{id}/attach/ws", "before 1.28", "messages", "are texts"],
        ["GET /images/{name}/json", "before 1.50", "Config", "has all members of a container's"],
        ["POST /volumes/prune", "before 1.42", "volumes with a name", "are pruned, too"],
    ];
    [
        rows("POST /containers/create", requests::CONTAINER_CREATE),
        rows("POST /containers/{id}/update", requests::CONTAINER_UPDATE),
        rows("POST /containers/{id}/exec", requests::EXEC_CREATE),
        rows("POST /exec/{id}/start", requests::EXEC_START),
        rows("POST /networks/create", requests::NETWORK_CREATE),
        rows("GET /containers/json", answers::CONTAINER_SUMMARY),
        rows("GET /containers/{id}/json", answers::CONTAINER_INSPECT),
        rows("GET /images/json", answers::IMAGE_SUMMARY),
        rows("GET /images/{name}/json", answers::IMAGE_INSPECT),
        rows("GET /info", answers::INFO),
        rows("GET /info", answers::WRITTEN_INFO),
        rows("GET /system/df", answers::DISK_USAGE_IMAGE),
        rest.iter().map(|row| row.map(str::to_owned)).collect(),
    ]
    .concat()
}

#[cfg(test)]
mod tests;
