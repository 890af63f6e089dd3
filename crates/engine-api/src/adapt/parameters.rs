//! Parameters of queries that came with a version: older clients' words are not heard.

use crate::endpoint::Operation::{self, *};
use crate::version::ApiVersion;

/// A row.
pub struct Parameter {
    pub operation: Operation,
    pub name: &'static str,
    /// The first version that knows it.
    pub since: ApiVersion,
    /// The first version that does not know it any more.
    pub until: Option<ApiVersion>,
}

const fn from(operation: Operation, name: &'static str, minor: u16) -> Parameter {
    Parameter { operation, name, since: ApiVersion::new(1, minor), until: None }
}

const fn gone(operation: Operation, name: &'static str, minor: u16) -> Parameter {
    Parameter { operation, name, since: ApiVersion::new(1, 0), until: Some(ApiVersion::new(1, minor)) }
}

/// All of them, in the order of the API's pages.
pub const PARAMETERS: &[Parameter] = &[
    from(ContainerCreate, "platform", 41),
    from(ContainerStats, "one-shot", 41),
    from(ContainerStop, "signal", 42),
    from(ContainerRestart, "signal", 42),
    from(ContainerWait, "condition", 30),
    from(ImageList, "shared-size", 42),
    from(ImageList, "manifests", 47),
    gone(ImageList, "filter", 41),
    from(ImageCreate, "platform", 32),
    from(ImageInspect, "manifests", 48),
    from(ImageInspect, "platform", 49),
    from(ImageHistory, "platform", 48),
    from(ImagePush, "platform", 46),
    from(ImageDelete, "platforms", 50),
    from(ImageGet, "platform", 48),
    from(ImageGetAll, "platform", 48),
    from(ImageLoad, "platform", 48),
    from(ImageBuild, "platform", 32),
    from(ImageBuild, "outputs", 40),
    from(DiskUsage, "type", 42),
];

/// Whether a parameter means something to this operation in this version.
pub fn is_heard(operation: Operation, name: &str, version: ApiVersion) -> bool {
    let row = PARAMETERS.iter().find(|row| row.operation == operation && row.name == name);
    row.is_none_or(|row| version >= row.since && row.until.is_none_or(|until| version < until))
}
