//! `docker info`.

use std::fmt::Write as _;

use engine_api::system::Info;
use engine_client::{Error, Request};
use serde_json::{Value as Json, json};

use crate::command::{Args, Command, Flag, Kind, Matches, flag};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::format::object::ObjectFormat;
use crate::inspect::OBJECT_FORMAT_USAGE;
use crate::messages;
use crate::plugin::{self, Plugin};
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
    if !asked.is_empty() {
        return formatted(context, asked).await;
    }
    let answer = context.client.call::<Json>(Request::get("/info")).await;
    let mut page = Page(String::new());
    let mut warnings = client(&mut page, context);
    context::print(&page.0)?;
    warnings.drain(..).for_each(|warning| context::say(&warning));
    context::print("\nServer:\n")?;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error @ (Error::Connect { .. } | Error::Permission { .. })) => return Err(error.into()),
        Err(error) => {
            context::say(&format!("ERROR: {error}"));
            return Err(Failure::text("errors pretty printing info"));
        }
    };
    let info: Info = serde_json::from_value(answer).map_err(|error| Failure::Text(error.to_string()))?;
    let user = context.config.auth_for("hello-world").username;
    context::print(&server(&info, context.debug, &user))?;
    info.warnings.iter().flatten().for_each(|warning| context::say(warning));
    Ok(0)
}

/// By a template. What it asks of the daemon has its zero value when that cannot be asked.
async fn formatted(context: &Context, asked: &str) -> Result<u8, Failure> {
    let client = client_object(context);
    let own = ObjectFormat::new(asked);
    if let Ok(format) = &own
        && asked != "json"
        && has_field(asked)
        && let Ok(text) = format.render(&json!({ "ClientInfo": client, "ClientErrors": [] }))
    {
        // Nothing of the daemon's is wanted.
        context::print(&text)?;
        return Ok(0);
    }
    let answer = context.client.call::<Json>(Request::get("/info")).await;
    let (mut object, error) = match answer {
        Ok(object) => (object, None),
        Err(error) => (json!(Info::default()), Some(error)),
    };
    object["ClientInfo"] = client;
    match own?.render(&object) {
        Ok(text) => context::print(&text)?,
        Err(failure) => {
            context::print("\n")?;
            return Err(in_words_of_info(&failure));
        }
    }
    match error {
        Some(error) => Err(error.into()),
        None => Ok(0),
    }
}

/// Whether a template has a dot with a name behind it.
fn has_field(template: &str) -> bool {
    template.as_bytes().windows(2).any(|pair| pair[0] == b'.' && pair[1].is_ascii_alphabetic())
}

/// Docker fills a structure of its own here, and names it.
fn in_words_of_info(failure: &Failure) -> Failure {
    let text = failure.to_string();
    let text = text.strip_prefix("template parsing error: ").unwrap_or(&text);
    Failure::Text(match text.split_once("map has no entry for key ") {
        Some((before, field)) => {
            format!("{before}can't evaluate field {} in type system.dockerInfo", field.trim_matches('"'))
        }
        None => text.to_owned(),
    })
}

/// The client's own part; answers what is wrong with its plugins.
fn client(page: &mut Page, context: &Context) -> Vec<String> {
    page.item(0, "Client:");
    page.item(1, format!("Version:    {}", messages::VERSION));
    page.item(1, format!("Context:    {}", context.current_context));
    page.item(1, format!("Debug Mode: {}", context.debug));
    let plugins = plugin::list(&plugin::folders(&context.globals));
    if !plugins.is_empty() {
        page.title(1, "Plugins");
    }
    let mut warnings = Vec::new();
    for plugin in &plugins {
        if let Some(error) = &plugin.error {
            warnings.push(format!("WARNING: Plugin {:?} is not valid: {error}", plugin.path.display().to_string()));
            continue;
        }
        page.item(2, format!("{}: {} ({})", plugin.name, plugin.short_description, plugin.vendor));
        if !plugin.version.is_empty() {
            page.item(4, format!("Version:  {}", plugin.version));
        }
        page.item(4, format!("Path:     {}", plugin.path.display()));
    }
    warnings
}

fn client_object(context: &Context) -> Json {
    let plugins: Vec<Json> = plugin::list(&plugin::folders(&context.globals)).iter().map(plugin_object).collect();
    json!({
        "Debug": context.debug,
        "Version": messages::VERSION,
        "DefaultAPIVersion": engine_api::ApiVersion::MAX.to_string(),
        "GitCommit": messages::COMMIT,
        "GoVersion": messages::LANGUAGE,
        "Os": std::env::consts::OS,
        "Arch": super::version::architecture(),
        "BuildTime": messages::BUILT,
        "Context": context.current_context,
        "Plugins": plugins,
        "Warnings": null,
    })
}

fn plugin_object(plugin: &Plugin) -> Json {
    let mut object = json!({
        "SchemaVersion": plugin.schema_version,
        "Vendor": plugin.vendor,
        "Version": plugin.version,
        "ShortDescription": plugin.short_description,
        "URL": plugin.url,
        "Name": plugin.name,
        "Path": plugin.path,
        "ShadowedPaths": plugin.shadowed_paths,
        "Err": plugin.error,
    });
    if let Some(members) = object.as_object_mut() {
        let keeps = |name: &str| matches!(name, "Name" | "Path");
        members.retain(|name, value| keeps(name) || !(value.is_null() || *value == json!("") || *value == json!([])));
    }
    object
}

/// Lines of the server's part.
pub struct Page(String);

impl Page {
    pub fn line(&mut self, depth: usize, name: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{:depth$}{name}: {value}", "");
    }

    /// Left out when there is nothing to say.
    pub fn some(&mut self, depth: usize, name: &str, value: &str) {
        if !value.is_empty() {
            self.line(depth, name, value);
        }
    }

    pub fn title(&mut self, depth: usize, name: &str) {
        let _ = writeln!(self.0, "{:depth$}{name}:", "");
    }

    pub fn item(&mut self, depth: usize, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{:depth$}{value}", "");
    }
}

fn server(info: &Info, debug: bool, user: &str) -> String {
    let mut page = Page(String::new());
    counts(&mut page, info);
    drivers(&mut page, info);
    super::swarm::describe(&mut page, &info.swarm);
    runtimes(&mut page, info);
    host(&mut page, info, debug);
    page.some(1, "Username", user);
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

fn runtimes(page: &mut Page, info: &Info) {
    if !info.runtimes.is_empty() {
        let names: Vec<&str> = info.runtimes.keys().map(String::as_str).collect();
        page.line(1, "Runtimes", names.join(" "));
        page.line(1, "Default Runtime", &info.default_runtime);
    }
    if info.os_type == "windows" {
        page.line(1, "Default Isolation", &info.isolation);
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
    let fields = option.split(',').filter_map(|field| field.split_once('='));
    match fields.clone().find(|(key, _)| *key == "name") {
        Some((_, name)) => page.item(2, name),
        None => page.item(2, option),
    }
    fields.filter(|(key, _)| *key == "profile").for_each(|(_, profile)| page.line(3, "Profile", profile));
}

fn host(page: &mut Page, info: &Info, debug: bool) {
    page.some(1, "Kernel Version", &info.kernel_version);
    page.some(1, "Operating System", &info.operating_system);
    page.some(1, "OSType", &info.os_type);
    page.some(1, "Architecture", &info.architecture);
    page.line(1, "CPUs", info.cpus);
    page.line(1, "Total Memory", binary_size(info.memory_total));
    page.some(1, "Name", &info.name);
    page.some(1, "ID", &info.id);
    page.line(1, "Docker Root Dir", &info.docker_root_dir);
    page.line(1, "Debug Mode", info.debug);
    if info.debug || debug {
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
        if !registry.index_configs.is_empty() || !registry.insecure_registry_cidrs.is_empty() {
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
