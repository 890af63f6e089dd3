//! The daemon's options: flags and `daemon.json`, checked and put together as Docker does.
//!
//! A flag and the same key in the file are an error, so that nobody has to guess which one won. What Docker has and this
//! engine has not is refused by name ([`table::Support`]), never taken and forgotten.

mod bytes;
mod check;
mod config;
mod file;
mod flags;
mod help;
mod hosts;
mod table;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

pub use check::unsupported;
pub use config::{BUILTIN_PROFILE, Config};
pub use help::help;
pub use hosts::Host;

use self::flags::{Flags, Wants};

const DEFAULT_CONFIG_FILE: &str = "/etc/docker/daemon.json";

/// Words that Docker's users know. What is wrong with a flag is told with a pointer to the help.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    #[error("unknown flag: {0}\nSee 'dockerd --help'.")]
    UnknownFlag(String),
    #[error("unknown shorthand flag: '{letter}' in -{word}\nSee 'dockerd --help'.")]
    UnknownShort { letter: char, word: String },
    #[error("flag needs an argument: {0}\nSee 'dockerd --help'.")]
    NeedsValue(String),
    #[error("invalid argument \"{value}\" for \"{flag}\" flag: {why}\nSee 'dockerd --help'.")]
    Invalid { value: String, flag: String, why: String },
    #[error(
        "\"dockerd\" accepts no arguments.\nSee 'dockerd --help'.\n\nUsage:  dockerd [OPTIONS]\n\nA self-sufficient runtime for containers."
    )]
    Argument,
    #[error("unable to configure the Docker daemon with file {}: {why}", path.display())]
    File { path: PathBuf, why: String },
    #[error("{0}")]
    Value(String),
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Asked {
    Serve(Box<Options>),
    Validate,
    Help,
    Version,
}

/// The configuration, and what it takes to read it again.
#[derive(Debug)]
pub struct Options {
    pub config: Config,
    /// Lines for stderr: options that Docker no longer has.
    pub notes: Vec<String>,
    flags: Map<String, Value>,
    file: Option<PathBuf>,
}

/// From the words behind the program's name, and the configuration file that they (or the default) name.
pub fn read(words: &[String]) -> Result<Asked, OptionsError> {
    let Flags { mut values, wants, notes } = flags::parse(words)?;
    match wants {
        Wants::Help => return Ok(Asked::Help),
        Wants::Version => return Ok(Asked::Version),
        Wants::Serve => {}
    }
    let validate = values.remove("validate").is_some_and(|value| value == true);
    let file = values.remove("config-file").and_then(|value| value.as_str().map(PathBuf::from));
    let (config, _) = put_together(&values, file.as_deref())?;
    if validate {
        return Ok(Asked::Validate);
    }
    Ok(Asked::Serve(Box::new(Options { config, notes, flags: values, file })))
}

impl Options {
    /// The configuration as the file has it now, and which keys are set in it or by flags.
    pub fn read_again(&self) -> Result<(Config, BTreeSet<String>), OptionsError> {
        put_together(&self.flags, self.file.as_deref())
    }

    pub fn file(&self) -> &Path {
        self.file.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG_FILE))
    }
}

type Settled = (Config, BTreeSet<String>);

fn put_together(flags: &Map<String, Value>, file: Option<&Path>) -> Result<Settled, OptionsError> {
    let path = file.unwrap_or(Path::new(DEFAULT_CONFIG_FILE));
    let in_file = |why: String| OptionsError::File { path: path.to_path_buf(), why };
    let settings = file::read(file, path).map_err(in_file)?;
    let merged = file::merge(flags, settings).map_err(in_file)?;
    let config: Config =
        serde_json::from_value(Value::Object(merged.clone())).map_err(|error| in_file(error.to_string()))?;
    let config = check::finish(config).map_err(OptionsError::Value)?;
    unsupported(&merged).map_err(OptionsError::Value)?;
    Ok((config, merged.keys().cloned().collect()))
}

#[cfg(test)]
mod tests;
