//! `docker image …` and the short forms of its commands.

pub mod history;
pub mod import;
pub mod inspect;
pub mod list;
pub mod pull;
pub mod push;
pub mod remove;
pub mod tag;

use crate::command::{Args, Command};

/// `docker image`.
pub const NOUN: Command = Command {
    name: "image",
    usage: "COMMAND",
    about: "Manage images",
    args: Args::None,
    children: &[
        &history::COMMAND,
        &import::COMMAND,
        &inspect::COMMAND,
        &list::LS,
        &pull::COMMAND,
        &push::COMMAND,
        &remove::RM,
        &tag::COMMAND,
    ],
    ..Command::EMPTY
};
