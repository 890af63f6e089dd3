//! Every endpoint as data: method, path, the version it appeared in, and which path belongs to which.
//!
//! A `{name}` in a path stands for any text, slashes included, since images are named with them; the daemon and the
//! client agree on nothing else about it. Fixed words win over names: `/images/json` is the list.

use crate::version::ApiVersion;

/// Methods that the API uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
}

/// What is asked, named as in Docker's API reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Ping,
    Version,
    Info,
    Events,
    DiskUsage,
    Auth,
    ContainerList,
    ContainerCreate,
    ContainerInspect,
    ContainerTop,
    ContainerLogs,
    ContainerChanges,
    ContainerExport,
    ContainerStats,
    ContainerResize,
    ContainerStart,
    ContainerStop,
    ContainerRestart,
    ContainerKill,
    ContainerUpdate,
    ContainerRename,
    ContainerPause,
    ContainerUnpause,
    ContainerAttach,
    ContainerAttachWebsocket,
    ContainerWait,
    ContainerDelete,
    ContainerArchiveInfo,
    ContainerArchive,
    PutContainerArchive,
    ContainerPrune,
    ContainerCommit,
    ContainerExec,
    ExecStart,
    ExecResize,
    ExecInspect,
    ImageList,
    ImageCreate,
    ImageInspect,
    ImageHistory,
    ImagePush,
    ImageTag,
    ImageDelete,
    ImageSearch,
    ImagePrune,
    ImageGet,
    ImageGetAll,
    ImageLoad,
    ImageBuild,
    BuildPrune,
    NetworkList,
    NetworkInspect,
    NetworkCreate,
    NetworkConnect,
    NetworkDisconnect,
    NetworkDelete,
    NetworkPrune,
    VolumeList,
    VolumeCreate,
    VolumeInspect,
    VolumeUpdate,
    VolumeDelete,
    VolumePrune,
    DistributionInspect,
    PluginList,
    Session,
    Grpc,
    BuildCancel,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    pub operation: Operation,
    pub method: Method,
    pub path: &'static str,
    pub since: ApiVersion,
}

/// A path with its version cut off, as [`find`] answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    pub endpoint: &'static Endpoint,
    /// What stands for `{name}`, still percent-encoded.
    pub name: Option<&'a str>,
}

/// Nothing answers here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("page not found")]
    NotFound,
    /// The path exists with another method.
    #[error("method not allowed")]
    Method,
}

const fn row(operation: Operation, method: Method, path: &'static str, minor: u16) -> Endpoint {
    Endpoint { operation, method, path, since: ApiVersion::new(1, minor) }
}

use Method::{Delete, Get, Head, Post, Put};
use Operation as Op;

/// All endpoints. The order within a method is the order of matching.
#[rustfmt::skip]
pub const ENDPOINTS: &[Endpoint] = &[
    row(Op::Ping,                     Get,    "/_ping",                         0),
    row(Op::Ping,                     Head,   "/_ping",                         0),
    row(Op::Version,                  Get,    "/version",                       0),
    row(Op::Info,                     Get,    "/info",                          0),
    row(Op::Events,                   Get,    "/events",                        0),
    row(Op::DiskUsage,                Get,    "/system/df",                    25),
    row(Op::Auth,                     Post,   "/auth",                          0),
    row(Op::ContainerList,            Get,    "/containers/json",               0),
    row(Op::ContainerCreate,          Post,   "/containers/create",             0),
    row(Op::ContainerPrune,           Post,   "/containers/prune",             25),
    row(Op::ContainerInspect,         Get,    "/containers/{name}/json",        0),
    row(Op::ContainerTop,             Get,    "/containers/{name}/top",         0),
    row(Op::ContainerLogs,            Get,    "/containers/{name}/logs",        0),
    row(Op::ContainerChanges,         Get,    "/containers/{name}/changes",     0),
    row(Op::ContainerExport,          Get,    "/containers/{name}/export",      0),
    row(Op::ContainerStats,           Get,    "/containers/{name}/stats",       0),
    row(Op::ContainerAttachWebsocket, Get,    "/containers/{name}/attach/ws",   0),
    row(Op::ContainerArchive,         Get,    "/containers/{name}/archive",    20),
    row(Op::ContainerArchiveInfo,     Head,   "/containers/{name}/archive",    20),
    row(Op::PutContainerArchive,      Put,    "/containers/{name}/archive",    20),
    row(Op::ContainerResize,          Post,   "/containers/{name}/resize",      0),
    row(Op::ContainerStart,           Post,   "/containers/{name}/start",       0),
    row(Op::ContainerStop,            Post,   "/containers/{name}/stop",        0),
    row(Op::ContainerRestart,         Post,   "/containers/{name}/restart",     0),
    row(Op::ContainerKill,            Post,   "/containers/{name}/kill",        0),
    row(Op::ContainerUpdate,          Post,   "/containers/{name}/update",     22),
    row(Op::ContainerRename,          Post,   "/containers/{name}/rename",      0),
    row(Op::ContainerPause,           Post,   "/containers/{name}/pause",       0),
    row(Op::ContainerUnpause,         Post,   "/containers/{name}/unpause",     0),
    row(Op::ContainerAttach,          Post,   "/containers/{name}/attach",      0),
    row(Op::ContainerWait,            Post,   "/containers/{name}/wait",        0),
    row(Op::ContainerExec,            Post,   "/containers/{name}/exec",        0),
    row(Op::ContainerDelete,          Delete, "/containers/{name}",             0),
    row(Op::ContainerCommit,          Post,   "/commit",                        0),
    row(Op::ExecStart,                Post,   "/exec/{name}/start",             0),
    row(Op::ExecResize,               Post,   "/exec/{name}/resize",            0),
    row(Op::ExecInspect,              Get,    "/exec/{name}/json",              0),
    row(Op::ImageList,                Get,    "/images/json",                   0),
    row(Op::ImageSearch,              Get,    "/images/search",                 0),
    row(Op::ImageGetAll,              Get,    "/images/get",                    0),
    row(Op::ImageCreate,              Post,   "/images/create",                 0),
    row(Op::ImageLoad,                Post,   "/images/load",                   0),
    row(Op::ImagePrune,               Post,   "/images/prune",                 25),
    row(Op::ImageInspect,             Get,    "/images/{name}/json",            0),
    row(Op::ImageHistory,             Get,    "/images/{name}/history",         0),
    row(Op::ImageGet,                 Get,    "/images/{name}/get",             0),
    row(Op::ImagePush,                Post,   "/images/{name}/push",            0),
    row(Op::ImageTag,                 Post,   "/images/{name}/tag",             0),
    row(Op::ImageDelete,              Delete, "/images/{name}",                 0),
    row(Op::ImageBuild,               Post,   "/build",                         0),
    row(Op::BuildPrune,               Post,   "/build/prune",                  31),
    row(Op::NetworkList,              Get,    "/networks",                     21),
    row(Op::NetworkCreate,            Post,   "/networks/create",              21),
    row(Op::NetworkPrune,             Post,   "/networks/prune",               25),
    row(Op::NetworkConnect,           Post,   "/networks/{name}/connect",      21),
    row(Op::NetworkDisconnect,        Post,   "/networks/{name}/disconnect",   21),
    row(Op::NetworkInspect,           Get,    "/networks/{name}",              21),
    row(Op::NetworkDelete,            Delete, "/networks/{name}",              21),
    row(Op::VolumeList,               Get,    "/volumes",                      21),
    row(Op::VolumeCreate,             Post,   "/volumes/create",               21),
    row(Op::VolumePrune,              Post,   "/volumes/prune",                25),
    row(Op::VolumeInspect,            Get,    "/volumes/{name}",               21),
    row(Op::VolumeUpdate,             Put,    "/volumes/{name}",               42),
    row(Op::VolumeDelete,             Delete, "/volumes/{name}",               21),
    row(Op::DistributionInspect,      Get,    "/distribution/{name}/json",     30),
    row(Op::PluginList,               Get,    "/plugins",                      25),
    row(Op::Session,                  Post,   "/session",                      31),
    row(Op::Grpc,                     Post,   "/grpc",                         38),
    row(Op::BuildCancel,              Post,   "/build/cancel",                 38),
];

/// Cuts `/v1.24` off a path. A path without a version is served as the newest.
pub fn split_version(path: &str) -> (Option<&str>, &str) {
    let Some(rest) = path.strip_prefix("/v") else { return (None, path) };
    let (version, tail) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let is_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_version { (Some(version), tail) } else { (None, path) }
}

/// The endpoint that answers a path without version.
pub fn find(method: Method, path: &str) -> Result<Found<'_>, EndpointError> {
    // Docker's one route with a slash at its end.
    let path = if path == "/networks/" { "/networks" } else { path };
    let mut other_method = false;
    for endpoint in ENDPOINTS {
        let Some(name) = endpoint.matches(path) else { continue };
        if endpoint.method == method {
            return Ok(Found { endpoint, name });
        }
        other_method = true;
    }
    Err(if other_method { EndpointError::Method } else { EndpointError::NotFound })
}

impl Endpoint {
    /// `Some` when the path is this endpoint's, with the name in it.
    fn matches<'a>(&self, path: &'a str) -> Option<Option<&'a str>> {
        let Some((before, after)) = self.path.split_once("{name}") else {
            return (self.path == path).then_some(None);
        };
        let name = path.strip_prefix(before)?.strip_suffix(after)?;
        (!name.is_empty()).then_some(Some(name))
    }

    /// The path with a name filled in; the name must be encoded already.
    pub fn path_of(&self, name: &str) -> String {
        self.path.replace("{name}", name)
    }
}

/// The row of an operation (the first one: `GET` for the ping).
pub fn endpoint(operation: Operation) -> &'static Endpoint {
    match ENDPOINTS.iter().find(|endpoint| endpoint.operation == operation) {
        Some(endpoint) => endpoint,
        None => unreachable!("every operation has a row, which a test asserts"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: Method, path: &str) -> (Operation, Option<&str>) {
        let found = find(method, path).unwrap();
        (found.endpoint.operation, found.name)
    }

    #[test]
    fn names_may_hold_slashes_and_fixed_words_win() {
        assert_eq!(found(Get, "/images/json"), (Op::ImageList, None));
        assert_eq!(found(Get, "/images/gcr.io/a/b:c/json"), (Op::ImageInspect, Some("gcr.io/a/b:c")));
        assert_eq!(found(Delete, "/images/a/b"), (Op::ImageDelete, Some("a/b")));
        assert_eq!(found(Post, "/containers/x/attach"), (Op::ContainerAttach, Some("x")));
        assert_eq!(found(Get, "/containers/x/attach/ws"), (Op::ContainerAttachWebsocket, Some("x")));
        assert_eq!(found(Get, "/networks/"), (Op::NetworkList, None));
        assert!(find(Get, "/containers/json/").is_err());
        assert_eq!(found(Post, "/networks/create"), (Op::NetworkCreate, None));
    }

    #[test]
    fn a_wrong_method_is_told_from_a_wrong_path() {
        assert_eq!(find(Put, "/containers/json"), Err(EndpointError::Method));
        assert_eq!(find(Get, "/nothing"), Err(EndpointError::NotFound));
        assert_eq!(find(Get, "/exec//json"), Err(EndpointError::NotFound));
        assert_eq!(find(Get, "/"), Err(EndpointError::NotFound));
    }

    #[test]
    fn the_version_is_the_first_segment() {
        assert_eq!(split_version("/v1.24/info"), (Some("1.24"), "/info"));
        assert_eq!(split_version("/version"), (None, "/version"));
        assert_eq!(split_version("/volumes/v1.2"), (None, "/volumes/v1.2"));
        assert_eq!(split_version("/v1.24"), (Some("1.24"), ""));
        assert_eq!(split_version("/v1.24x/info"), (None, "/v1.24x/info"));
    }

    #[test]
    fn a_path_leads_back_to_its_row() {
        for endpoint in ENDPOINTS {
            let path = endpoint.path_of("some%2Fthing");
            assert_eq!(find(endpoint.method, &path).unwrap().endpoint, endpoint, "{path}");
            assert!(endpoint.since <= ApiVersion::MAX);
        }
        for operation in [Op::Ping, Op::Session, Op::ExecInspect, Op::BuildPrune] {
            assert_eq!(endpoint(operation).operation, operation);
        }
    }
}
