//! `docker volume …`.

pub mod create;
pub mod inspect;
pub mod list;
pub mod prune;
pub mod remove;
pub mod update;

use crate::command::{Args, Command};

/// `docker volume`.
pub const NOUN: Command = Command {
    name: "volume",
    usage: "COMMAND",
    about: "Manage volumes",
    args: Args::None,
    children: &[
        &create::COMMAND,
        &inspect::COMMAND,
        &list::COMMAND,
        &prune::COMMAND,
        &remove::COMMAND,
        &update::COMMAND,
    ],
    ..Command::EMPTY
};
