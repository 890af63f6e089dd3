//! What every command has at hand: the daemon, the configuration, the terminal's three streams.

use std::io::{self, Write};
use std::sync::Arc;

use engine_api::ApiVersion;
use engine_client::{Client, Host, VersionChoice};

use crate::command::Command;
use crate::command::globals::{Globals, env};
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

impl Context {
    /// From the options and the environment (`DOCKER_HOST`, `DOCKER_CONFIG`, `DOCKER_API_VERSION`).
    pub fn new(globals: &Globals, _command: &Command) -> Result<Self, Failure> {
        if !matches!(globals.context.as_str(), "" | "default") || globals.tls.is_some() || globals.hosts.len() > 1 {
            return Err(Failure::text("contexts, TLS and several hosts are not known here"));
        }
        let named = globals.hosts.first().cloned().unwrap_or_else(|| env("DOCKER_HOST"));
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
            config: Config::load(globals.config.clone()),
            debug: globals.debug,
        })
    }

    /// The keys that leave a container: the flag, the configuration, or Docker's own.
    pub fn detach_keys<'a>(&'a self, flag: &'a str) -> &'a str {
        [flag, self.config.detach_keys.as_str()].into_iter().find(|keys| !keys.is_empty()).unwrap_or_default()
    }
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
