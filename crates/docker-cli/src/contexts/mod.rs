//! `docker context …`: which daemons there are, by name.

mod archive;
mod create;
pub mod endpoint;
mod inspect;
mod list;
mod select;
pub mod store;
mod zip;

use crate::command::{Args, Command};

/// `docker context`.
pub const NOUN: Command = Command {
    name: "context",
    usage: "COMMAND",
    about: "Manage contexts",
    args: Args::None,
    children: &[
        &create::CREATE,
        &archive::EXPORT,
        &archive::IMPORT,
        &inspect::COMMAND,
        &list::COMMAND,
        &select::RM,
        &select::SHOW,
        &create::UPDATE,
        &select::USE,
    ],
    ..Command::EMPTY
};
