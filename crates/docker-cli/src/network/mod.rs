//! `docker network …`.

pub mod connect;
pub mod create;
pub mod inspect;
pub mod list;
pub mod prune;
pub mod remove;

use crate::command::{Args, Command};

/// `docker network`.
pub const NOUN: Command = Command {
    name: "network",
    usage: "COMMAND",
    about: "Manage networks",
    args: Args::None,
    children: &[
        &connect::CONNECT,
        &create::COMMAND,
        &connect::DISCONNECT,
        &inspect::COMMAND,
        &list::COMMAND,
        &prune::COMMAND,
        &remove::COMMAND,
    ],
    ..Command::EMPTY
};
