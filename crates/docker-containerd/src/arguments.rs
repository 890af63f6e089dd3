//! The command line, which is containerd's.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::{Config, ConfigError};

pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit a package was built from, where its builder says so.
pub const REVISION: &str = match option_env!("LONGSHORE_REVISION") {
    Some(revision) => revision,
    None => "",
};
const HOME: &str = "github.com/longshore/longshore";
/// Read when it is there and no other is named.
const DEFAULT_CONFIG: &str = "/etc/containerd/config.toml";

#[derive(Debug, Default)]
pub struct Arguments {
    pub action: Action,
    config: Option<PathBuf>,
    address: Option<String>,
    root: Option<PathBuf>,
    state: Option<PathBuf>,
    log_level: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub enum Action {
    #[default]
    Run,
    Version,
    ConfigDefault,
    ConfigDump,
    Publish {
        topic: String,
        namespace: String,
    },
}

/// `docker-containerd github.com/… VERSION REVISION`, the shape of containerd's own line.
pub fn version_line() -> String {
    format!("docker-containerd {HOME} {VERSION} {REVISION}").trim_end().to_owned()
}

/// Reads the command line; a wrong one ends the program with a message.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Arguments {
    from_matches(&command().get_matches_from(arguments.enumerate().map(two_dashes)))
}

impl Arguments {
    /// The configuration file, with what the command line says in its place.
    pub fn effective_config(&self) -> Result<Config, ConfigError> {
        // A daemon whose places are all given is not the machine's own, and the machine's file is not about it.
        let is_private = self.address.is_some() && self.root.is_some() && self.state.is_some();
        let mut config = match &self.config {
            Some(path) => Config::read(path)?,
            None if !is_private && Path::new(DEFAULT_CONFIG).exists() => Config::read(DEFAULT_CONFIG.as_ref())?,
            None => Config::default(),
        };
        if let Some(address) = &self.address {
            config.grpc.address.clone_from(address);
        }
        if let Some(root) = &self.root {
            config.root.clone_from(root);
        }
        if let Some(state) = &self.state {
            config.state.clone_from(state);
        }
        if let Some(level) = &self.log_level {
            config.debug.level.clone_from(level);
        }
        Ok(config)
    }
}

/// Shims written in Go put one dash before long names: `-address` is `--address`.
fn two_dashes((position, argument): (usize, OsString)) -> OsString {
    match argument.to_str() {
        Some(text) if position > 0 && text.len() > 2 && text.starts_with('-') && !text.starts_with("--") => {
            format!("-{text}").into()
        }
        _ => argument,
    }
}

fn command() -> Command {
    let option = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help);
    Command::new("docker-containerd")
        .about("Manages content, snapshots, containers and tasks behind containerd's gRPC API")
        .disable_version_flag(true)
        .arg(option("config", "Path to the configuration file").short('c'))
        .arg(option("address", "Address of the gRPC socket").short('a'))
        .arg(option("root", "Folder of what survives a reboot"))
        .arg(option("state", "Folder of what may be gone after a reboot"))
        .arg(option("log-level", "trace, debug, info, warn, error, fatal or panic").short('l'))
        .arg(option("version", "Print the version").short('v').action(ArgAction::SetTrue))
        .subcommand(
            Command::new("config")
                .about("Show the configuration")
                .subcommand_required(true)
                .subcommand(Command::new("default").about("What holds without a configuration file"))
                .subcommand(Command::new("dump").about("What holds with the given file and options")),
        )
        .subcommand(
            Command::new("publish")
                .about("Publish the event on standard input")
                .arg(option("topic", "Topic of the event").required(true))
                .arg(option("namespace", "Namespace of the event").required(true)),
        )
}

fn from_matches(matches: &ArgMatches) -> Arguments {
    let text = |matches: &ArgMatches, name: &str| matches.get_one::<String>(name).cloned();
    let action = match matches.subcommand() {
        _ if matches.get_flag("version") => Action::Version,
        Some(("config", config)) if config.subcommand_name() == Some("dump") => Action::ConfigDump,
        Some(("config", _)) => Action::ConfigDefault,
        Some(("publish", publish)) => Action::Publish {
            topic: text(publish, "topic").unwrap_or_default(),
            namespace: text(publish, "namespace").unwrap_or_default(),
        },
        _ => Action::Run,
    };
    Arguments {
        action,
        config: text(matches, "config").map(PathBuf::from),
        address: text(matches, "address"),
        root: text(matches, "root").map(PathBuf::from),
        state: text(matches, "state").map(PathBuf::from),
        log_level: text(matches, "log-level"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Arguments {
        parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn the_command_line_is_containerds() {
        command().debug_assert();
        assert_eq!(parsed("containerd").action, Action::Run);
        assert_eq!(parsed("containerd --version").action, Action::Version);
        assert_eq!(parsed("containerd config dump").action, Action::ConfigDump);
        let publish = Action::Publish { topic: "/tasks/exit".to_owned(), namespace: "moby".to_owned() };
        let arguments = parsed("containerd --address /x publish --topic /tasks/exit --namespace moby");
        assert_eq!((&arguments.action, arguments.address.as_deref()), (&publish, Some("/x")));
        assert_eq!(parsed("containerd -address /x publish -topic /tasks/exit -namespace moby").action, publish);
    }

    #[test]
    fn options_take_the_place_of_the_file() {
        let folder = tempfile::tempdir().expect("tempdir");
        let file = folder.path().join("config.toml");
        std::fs::write(&file, "version = 2\nroot = \"/a\"\nstate = \"/b\"\n[grpc]\naddress = \"/c\"\n").expect("write");
        let line = format!("containerd --config {} --state /d -l debug", file.display());
        let config = parsed(&line).effective_config().expect("config");
        assert_eq!((config.root, config.state), (PathBuf::from("/a"), PathBuf::from("/d")));
        assert_eq!((config.grpc.address.as_str(), config.debug.level.as_str()), ("/c", "debug"));
    }
}
