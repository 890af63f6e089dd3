//! What every command has at hand: the daemon, the configuration, the terminal's three streams.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use engine_api::ApiVersion;
use engine_client::{Client, Endpoint, VersionChoice, headers};

use crate::command::Command;
use crate::command::globals::{Globals, env};
use crate::command::help::Daemon;
use crate::config::Config;
use crate::contexts::endpoint;
use crate::contexts::store::{Files, Store};
use crate::failure::Failure;
use crate::messages;

/// How long a page waits for the daemon.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// Headers for every request, as `name=value,name=value`.
const HEADERS_VARIABLE: &str = "DOCKER_CUSTOM_HEADERS";

/// Made once, before the command runs. Nothing is connected yet.
#[derive(Debug)]
pub struct Context {
    pub client: Arc<Client>,
    pub config: Config,
    pub debug: bool,
    pub globals: Globals,
    pub contexts: Store,
    /// The name of the context in use; whether there is one of that name shows when it is used.
    pub current_context: String,
}

impl Context {
    /// From the options, the environment and the configuration. A command that needs no daemon gets by without one.
    pub fn new(globals: &Globals, command: &Command) -> Result<Self, Failure> {
        let config = Config::load(globals.config.clone());
        let contexts = Store::new(&globals.config);
        let current_context = endpoint::current(globals, &config);
        let client = if command.local {
            Client::new(Endpoint::default(), VersionChoice::Negotiate, "")
        } else {
            let failed = |failure| Failure::text(format!("Failed to initialize: {failure}"));
            connect(globals, &config, &contexts, &current_context).map_err(failed)?
        };
        Ok(Self {
            client: Arc::new(client),
            config,
            debug: globals.debug,
            globals: globals.clone(),
            contexts,
            current_context,
        })
    }

    /// Host, trust and files of the context that flags and environment make.
    pub fn default_endpoint(&self) -> Result<(String, bool, Files), Failure> {
        endpoint::default_parts(&self.globals)
    }

    /// The keys that leave a container: the flag, the configuration, or Docker's own.
    pub fn detach_keys<'a>(&'a self, flag: &'a str) -> &'a str {
        [flag, self.config.detach_keys.as_str()].into_iter().find(|keys| !keys.is_empty()).unwrap_or_default()
    }
}

/// What the daemon says of itself, if it does so soon.
pub fn look_at(globals: &Globals) -> Option<Daemon> {
    let context = Context::new(globals, &Command::EMPTY).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let ping = runtime
        .block_on(async { tokio::time::timeout(LOOK_TIMEOUT, context.client.ping()).await.ok()?.ok().cloned() })?;
    Some(Daemon {
        os: ping.os_type,
        experimental: Some(ping.experimental),
        manager: ping.swarm.map(|swarm| swarm.ends_with("/manager")),
    })
}

fn connect(globals: &Globals, config: &Config, contexts: &Store, current: &str) -> Result<Client, Failure> {
    let endpoint = endpoint::resolve(globals, contexts, current)?;
    let pinned = env("DOCKER_API_VERSION");
    let choice = if pinned.is_empty() {
        VersionChoice::Negotiate
    } else {
        VersionChoice::Pinned(ApiVersion::parse(&pinned).map_err(|error| Failure::text(error.to_string()))?)
    };
    let mut pairs: Vec<(String, String)> = config.headers.clone().into_iter().collect();
    pairs.extend(custom_headers(&env(HEADERS_VARIABLE))?);
    let user_agent = format!("Docker-Client/{} (linux)", messages::VERSION);
    Ok(Client::new(endpoint, choice, user_agent).with_headers(headers(&pairs)?))
}

/// `a=b,c=d`; a field with a comma in it stands in quotes.
fn custom_headers(text: &str) -> Result<Vec<(String, String)>, Failure> {
    let wrong = |reason: String| {
        Failure::text(format!("failed to set custom headers from {HEADERS_VARIABLE} environment variable: {reason}"))
    };
    let mut pairs: Vec<(String, String)> = Vec::new();
    if text.is_empty() {
        return Ok(pairs);
    }
    let fields = crate::container::fields::comma_fields(text);
    for field in fields.map_err(wrong)? {
        let Some((name, value)) = field.split_once('=') else {
            return Err(wrong(format!("missing \"=\" in key=value pair: '{field}'")));
        };
        let name = name.trim();
        if name.is_empty() {
            return Err(wrong(format!("value contains a key=value pair with an empty key: '{field}'")));
        }
        pairs.retain(|(known, _)| known != name);
        pairs.push((name.to_owned(), value.to_owned()));
    }
    Ok(pairs)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_headers_are_pairs() {
        let read = |text: &str| {
            custom_headers(text).map(|pairs| format!("{pairs:?}")).unwrap_or_else(|failure| failure.to_string())
        };
        assert_eq!(read("a=b,c=d=e,a=f"), r#"[("c", "d=e"), ("a", "f")]"#);
        let wrong = "failed to set custom headers from DOCKER_CUSTOM_HEADERS environment variable: ";
        assert_eq!(read("foo"), format!("{wrong}missing \"=\" in key=value pair: 'foo'"));
        assert_eq!(read("=x"), format!("{wrong}value contains a key=value pair with an empty key: '=x'"));
    }
}
