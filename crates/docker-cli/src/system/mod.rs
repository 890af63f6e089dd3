//! `docker system …`, `docker version`, `docker info`, `docker events`.

pub mod df;
pub mod dial;
pub mod events;
pub mod info;
pub mod prune;
mod swarm;
pub mod version;
mod why;

use crate::command::{Args, Command};

/// `docker system`.
pub const NOUN: Command = Command {
    name: "system",
    usage: "COMMAND",
    about: "Manage Docker",
    args: Args::None,
    children: &[&df::COMMAND, &dial::COMMAND, &events::COMMAND, &info::COMMAND, &prune::COMMAND],
    ..Command::EMPTY
};
