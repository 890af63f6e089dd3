//! `docker container …` and the short forms of its commands.

pub mod attach;
pub mod attachments;
pub mod create;
mod create_flags;
pub mod exec;
pub mod health;
pub mod inspect;
pub mod list;
pub mod logs;
pub mod mounts;
pub mod operate;
pub mod options;
pub mod ports;
pub mod remove;
pub mod run;
pub mod start;
pub mod top;

use crate::command::{Args, Command};

/// `docker container`.
pub const NOUN: Command = Command {
    name: "container",
    usage: "COMMAND",
    about: "Manage containers",
    args: Args::None,
    children: &[
        &attach::COMMAND,
        &create::COMMAND,
        &exec::COMMAND,
        &inspect::COMMAND,
        &operate::KILL,
        &logs::COMMAND,
        &list::LS,
        &operate::PAUSE,
        &top::PORT,
        &operate::RENAME,
        &operate::RESTART,
        &remove::COMMAND,
        &run::COMMAND,
        &start::COMMAND,
        &operate::STOP,
        &top::TOP,
        &operate::UNPAUSE,
        &operate::WAIT,
    ],
    ..Command::EMPTY
};
