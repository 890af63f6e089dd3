//! What a version of the API lacks or has beside the newest, in one place.
//!
//! Services speak the newest version only. A request of an older client is completed on its way in, an answer is
//! reduced on its way out; each step names the version that changed (docs/api/version-history of the Engine API).

use serde_json::{Value, json};

use crate::container::{Config, CreateRequest, Inspect, Summary};
use crate::event::Event;
use crate::host_config::HostConfig;
use crate::image::{self, ImageConfig};
use crate::system::{DiskUsage, Info};
use crate::version::ApiVersion;
use crate::{exec, network};

const V1_25: ApiVersion = ApiVersion::new(1, 25);
const V1_39: ApiVersion = ApiVersion::new(1, 39);
const V1_40: ApiVersion = ApiVersion::new(1, 40);
const V1_41: ApiVersion = ApiVersion::new(1, 41);
const V1_42: ApiVersion = ApiVersion::new(1, 42);
const V1_43: ApiVersion = ApiVersion::new(1, 43);
const V1_44: ApiVersion = ApiVersion::new(1, 44);
const V1_45: ApiVersion = ApiVersion::new(1, 45);
const V1_46: ApiVersion = ApiVersion::new(1, 46);
const V1_47: ApiVersion = ApiVersion::new(1, 47);
const V1_48: ApiVersion = ApiVersion::new(1, 48);
const V1_49: ApiVersion = ApiVersion::new(1, 49);
const V1_50: ApiVersion = ApiVersion::new(1, 50);
const V1_51: ApiVersion = ApiVersion::new(1, 51);

/// Go's zero time, which old answers carry where newer ones leave a member out.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// What a host needs to know to complete an old request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupHierarchy {
    V1,
    V2,
}

/// `POST /containers/create`, in place.
pub fn container_create(request: &mut CreateRequest, version: ApiVersion, cgroup: CgroupHierarchy) {
    let host = &mut request.host_config;
    host_config(host, version);
    if version < V1_25 {
        // Until 1.24 the client removed the container itself.
        host.auto_remove = false;
    }
    if version < V1_41 && cgroup == CgroupHierarchy::V1 && host.cgroupns_mode.is_empty() {
        "host".clone_into(&mut host.cgroupns_mode);
    }
    if version < V1_44
        && let Some(health) = &mut request.config.healthcheck
    {
        health.start_interval = 0;
    }
    mac_address(request, version);
    if version < V1_48 {
        for endpoint in request.networking_config.endpoints_config.values_mut() {
            endpoint.gw_priority = 0;
        }
    }
}

fn host_config(host: &mut HostConfig, version: ApiVersion) {
    if version >= V1_42 {
        host.kernel_memory = 0;
    }
    if version < V1_40 && host.pids_limit == Some(0) {
        host.pids_limit = None;
    }
    if version < V1_43 {
        host.annotations = None;
    }
    for mount in host.mounts.iter_mut().flatten() {
        if let Some(bind) = &mut mount.bind_options {
            if version < V1_40 {
                bind.non_recursive = false;
            }
            if version < V1_42 {
                bind.create_mountpoint = false;
            }
        }
        if version < V1_44 && mount.read_only && mount.kind == "bind" {
            // Read-only was not recursive before 1.44.
            mount.bind_options.get_or_insert_default().read_only_non_recursive = true;
        }
    }
}

/// The container-wide address moved to the endpoint of its first network in 1.44.
fn mac_address(request: &mut CreateRequest, version: ApiVersion) {
    let endpoints = &mut request.networking_config.endpoints_config;
    if version >= V1_44 {
        return;
    }
    let address = std::mem::take(&mut request.config.mac_address);
    if address.is_empty() {
        endpoints.values_mut().for_each(|endpoint| endpoint.mac_address.clear());
        return;
    }
    if endpoints.is_empty() {
        let network = match request.host_config.network_mode.as_str() {
            "" => "default",
            "host" | "none" => return,
            mode if mode.starts_with("container:") => return,
            mode => mode,
        };
        endpoints.insert(network.to_owned(), network::EndpointSettings::default());
    }
    if let Some(endpoint) = endpoints.values_mut().next() {
        endpoint.mac_address = address;
    }
}

/// `POST /containers/x/exec`, in place.
pub fn exec_create(request: &mut exec::CreateRequest, version: ApiVersion) {
    if version < V1_42 {
        request.console_size = None;
    }
    if version < V1_25 {
        // 1.25 brought environment variables, 1.35 the working directory.
        request.env = None;
    }
    if version < ApiVersion::new(1, 35) {
        request.working_dir.clear();
    }
}

/// `POST /networks/create`, in place.
pub fn network_create(request: &mut network::CreateRequest, version: ApiVersion) {
    if version < V1_48 {
        request.enable_ipv4 = None;
    }
    if version >= V1_44 {
        request.check_duplicate = None;
    }
}

/// `GET /containers/json`, in place.
pub fn container_list(list: &mut [Summary], version: ApiVersion) {
    for summary in list {
        if version < V1_46 {
            summary.host_config.annotations = None;
        }
        if version < V1_48 {
            summary.image_manifest_descriptor = None;
        }
    }
}

/// `GET /containers/x/json`, in place.
pub fn container_inspect(inspect: &mut Inspect, version: ApiVersion) {
    if version < V1_48 {
        inspect.image_manifest_descriptor = None;
    }
    if version < V1_45 {
        // Until 1.44 the short id and the host name stood among the aliases.
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
    if version < V1_44 {
        // The address of the default endpoint was the container's.
        let settings = &inspect.network_settings;
        let mode = inspect.host_config.network_mode.as_str();
        let endpoint = settings.networks.get(if mode == "default" { "bridge" } else { mode });
        inspect.config.mac_address = endpoint.map(|endpoint| endpoint.mac_address.clone()).unwrap_or_default();
    }
}

/// `GET /images/json`, in place.
pub fn image_list(list: &mut [image::Summary], version: ApiVersion) {
    for summary in list {
        if version < V1_43 && summary.repo_tags.is_empty() && summary.repo_digests.is_empty() {
            summary.repo_tags.push("<none>:<none>".to_owned());
            summary.repo_digests.push("<none>@<none>".to_owned());
        }
        if version < V1_44 {
            summary.virtual_size = summary.size;
        }
        if version < V1_48 {
            summary.descriptor = None;
        }
        if version < V1_51 {
            summary.containers = -1;
        }
    }
}

/// `GET /images/x/json` as it is written: until 1.49 the configuration had all members of a container's.
pub fn image_inspect(mut inspect: image::Inspect, version: ApiVersion) -> Value {
    if version < V1_44 {
        inspect.virtual_size = inspect.size;
        if inspect.created.is_empty() {
            ZERO_TIME.clone_into(&mut inspect.created);
        }
    }
    if version < V1_45 {
        inspect.container_config.get_or_insert_default();
    } else {
        inspect.container.clear();
        inspect.container_config = None;
    }
    if version < V1_48 {
        inspect.descriptor = None;
    }
    let config = inspect.config.clone().filter(|_| version < V1_50).map(whole_config);
    let mut answer = json!(inspect);
    if let Some(config) = config {
        answer["Config"] = json!(config);
    }
    answer
}

fn whole_config(config: ImageConfig) -> Config {
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

/// `GET /info` as it is written.
pub fn info(mut info: Info, version: ApiVersion) -> Value {
    if version < V1_25 {
        // `name=seccomp,profile=default` was `seccomp`.
        for option in &mut info.security_options {
            let name = option.split(',').find_map(|part| part.strip_prefix("name=")).map(str::to_owned);
            if let Some(name) = name {
                *option = name;
            }
        }
    }
    if version >= V1_42 {
        info.kernel_memory = false;
    }
    if version < V1_39 {
        for text in [&mut info.kernel_version, &mut info.operating_system] {
            if text.is_empty() {
                "<unknown>".clone_into(text);
            }
        }
    }
    if version < V1_44 {
        info.runtimes.values_mut().for_each(|runtime| runtime.status.clear());
    }
    if version < V1_46 {
        info.containerd = None;
    }
    if version < V1_49 {
        info.firewall_backend = None;
        for commit in [&mut info.containerd_commit, &mut info.runc_commit, &mut info.init_commit] {
            commit.expected = commit.id.clone();
        }
    }
    if version < V1_50 {
        info.discovered_devices.clear();
    }
    let mut answer = json!(info);
    if version < V1_47 && answer["RegistryConfig"].is_object() {
        answer["RegistryConfig"]["AllowNondistributableArtifactsCIDRs"] = Value::Null;
        answer["RegistryConfig"]["AllowNondistributableArtifactsHostnames"] = Value::Null;
    }
    if version < V1_50 {
        answer["BridgeNfIptables"] = Value::Bool(false);
        answer["BridgeNfIp6tables"] = Value::Bool(false);
    }
    answer
}

/// Since 1.42 a client can name the kinds that it wants to know of.
pub fn disk_usage_has_types(version: ApiVersion) -> bool {
    version >= V1_42
}

/// Since 1.42 a volume with a name stays unless the client says otherwise, and a swarm has volumes, too.
pub fn volumes_are_of_1_42(version: ApiVersion) -> bool {
    version >= V1_42
}

/// `GET /system/df`, as it is written.
pub fn disk_usage(mut usage: DiskUsage, version: ApiVersion) -> DiskUsage {
    for image in usage.images.iter_mut().flatten() {
        if version < V1_44 {
            image.virtual_size = image.size;
        }
        if version < V1_48 {
            image.descriptor = None;
        }
    }
    if let Some(containers) = &mut usage.containers {
        container_list(containers, version);
    }
    usage
}

/// Whether a client of this version is told of an event.
pub fn event_is_shown(event: &Event, version: ApiVersion) -> bool {
    // Creation of images (import, load) became an event of its own in 1.46.
    version >= V1_46 || event.kind != "image" || event.action != "create"
}

/// Content type of an attach, exec or log stream.
pub fn stream_type(tty: bool, version: ApiVersion) -> &'static str {
    if tty || version < V1_42 { crate::RAW_STREAM } else { crate::MULTIPLEXED_STREAM }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(minor: u16) -> ApiVersion {
        ApiVersion::new(1, minor)
    }

    fn create(json: &str, version: ApiVersion) -> CreateRequest {
        let document = crate::go_json::Document::parse(json.as_bytes()).unwrap();
        let mut request = CreateRequest::read(&document).unwrap().unwrap();
        container_create(&mut request, version, CgroupHierarchy::V1);
        request
    }

    #[test]
    fn an_old_request_is_completed_and_a_new_one_left_alone() {
        let body = r#"{"Image":"a","MacAddress":"02:42:ac:11:00:02","HostConfig":{"AutoRemove":true,"Mounts":[{"Type":"bind","ReadOnly":true}]}}"#;
        let old = create(body, v(24));
        assert!(!old.host_config.auto_remove);
        assert_eq!(old.host_config.cgroupns_mode, "host");
        assert_eq!(old.networking_config.endpoints_config["default"].mac_address, "02:42:ac:11:00:02");
        assert!(old.host_config.mounts.unwrap()[0].bind_options.as_ref().unwrap().read_only_non_recursive);
        let new = create(body, ApiVersion::MAX);
        assert!(new.host_config.auto_remove);
        assert_eq!(new.config.mac_address, "02:42:ac:11:00:02");
        assert_eq!(new.host_config.mounts.unwrap()[0].bind_options, None);
    }

    #[test]
    fn an_image_has_a_whole_configuration_until_1_49() {
        let inspect = image::Inspect { config: Some(ImageConfig::default()), size: 7, ..image::Inspect::default() };
        assert_eq!(image_inspect(inspect.clone(), v(50))["Config"], json!({}));
        let old = image_inspect(inspect, v(43));
        assert_eq!(old["Config"]["Tty"], json!(false));
        assert_eq!(old["Config"]["Cmd"], Value::Null);
        assert_eq!(old["VirtualSize"], 7);
        assert_eq!(old["Created"], ZERO_TIME);
    }

    #[test]
    fn an_untagged_image_has_a_placeholder_until_1_42() {
        let mut list = vec![image::Summary::default()];
        image_list(&mut list, v(43));
        assert!(list[0].repo_tags.is_empty());
        image_list(&mut list, v(42));
        assert_eq!(list[0].repo_tags, ["<none>:<none>"]);
    }

    #[test]
    fn security_options_were_names_before_1_25() {
        let mut wanted = Info { security_options: vec!["name=seccomp,profile=builtin".into()], ..Info::default() };
        wanted.containerd_commit.id = "abc".into();
        let old = info(wanted.clone(), v(24));
        assert_eq!(old["SecurityOptions"], json!(["seccomp"]));
        assert_eq!(old["ContainerdCommit"]["Expected"], "abc");
        assert_eq!(info(wanted, ApiVersion::MAX)["ContainerdCommit"], json!({"ID": "abc"}));
    }

    #[test]
    fn frames_are_named_since_1_42() {
        assert_eq!(stream_type(false, v(42)), crate::MULTIPLEXED_STREAM);
        assert_eq!(stream_type(false, v(41)), crate::RAW_STREAM);
        assert_eq!(stream_type(true, v(51)), crate::RAW_STREAM);
    }
}
