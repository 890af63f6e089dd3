//! `docker info`.

use std::fmt::Write as _;

use engine_api::StringMap;
use engine_api::system::Info;
use engine_client::Request;
use serde_json::{Value as Json, json};

use crate::command::{Args, Command, Flag, Kind, Matches, flag};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::format::object::ObjectFormat;
use crate::inspect::OBJECT_FORMAT_USAGE;
use crate::messages;
use crate::text::size::binary_size;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("format", 'f', Kind::Text, "", OBJECT_FORMAT_USAGE),
];

pub const COMMAND: Command = Command {
    name: "info",
    usage: "[OPTIONS]",
    about: "Display system-wide information",
    aliases: "docker system info, docker info",
    flags: &[FLAGS],
    args: Args::None,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let asked = flags.text("format");
    let format = if asked.is_empty() { None } else { Some(ObjectFormat::new(asked)?) };
    let answer = context.client.call::<Json>(Request::get("/info")).await;
    if let Some(format) = format {
        let (mut object, error) = match answer {
            Ok(object) => (object, None),
            // What the template asks of the daemon has its zero value then.
            Err(error) => (json!(Info::default()), Some(error)),
        };
        object["ClientInfo"] = client_object(context);
        context::print(&format.render(&object)?)?;
        return match error {
            Some(error) => Err(error.into()),
            None => Ok(0),
        };
    }
    context::print(&format!(
        "Client:\n Version:    {}\n Context:    default\n Debug Mode: {}\n\nServer:\n",
        messages::VERSION,
        context.debug
    ))?;
    let info: Info = serde_json::from_value(answer?).map_err(|error| Failure::Text(error.to_string()))?;
    context::print(&page(&info))?;
    for warning in info.warnings.iter().flatten() {
        context::say(warning);
    }
    Ok(0)
}

fn client_object(context: &Context) -> Json {
    json!({
        "Debug": context.debug,
        "Version": messages::VERSION,
        "GitCommit": messages::COMMIT,
        "GoVersion": messages::LANGUAGE,
        "Os": std::env::consts::OS,
        "Arch": super::version::architecture(),
        "BuildTime": messages::BUILT,
        "Context": "default",
        "Plugins": [],
        "Warnings": null,
    })
}

/// Lines of the server's part.
struct Page(String);

impl Page {
    fn line(&mut self, depth: usize, name: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{:depth$}{name}: {value}", "");
    }

    /// Left out when there is nothing to say.
    fn some(&mut self, depth: usize, name: &str, value: &str) {
        if !value.is_empty() {
            self.line(depth, name, value);
        }
    }

    fn title(&mut self, depth: usize, name: &str) {
        let _ = writeln!(self.0, "{:depth$}{name}:", "");
    }

    fn item(&mut self, depth: usize, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{:depth$}{value}", "");
    }
}

fn page(info: &Info) -> String {
    let mut page = Page(String::new());
    counts(&mut page, info);
    drivers(&mut page, info);
    swarm_and_runtimes(&mut page, info);
    host(&mut page, info);
    configuration(&mut page, info);
    page.0.push('\n');
    page.0
}

fn counts(page: &mut Page, info: &Info) {
    page.line(1, "Containers", info.containers);
    page.line(2, "Running", info.containers_running);
    page.line(2, "Paused", info.containers_paused);
    page.line(2, "Stopped", info.containers_stopped);
    page.line(1, "Images", info.images);
    page.some(1, "Server Version", &info.server_version);
}

fn drivers(page: &mut Page, info: &Info) {
    page.some(1, "Storage Driver", &info.driver);
    for [name, value] in &info.driver_status {
        page.line(2, name, value);
    }
    page.some(1, "Logging Driver", &info.logging_driver);
    page.some(1, "Cgroup Driver", &info.cgroup_driver);
    page.some(1, "Cgroup Version", &info.cgroup_version);
    page.title(1, "Plugins");
    let plugins = &info.plugins;
    page.line(2, "Volume", plugins.volume.join(" "));
    page.line(2, "Network", plugins.network.join(" "));
    if let Some(authorization) = plugins.authorization.as_ref().filter(|list| !list.is_empty()) {
        page.line(2, "Authorization", authorization.join(" "));
    }
    page.line(2, "Log", plugins.log.join(" "));
    if !info.cdi_spec_dirs.is_empty() {
        page.title(1, "CDI spec directories");
        info.cdi_spec_dirs.iter().for_each(|folder| page.item(2, folder));
    }
    if !info.discovered_devices.is_empty() {
        page.title(1, "Discovered Devices");
        info.discovered_devices.iter().for_each(|device| page.line(2, &device.source, &device.id));
    }
}

fn swarm_and_runtimes(page: &mut Page, info: &Info) {
    page.line(1, "Swarm", &info.swarm.local_node_state);
    if !matches!(info.swarm.local_node_state.as_str(), "inactive" | "locked" | "") {
        page.line(2, "NodeID", &info.swarm.node_id);
        page.some(2, "Error", &info.swarm.error);
        page.line(2, "Is Manager", info.swarm.control_available);
        page.line(2, "Node Address", &info.swarm.node_addr);
    }
    if !info.runtimes.is_empty() {
        let names: Vec<&str> = info.runtimes.keys().map(String::as_str).collect();
        page.line(1, "Runtimes", names.join(" "));
        page.line(1, "Default Runtime", &info.default_runtime);
    }
    if info.os_type != "linux" {
        return;
    }
    page.line(1, "Init Binary", &info.init_binary);
    for (name, commit) in [
        ("containerd version", &info.containerd_commit),
        ("runc version", &info.runc_commit),
        ("init version", &info.init_commit),
    ] {
        page.line(1, name, &commit.id);
    }
    if !info.security_options.is_empty() {
        page.title(1, "Security Options");
        info.security_options.iter().for_each(|option| security_option(page, option));
    }
}

/// `name=seccomp,profile=builtin`; before API 1.25 a bare name.
fn security_option(page: &mut Page, option: &str) {
    let fields: StringMap = option
        .split(',')
        .filter_map(|field| field.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    let Some(name) = fields.get("name") else {
        page.item(2, option);
        return;
    };
    page.item(2, name);
    for (key, value) in fields.iter().filter(|(key, _)| *key != "name") {
        if key == "profile" {
            page.line(3, "Profile", value);
        } else {
            page.line(3, key, value);
        }
    }
}

fn host(page: &mut Page, info: &Info) {
    page.some(1, "Kernel Version", &info.kernel_version);
    page.some(1, "Operating System", &info.operating_system);
    page.some(1, "OSType", &info.os_type);
    page.some(1, "Architecture", &info.architecture);
    page.line(1, "CPUs", info.cpus);
    page.line(1, "Total Memory", binary_size(info.memory_total));
    page.some(1, "Name", &info.name);
    page.some(1, "ID", &info.id);
    page.some(1, "Docker Root Dir", &info.docker_root_dir);
    page.line(1, "Debug Mode", info.debug);
    if info.debug {
        page.line(2, "File Descriptors", info.open_files);
        page.line(2, "Goroutines", info.goroutines);
        page.line(2, "System Time", &info.system_time);
        page.line(2, "EventsListeners", info.events_listeners);
    }
    page.some(1, "HTTP Proxy", &info.http_proxy);
    page.some(1, "HTTPS Proxy", &info.https_proxy);
    page.some(1, "No Proxy", &info.no_proxy);
}

fn configuration(page: &mut Page, info: &Info) {
    if !info.labels.is_empty() {
        page.title(1, "Labels");
        info.labels.iter().for_each(|label| page.item(2, label));
    }
    page.line(1, "Experimental", info.experimental_build);
    if let Some(registry) = &info.registry_config {
        let insecure = registry.index_configs.values().filter(|index| !index.secure).map(|index| &index.name);
        let all: Vec<&String> = insecure.chain(&registry.insecure_registry_cidrs).collect();
        if !all.is_empty() {
            page.title(1, "Insecure Registries");
            all.iter().for_each(|name| page.item(2, name));
        }
        if let Some(mirrors) = registry.mirrors.as_ref().filter(|mirrors| !mirrors.is_empty()) {
            page.title(1, "Registry Mirrors");
            mirrors.iter().for_each(|mirror| page.item(2, mirror));
        }
    }
    page.line(1, "Live Restore Enabled", info.live_restore_enabled);
    page.some(1, "Product License", &info.product_license);
    if !info.default_address_pools.is_empty() {
        page.title(1, "Default Address Pools");
        info.default_address_pools
            .iter()
            .for_each(|pool| page.item(3, format!("Base: {}, Size: {}", pool.base, pool.size)));
    }
    if let Some(firewall) = &info.firewall_backend {
        page.line(1, "Firewall Backend", &firewall.driver);
        firewall.info.iter().for_each(|[name, value]| page.line(2, name, value));
    }
}
