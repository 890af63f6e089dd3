//! What every command has at hand: the daemon, the configuration, the terminal's three streams.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use engine_api::ApiVersion;
use engine_client::{Client, Host, VersionChoice};

use crate::config::Config;
use crate::failure::Failure;
use crate::messages;

/// Made once, before the command runs. Nothing is connected yet.
#[derive(Debug)]
pub struct Context {
    pub client: Arc<Client>,
    pub config: Config,
    pub debug: bool,
}

/// The options in front of the command.
#[derive(Debug, Default, Clone)]
pub struct Globals {
    pub config: String,
    pub host: String,
    pub debug: bool,
}

impl Context {
    /// From the options and the environment (`DOCKER_HOST`, `DOCKER_CONFIG`, `DOCKER_API_VERSION`).
    pub fn new(globals: &Globals) -> Result<Self, Failure> {
        let folder = if globals.config.is_empty() { config_folder() } else { PathBuf::from(&globals.config) };
        let named = if globals.host.is_empty() { env("DOCKER_HOST") } else { globals.host.clone() };
        let host = Host::parse(&named).map_err(|error| {
            Failure::text(format!("Failed to initialize: unable to resolve docker endpoint: {error}"))
        })?;
        let pinned = env("DOCKER_API_VERSION");
        let choice = if pinned.is_empty() {
            VersionChoice::Negotiate
        } else {
            VersionChoice::Pinned(ApiVersion::parse(&pinned).map_err(|error| Failure::text(error.to_string()))?)
        };
        let user_agent = format!("Docker-Client/{} (linux)", messages::VERSION);
        Ok(Self {
            client: Arc::new(Client::new(host, choice, user_agent)),
            config: Config::load(folder),
            debug: globals.debug || !env("DEBUG").is_empty(),
        })
    }

    /// The keys that leave a container: the flag, the configuration, or Docker's own.
    pub fn detach_keys<'a>(&'a self, flag: &'a str) -> &'a str {
        [flag, self.config.detach_keys.as_str()].into_iter().find(|keys| !keys.is_empty()).unwrap_or_default()
    }
}

/// `DOCKER_CONFIG`, or `.docker` at home.
pub fn config_folder() -> PathBuf {
    match env("DOCKER_CONFIG") {
        folder if folder.is_empty() => PathBuf::from(env("HOME")).join(".docker"),
        folder => PathBuf::from(folder),
    }
}

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// Writes data. A reader that went away ends the program quietly, as SIGPIPE would.
pub fn print(text: &str) -> Result<(), Failure> {
    write_all(text.as_bytes())
}

/// The same with a line end.
pub fn print_line(text: &str) -> Result<(), Failure> {
    write_all(format!("{text}\n").as_bytes())
}

/// Bytes to standard output.
pub fn write_all(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::silent(141)),
        other => Ok(other?),
    }
}

/// A line for a person.
pub fn say(text: &str) {
    // Nothing is left to do when standard error is gone.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
