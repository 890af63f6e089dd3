//! What a configuration must not say, in Docker's words; and what this engine has not got.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::config::Config;
use super::file::in_go;
use super::hosts::Host;
use super::table::{OPTIONS, Support};

const CORS: &str = "DEPRECATED: The \"api-cors-header\" config parameter and the dockerd \"--api-cors-header\" option have \
                    been removed; use a reverse proxy if you need CORS headers";

/// Validates the whole and fills in what follows from it.
pub fn finish(mut config: Config) -> Result<Config, String> {
    config.listen_on = listen_on(&config)?;
    levels(&config)?;
    numbers(&config)?;
    modes(&config)?;
    for search in &config.dns_search {
        if search != "." && !is_domain(search) {
            return Err(format!("{search} is not a valid domain"));
        }
    }
    if config.host_gateway_ips.len() > 2 || config.host_gateway_ips.iter().filter(|ip| ip.is_ipv4()).count() > 1 {
        return Err("only one IPv4 and one IPv6 host gateway IP address can be specified".to_owned());
    }
    if config.api_cors_header.as_deref().is_some_and(|header| !header.is_empty()) {
        return Err(CORS.to_owned());
    }
    if config.restart == Some(false) {
        return Err(
            "option restart (false) is not supported by this engine: use a restart policy on docker run".to_owned()
        );
    }
    config.labels = labels(&config.labels)?;
    for mirror in &mut config.registry_mirrors {
        // `quay.io=https://mirror.lan` is one of another registry than Docker Hub.
        *mirror = match mirror.split_once('=') {
            Some((registry, url)) if !registry.contains('/') => {
                format!("{registry}={}", self::mirror(url)?)
            }
            _ => self::mirror(mirror)?,
        };
    }
    for option in &config.exec_opts {
        exec_option(option)?;
    }
    runtimes(&config)?;
    Ok(config)
}

fn listen_on(config: &Config) -> Result<Vec<Host>, String> {
    let default = [String::new()];
    let named = if config.hosts.is_empty() { default.as_slice() } else { &config.hosts };
    let mut hosts = named.iter().map(|text| Host::parse(text, config.tls())).collect::<Result<Vec<_>, _>>()?;
    hosts.sort();
    hosts.dedup();
    Ok(hosts)
}

fn levels(config: &Config) -> Result<(), String> {
    const LEVELS: [&str; 7] = ["panic", "fatal", "error", "warn", "info", "debug", "trace"];
    let level = config.log_level.as_deref().unwrap_or_default();
    if !level.is_empty() && !LEVELS.contains(&level.to_lowercase().as_str()) {
        return Err(format!("invalid logging level: {level}"));
    }
    match config.log_format.as_deref() {
        None | Some("" | "text" | "json") => Ok(()),
        Some(format) => Err(format!("invalid log format: {format}")),
    }
}

fn numbers(config: &Config) -> Result<(), String> {
    let least = |name: &str, value: Option<i64>| match value {
        Some(value) if value < 0 => Err(format!("invalid {name}: {value}")),
        _ => Ok(()),
    };
    least("default MTU", config.mtu)?;
    least("image store limit", config.image_store_limit)?;
    least("max concurrent downloads", config.max_concurrent_downloads)?;
    least("max concurrent uploads", config.max_concurrent_uploads)?;
    least("max download attempts", config.max_download_attempts)?;
    match config.network_diagnostic_port {
        Some(port) if !(0..=65535).contains(&port) => {
            Err(format!("invalid network-diagnostic-port ({port}): value must be between 0 and 65535"))
        }
        _ => Ok(()),
    }
}

fn modes(config: &Config) -> Result<(), String> {
    const IPC: &str = "use \"shareable\" or \"private\"";
    match config.default_ipc_mode.as_deref() {
        None | Some("" | "private" | "shareable") => {}
        Some(mode @ ("host" | "none")) => {
            return Err(format!("IPC mode \"{mode}\" is not supported as default value; {IPC}"));
        }
        Some(mode) if mode.starts_with("container:") => {
            return Err(format!("IPC mode \"{mode}\" is not supported as default value; {IPC}"));
        }
        Some(mode) => return Err(format!("default IPC mode setting ({mode}) is invalid; {IPC}")),
    }
    match config.default_cgroupns_mode.as_deref() {
        None | Some("" | "private" | "host") => Ok(()),
        Some(mode) => Err(format!("invalid default cgroup namespace ({mode}): use \"host\" or \"private\"")),
    }
}

/// Each key once; a key with two values is an error.
fn labels(labels: &[String]) -> Result<Vec<String>, String> {
    let mut found: BTreeMap<&str, &str> = BTreeMap::new();
    for label in labels {
        let Some((key, value)) = label.split_once('=').filter(|(key, _)| !key.trim().is_empty()) else {
            return Err(format!("invalid label '{label}': must be in key=value format"));
        };
        match found.insert(key, value) {
            Some(other) if other != value => {
                return Err(format!("conflict labels for {key}={value} and {key}={other}"));
            }
            _ => {}
        }
    }
    Ok(found.into_iter().map(|(key, value)| format!("{key}={value}")).collect())
}

/// A URL of HTTP, with a slash at its end.
fn mirror(text: &str) -> Result<String, String> {
    const SCHEMES: &str = "must use either 'https://' or 'http://'";
    let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| !scheme.is_empty()) else {
        return Err(format!("invalid mirror: no scheme specified for {text:?}: {SCHEMES}"));
    };
    if !matches!(scheme, "http" | "https") {
        return Err(format!("invalid mirror: unsupported scheme {scheme:?} in {text:?}: {SCHEMES}"));
    }
    if rest.contains(['?', '#']) {
        return Err(format!("invalid mirror: query or fragment at end of the URI {text:?}"));
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if let Some((user, host)) = authority.rsplit_once('@') {
        let user = user.split(':').next().unwrap_or_default();
        let shown = format!("{scheme}://{user}:xxxxx@{host}{path}");
        return Err(format!("invalid mirror: username/password not allowed in URI {shown:?}"));
    }
    if authority.is_empty() || authority.contains(char::is_whitespace) {
        return Err(format!("invalid mirror: {text:?} is not a valid URI"));
    }
    if !matches!(path, "" | "/") {
        return Err(format!(
            "option registry-mirror ({text}) is not supported by this engine: only one without a path is"
        ));
    }
    Ok(format!("{scheme}://{authority}/"))
}

fn exec_option(option: &str) -> Result<(), String> {
    let parts = option.split_once('=').map(|(key, value)| (key.trim().to_lowercase(), value.trim()));
    match parts.as_ref().map(|(key, value)| (key.as_str(), *value)) {
        Some(("", _) | (_, "")) | None => Err(format!("invalid exec-opt ({option}): must be formatted 'opt=value'")),
        Some(("native.cgroupdriver", "cgroupfs")) => Ok(()),
        Some(("native.cgroupdriver", "systemd")) => {
            Err("native.cgroupdriver=systemd is not supported by this engine: its cgroups are made by cgroupfs"
                .to_owned())
        }
        Some(("native.cgroupdriver", other)) => {
            Err(format!("native.cgroupdriver option {other} not supported, try \"cgroupfs\" or \"systemd\""))
        }
        Some(("isolation", _)) => {
            Err(format!("invalid exec-opt ({option}): option 'isolation' is only supported on windows"))
        }
        Some((key, _)) => Err(format!("invalid exec-opt ({option}): unknown option: '{key}'")),
    }
}

fn runtimes(config: &Config) -> Result<(), String> {
    if config.runtimes.contains_key("runc") {
        return Err("runtime name 'runc' is reserved".to_owned());
    }
    for (name, runtime) in &config.runtimes {
        if runtime.path.is_empty() && runtime.kind.is_empty() {
            return Err(format!("runtime {name}: either a runtimeType or a path must be configured"));
        }
        if !runtime.path.is_empty() && !runtime.kind.is_empty() {
            return Err(format!("runtime {name}: cannot configure both path and runtimeType for the same runtime"));
        }
    }
    match config.default_runtime.as_deref() {
        None | Some("" | "runc" | "io.containerd.runc.v2") => Ok(()),
        Some(name) if config.runtimes.contains_key(name) => Ok(()),
        Some(name) => Err(format!("specified default runtime '{name}' does not exist")),
    }
}

/// Labels of letters, digits, hyphens and underscores; no address.
fn is_domain(name: &str) -> bool {
    let name = name.trim().trim_end_matches('.');
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 255 && name.split('.').all(label) && name.parse::<std::net::IpAddr>().is_err()
}

/// Refuses what is set to something that this engine does not do.
pub fn unsupported(settings: &Map<String, Value>) -> Result<(), String> {
    for option in OPTIONS {
        let (Support::Only(values), Some(value)) = (option.support, settings.get(option.key)) else { continue };
        let text = in_go(value);
        if !values.contains(&text.as_str()) {
            let only = values.iter().find(|value| !matches!(**value, "" | "[]" | "map[]"));
            let hint = only.map_or_else(|| "leave it unset".to_owned(), |value| format!("only {value} is"));
            return Err(format!("option {} ({text}) is not supported by this engine: {hint}", option.flag));
        }
    }
    Ok(())
}
