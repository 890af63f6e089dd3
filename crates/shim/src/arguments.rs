//! The command line that containerd gives a shim: Go's flag syntax, `-name value` or `-name=value`, one or two dashes.

use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Start,
    Delete,
    ForkServer,
    Info,
    Version,
}

#[derive(Debug, Clone)]
pub struct Arguments {
    pub program: OsString,
    pub action: Action,
    pub namespace: String,
    pub id: String,
    /// gRPC address of containerd, for events when there is no ttrpc address.
    pub address: String,
    pub publish_binary: Option<PathBuf>,
    /// The bundle; containerd's working folder for a shim, unless given.
    pub bundle: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum ArgumentError {
    #[error("flag provided but not defined: {0}")]
    Unknown(String),
    #[error("flag needs an argument: {0}")]
    NoValue(String),
    #[error("an argument is not UTF-8")]
    NotUtf8,
    #[error("unknown action {0:?}")]
    Action(String),
    #[error("an action is missing: start or delete")]
    NoAction,
    #[error("shim namespace cannot be empty")]
    NoNamespace,
    #[error("shim id cannot be empty")]
    NoId,
    #[error("{0:?} cannot be a part of a path")]
    NoName(String),
}

impl Arguments {
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, ArgumentError> {
        let mut args = args.into_iter();
        let mut parsed = Self {
            program: args.next().unwrap_or_default(),
            action: Action::Version,
            namespace: String::new(),
            id: String::new(),
            address: String::new(),
            publish_binary: None,
            bundle: None,
        };
        let mut action = None;
        let mut args = args.map(|arg| arg.into_string().map_err(|_| ArgumentError::NotUtf8));
        while let Some(arg) = args.next() {
            let arg = arg?;
            let Some(flag) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) else {
                action = Some(named(&arg)?);
                break;
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            let mut value = || match value.clone() {
                Some(value) => Ok(value),
                None => args.next().unwrap_or_else(|| Err(ArgumentError::NoValue(arg.clone()))),
            };
            match name {
                "namespace" => parsed.namespace = value()?,
                "id" => parsed.id = value()?,
                "address" => parsed.address = value()?,
                "publish-binary" => parsed.publish_binary = Some(value()?.into()),
                "bundle" => parsed.bundle = Some(value()?.into()),
                "socket" | "debug-socket" => drop(value()?),
                "debug" => {}
                "info" => action = Some(Action::Info),
                "v" | "version" => action = Some(Action::Version),
                _ => return Err(ArgumentError::Unknown(arg)),
            }
        }
        if !matches!(action, Some(Action::Info | Action::Version | Action::ForkServer)) {
            parsed.check_names()?;
        }
        parsed.action = action.ok_or(ArgumentError::NoAction)?;
        Ok(parsed)
    }

    pub fn check_names(&self) -> Result<(), ArgumentError> {
        if self.namespace.is_empty() {
            return Err(ArgumentError::NoNamespace);
        }
        if self.id.is_empty() {
            return Err(ArgumentError::NoId);
        }
        for name in [&self.namespace, &self.id] {
            if !is_file_name(name) {
                return Err(ArgumentError::NoName(name.clone()));
            }
        }
        Ok(())
    }
}

/// Whether an id can stand for one component of a path.
pub fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 200 && !matches!(name, "." | "..") && !name.contains(['/', '\0'])
}

fn named(word: &str) -> Result<Action, ArgumentError> {
    match word {
        "start" => Ok(Action::Start),
        "delete" => Ok(Action::Delete),
        "fork-server" => Ok(Action::ForkServer),
        _ => Err(ArgumentError::Action(word.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, ArgumentError> {
        Arguments::parse(std::iter::once("shim").chain(line.split_whitespace()).map(OsString::from))
    }

    #[test]
    fn containerds_command_line_is_understood() {
        let line = "-namespace moby -address /run/c.sock -publish-binary /usr/bin/containerd -id abc -debug start";
        let args = parse(line).expect("arguments");
        assert_eq!((args.action, args.namespace.as_str(), args.id.as_str()), (Action::Start, "moby", "abc"));
        let args = parse("--namespace=x --id=y -bundle /b delete").expect("arguments");
        assert_eq!((args.action, args.bundle), (Action::Delete, Some(PathBuf::from("/b"))));
    }

    #[test]
    fn missing_and_hostile_values_are_refused() {
        for line in [
            "-id a start",
            "-namespace a start",
            "-namespace .. -id a start",
            "-namespace a -id b",
            "-namespace a -id b/c start",
            "-x",
            "-id",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("-namespace a -id b explode").is_err());
        assert_eq!(parse("-info").expect("info").action, Action::Info);
    }
}
