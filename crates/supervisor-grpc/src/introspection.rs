//! What this daemon is made of, as plugins, and which one it is.

use std::borrow::Cow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use containerd_api::services::introspection::v1::introspection_server::Introspection;
use containerd_api::services::introspection::v1::{
    Plugin, PluginInfoRequest, PluginInfoResponse, PluginsRequest, PluginsResponse, ServerResponse,
};
use containerd_api::types::Platform;
use supervisor::filter::{Fields, Filter, non_empty};
use tonic::{Request, Response, Status};

use crate::status::status;

/// Type and id of every part, as containerd names them.
const PLUGINS: [(&str, &str); 23] = [
    ("io.containerd.content.v1", "content"),
    ("io.containerd.snapshotter.v1", "overlayfs"),
    ("io.containerd.metadata.v1", "bolt"),
    ("io.containerd.differ.v1", "walking"),
    ("io.containerd.gc.v1", "scheduler"),
    ("io.containerd.event.v1", "exchange"),
    ("io.containerd.runtime.v2", "task"),
    ("io.containerd.streaming.v1", "manager"),
    ("io.containerd.transfer.v1", "local"),
    ("io.containerd.ttrpc.v1", "events"),
    ("io.containerd.grpc.v1", "containers"),
    ("io.containerd.grpc.v1", "content"),
    ("io.containerd.grpc.v1", "diff"),
    ("io.containerd.grpc.v1", "events"),
    ("io.containerd.grpc.v1", "healthcheck"),
    ("io.containerd.grpc.v1", "images"),
    ("io.containerd.grpc.v1", "introspection"),
    ("io.containerd.grpc.v1", "leases"),
    ("io.containerd.grpc.v1", "namespaces"),
    ("io.containerd.grpc.v1", "snapshots"),
    ("io.containerd.grpc.v1", "streaming"),
    ("io.containerd.grpc.v1", "tasks"),
    ("io.containerd.grpc.v1", "transfer"),
];

pub struct IntrospectionService {
    uuid: String,
    /// Where the snapshotter lies.
    snapshots: PathBuf,
}

impl IntrospectionService {
    /// Reads the name that this daemon gave itself at its first start, or gives it one now.
    pub fn new(root: &Path, snapshots: PathBuf) -> std::io::Result<Self> {
        let folder = root.join("io.containerd.grpc.v1.introspection");
        let path = folder.join("uuid");
        let known = std::fs::read_to_string(&path).ok().filter(|text| is_uuid(text.trim()));
        let uuid = match known {
            Some(uuid) => uuid.trim().to_owned(),
            None => {
                let uuid = new_uuid()?;
                std::fs::create_dir_all(&folder)?;
                std::fs::write(&path, &uuid)?;
                uuid
            }
        };
        Ok(Self { uuid, snapshots })
    }

    fn plugin(&self, r#type: &str, id: &str) -> Plugin {
        let is_local = matches!(id, "overlayfs" | "task" | "walking");
        let mut plugin = Plugin { r#type: r#type.to_owned(), id: id.to_owned(), ..Plugin::default() };
        if is_local {
            plugin.platforms.push(platform());
        }
        if id == "overlayfs" {
            plugin.exports.insert("root".to_owned(), self.snapshots.to_string_lossy().into_owned());
        }
        plugin
    }
}

#[tonic::async_trait]
impl Introspection for IntrospectionService {
    async fn plugins(&self, request: Request<PluginsRequest>) -> Result<Response<PluginsResponse>, Status> {
        let filter =
            Filter::parse_all(&request.get_ref().filters).map_err(|error| status(supervisor::Error::from(error)))?;
        let plugins = PLUGINS
            .iter()
            .filter(|(r#type, id)| filter.matches(&Named { r#type, id }))
            .map(|(r#type, id)| self.plugin(r#type, id))
            .collect();
        Ok(Response::new(PluginsResponse { plugins }))
    }

    async fn server(&self, _: Request<()>) -> Result<Response<ServerResponse>, Status> {
        let pidns = std::fs::metadata("/proc/self/ns/pid").map(|metadata| metadata.ino()).unwrap_or(0);
        let pid = u64::from(std::process::id());
        Ok(Response::new(ServerResponse { uuid: self.uuid.clone(), pid, pidns, ..ServerResponse::default() }))
    }

    async fn plugin_info(&self, request: Request<PluginInfoRequest>) -> Result<Response<PluginInfoResponse>, Status> {
        let PluginInfoRequest { r#type, id, options } = request.into_inner();
        if !PLUGINS.contains(&(r#type.as_str(), id.as_str())) {
            return Err(Status::not_found(format!("plugin {type}.{id} not found: not found")));
        }
        if options.is_some() {
            return Err(Status::unimplemented("plugin does not provided extra information: not implemented"));
        }
        Ok(Response::new(PluginInfoResponse { plugin: Some(self.plugin(&r#type, &id)), extra: None }))
    }
}

struct Named {
    r#type: &'static str,
    id: &'static str,
}

impl Fields for Named {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path[0] {
            "type" => non_empty(self.r#type),
            "id" => non_empty(self.id),
            _ => None,
        }
    }
}

/// The platform of this build, in Go's words.
fn platform() -> Platform {
    let (architecture, variant) = match std::env::consts::ARCH {
        "x86_64" => ("amd64", ""),
        "aarch64" => ("arm64", "v8"),
        other => (other, ""),
    };
    Platform {
        os: "linux".to_owned(),
        architecture: architecture.to_owned(),
        variant: variant.to_owned(),
        ..Platform::default()
    }
}

/// A random UUID, RFC 9562 version 4.
fn new_uuid() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_name_stays_and_plugins_can_be_filtered() {
        let folder = tempfile::tempdir().expect("tempdir");
        let new = || IntrospectionService::new(folder.path(), folder.path().join("snapshots")).expect("service");
        let (first, second) = (new(), new());
        assert!(is_uuid(&first.uuid) && first.uuid == second.uuid);
        let filters = vec!["type==io.containerd.snapshotter.v1, id==overlayfs".to_owned()];
        let answer = first.plugins(Request::new(PluginsRequest { filters })).await.expect("plugins").into_inner();
        assert_eq!(answer.plugins.len(), 1);
        assert!(answer.plugins[0].init_err.is_none());
    }
}
