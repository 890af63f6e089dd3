//! Answers, reduced to what a version knows.

use serde_json::Value;

use super::{Change, before, since};
use crate::container::{Config, Inspect, Summary};
use crate::image::{self, ImageConfig};
use crate::system::Info;

/// Go's zero time, which old answers carry where newer ones leave a member out.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// `GET /containers/json`, each line.
pub const CONTAINER_SUMMARY: &[Change<Summary>] = &[
    before(46, "HostConfig.Annotations", "is left out", |summary| summary.host_config.annotations = None),
    before(48, "ImageManifestDescriptor", "is left out", |summary| summary.image_manifest_descriptor = None),
];

/// `GET /containers/x/json`.
pub const CONTAINER_INSPECT: &[Change<Inspect>] = &[
    before(45, "NetworkSettings.Networks.*.Aliases", "have the short id and the host name", aliases),
    before(48, "ImageManifestDescriptor", "is left out", |inspect| inspect.image_manifest_descriptor = None),
];

/// `GET /images/json`, each line.
pub const IMAGE_SUMMARY: &[Change<image::Summary>] = &[
    before(43, "RepoTags", "are `<none>:<none>` where there is no name", |summary| {
        if summary.repo_tags.is_empty() && summary.repo_digests.is_empty() {
            summary.repo_tags.push("<none>:<none>".to_owned());
            summary.repo_digests.push("<none>@<none>".to_owned());
        }
    }),
    before(44, "VirtualSize", "is the size", |summary| summary.virtual_size = summary.size),
    before(48, "Descriptor", "is left out", |summary| summary.descriptor = None),
    before(51, "Containers", "is -1", |summary| summary.containers = -1),
];

/// `GET /images/x/json`.
pub const IMAGE_INSPECT: &[Change<image::Inspect>] = &[
    before(44, "VirtualSize", "is the size", |inspect| inspect.virtual_size = inspect.size),
    before(44, "Created", "is Go's zero time where there is none", |inspect| {
        if inspect.created.is_empty() {
            ZERO_TIME.clone_into(&mut inspect.created);
        }
    }),
    before(45, "ContainerConfig", "is an empty configuration", |inspect| {
        inspect.container_config.get_or_insert_default();
    }),
    since(45, "Container", "is left out", |inspect| inspect.container.clear()),
    since(45, "ContainerConfig", "is left out", |inspect| inspect.container_config = None),
    before(48, "Descriptor", "is left out", |inspect| inspect.descriptor = None),
];

/// `GET /info`.
pub const INFO: &[Change<Info>] = &[
    before(25, "SecurityOptions", "are bare names", bare_options),
    before(39, "KernelVersion", "is `<unknown>` where it is not known", |info| {
        placeholder(&mut info.kernel_version);
    }),
    before(39, "OperatingSystem", "is `<unknown>` where it is not known", |info| {
        placeholder(&mut info.operating_system);
    }),
    since(42, "KernelMemory", "is left out", |info| info.kernel_memory = false),
    before(44, "Runtimes.*.status", "is left out", |info| {
        info.runtimes.values_mut().for_each(|runtime| runtime.status.clear());
    }),
    before(46, "Containerd", "is left out", |info| info.containerd = None),
    before(49, "FirewallBackend", "is left out", |info| info.firewall_backend = None),
    before(49, "ContainerdCommit.Expected", "is the commit", |info| {
        info.containerd_commit.expected = info.containerd_commit.id.clone();
    }),
    before(49, "RuncCommit.Expected", "is the commit", |info| info.runc_commit.expected = info.runc_commit.id.clone()),
    before(49, "InitCommit.Expected", "is the commit", |info| info.init_commit.expected = info.init_commit.id.clone()),
    before(50, "DiscoveredDevices", "are left out", |info| info.discovered_devices.clear()),
];

/// The same as it is written: members that have gone.
pub const WRITTEN_INFO: &[Change<Value>] = &[
    before(47, "RegistryConfig.AllowNondistributableArtifactsCIDRs", "is null", |info| {
        registry_null(info, "AllowNondistributableArtifactsCIDRs");
    }),
    before(47, "RegistryConfig.AllowNondistributableArtifactsHostnames", "is null", |info| {
        registry_null(info, "AllowNondistributableArtifactsHostnames");
    }),
    before(50, "BridgeNfIptables", "is false", |info| info["BridgeNfIptables"] = Value::Bool(false)),
    before(50, "BridgeNfIp6tables", "is false", |info| info["BridgeNfIp6tables"] = Value::Bool(false)),
];

/// Images in `GET /system/df`.
pub const DISK_USAGE_IMAGE: &[Change<image::Summary>] =
    &[before(44, "Images.*.VirtualSize", "is the size", |image| image.virtual_size = image.size)];

/// Until 1.49 an image's configuration was a container's.
pub fn whole_config(config: ImageConfig) -> Config {
    Config {
        user: config.user,
        exposed_ports: config.exposed_ports,
        env: config.env,
        cmd: config.cmd,
        healthcheck: config.healthcheck,
        args_escaped: config.args_escaped,
        volumes: config.volumes,
        working_dir: config.working_dir,
        entrypoint: config.entrypoint,
        on_build: config.on_build,
        labels: config.labels,
        stop_signal: config.stop_signal,
        shell: config.shell,
        ..Config::default()
    }
}

fn aliases(inspect: &mut Inspect) {
    let short: String = inspect.id.chars().take(12).collect();
    let hostname = &inspect.config.hostname;
    for (network, endpoint) in &mut inspect.network_settings.networks {
        if matches!(network.as_str(), "bridge" | "host" | "none" | "default") {
            continue;
        }
        let aliases = endpoint.aliases.get_or_insert_default();
        for alias in [&short, hostname] {
            if !alias.is_empty() && !aliases.contains(alias) {
                aliases.push(alias.clone());
            }
        }
    }
}

/// `name=seccomp,profile=default` was `seccomp`.
fn bare_options(info: &mut Info) {
    for option in &mut info.security_options {
        let name = option.split(',').find_map(|part| part.strip_prefix("name=")).map(str::to_owned);
        if let Some(name) = name {
            *option = name;
        }
    }
}

fn placeholder(text: &mut String) {
    if text.is_empty() {
        "<unknown>".clone_into(text);
    }
}

fn registry_null(info: &mut Value, member: &str) {
    if let Some(registry) = info.get_mut("RegistryConfig").and_then(Value::as_object_mut) {
        registry.insert(member.to_owned(), Value::Null);
    }
}
