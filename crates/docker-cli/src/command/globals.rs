//! The options in front of the command: which daemon, which configuration, how much is said.

use std::path::PathBuf;
use std::sync::OnceLock;

use super::{Flag, Kind, Matches, NONE, flag};
use crate::failure::Failure;

/// Environment variables that Docker's client knows.
pub const HOST_VARIABLE: &str = "DOCKER_HOST";
pub const CONTEXT_VARIABLE: &str = "DOCKER_CONTEXT";

/// What was typed there.
#[derive(Debug, Default, Clone)]
pub struct Globals {
    /// `--config`, or where it is without.
    pub config: PathBuf,
    pub context: String,
    pub hosts: Vec<String>,
    pub debug: bool,
    /// Nothing when the connection is a plain one.
    pub tls: Option<TlsFiles>,
}

/// How a TLS connection is to be made; an empty path is left out.
#[derive(Debug, Default, Clone)]
pub struct TlsFiles {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
    pub verify: bool,
}

/// The flags, whose defaults are this user's own folders. Made once.
pub fn flags() -> &'static [Flag] {
    static FLAGS: OnceLock<Vec<Flag>> = OnceLock::new();
    FLAGS.get_or_init(|| {
        let folder = config_folder();
        let certificates = match env("DOCKER_CERT_PATH") {
            path if path.is_empty() => folder.clone(),
            path => PathBuf::from(path),
        };
        let leak = |path: PathBuf| -> &'static str { path.to_string_lossy().into_owned().leak() };
        let file = |name: &str| leak(certificates.join(name));
        let is_on = |name: &str| if env(name).is_empty() { "" } else { "true" };
        vec![
            flag("config", NONE, Kind::Text, leak(folder), "Location of client config files"),
            flag(
                "context",
                'c',
                Kind::Text,
                "",
                "Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var and default context set with \"docker context use\")",
            ),
            flag("debug", 'D', Kind::Bool, "", "Enable debug mode"),
            flag("host", 'H', Kind::List, "", "Daemon socket to connect to"),
            flag(
                "log-level",
                'l',
                Kind::Text,
                "info",
                "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\")",
            ),
            flag("tls", NONE, Kind::Bool, is_on("DOCKER_TLS"), "Use TLS; implied by --tlsverify"),
            flag("tlscacert", NONE, Kind::Text, file("ca.pem"), "Trust certs signed only by this CA"),
            flag("tlscert", NONE, Kind::Text, file("cert.pem"), "Path to TLS certificate file"),
            flag("tlskey", NONE, Kind::Text, file("key.pem"), "Path to TLS key file"),
            flag("tlsverify", NONE, Kind::Bool, is_on("DOCKER_TLS_VERIFY"), "Use TLS and verify the remote"),
            flag("version", 'v', Kind::Bool, "", "Print version information and quit"),
        ]
    })
}

/// From the matches of [`flags`].
pub fn read(top: &Matches) -> Result<Globals, Failure> {
    let level = top.text("log-level");
    if !matches!(level, "trace" | "debug" | "info" | "warn" | "warning" | "error" | "fatal" | "panic") {
        return Err(Failure::Text(format!("Unable to parse logging level: {level}")));
    }
    let context = top.text("context");
    if !context.is_empty() && top.given("host") {
        return Err(Failure::text("conflicting options: cannot specify both --host and --context"));
    }
    Ok(Globals {
        config: PathBuf::from(top.text("config")),
        context: context.to_owned(),
        hosts: top.list("host").to_vec(),
        debug: top.is_set("debug") || !env("DEBUG").is_empty(),
        tls: tls_files(top),
    })
}

/// `--tlsverify` in any form asks for TLS. A certificate or key that was not named is used where it exists.
fn tls_files(top: &Matches) -> Option<TlsFiles> {
    let verify = top.is_set("tlsverify");
    if !(verify || top.given("tlsverify") || top.is_set("tls")) {
        return None;
    }
    let path = |name: &str| PathBuf::from(top.text(name));
    let if_there = |name: &str| if top.given(name) || path(name).exists() { path(name) } else { PathBuf::new() };
    Some(TlsFiles { ca: path("tlscacert"), cert: if_there("tlscert"), key: if_there("tlskey"), verify })
}

/// `DOCKER_CONFIG`, or `.docker` at home.
fn config_folder() -> PathBuf {
    match env("DOCKER_CONFIG") {
        folder if folder.is_empty() => home().join(".docker"),
        folder => PathBuf::from(folder),
    }
}

/// The user's home; the root folder for who has none.
fn home() -> PathBuf {
    match env("HOME") {
        home if home.is_empty() => PathBuf::from("/"),
        home => PathBuf::from(home),
    }
}

/// A variable of the environment, empty when unset.
pub fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}
