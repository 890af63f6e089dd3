//! `docker image …` and the short forms of its commands.

pub mod history;
pub mod import;
pub mod inspect;
pub mod list;
pub mod load;
pub mod platform;
pub mod prune;
pub mod pull;
pub mod push;
pub mod remove;
pub mod save;
pub mod search;
pub mod tag;
mod tree;

use crate::command::{Args, Command};

/// `docker image`.
pub const NOUN: Command = Command {
    name: "image",
    usage: "COMMAND",
    about: "Manage images",
    args: Args::None,
    children: &[
        &crate::build::COMMAND,
        &history::COMMAND,
        &import::COMMAND,
        &inspect::COMMAND,
        &load::COMMAND,
        &list::LS,
        &prune::COMMAND,
        &pull::COMMAND,
        &push::COMMAND,
        &remove::RM,
        &save::COMMAND,
        &tag::COMMAND,
    ],
    ..Command::EMPTY
};
