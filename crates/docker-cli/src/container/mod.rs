//! `docker container …` and the short forms of its commands.

mod api_socket;
pub mod attach;
pub mod attachments;
pub mod commit;
pub mod copy;
pub mod create;
mod create_flags;
pub mod devices;
pub mod diff;
pub mod environment;
pub mod exec;
pub mod export;
pub mod fields;
pub mod health;
pub mod hosts;
pub mod inspect;
pub mod list;
pub mod logs;
pub mod mounts;
pub mod operate;
pub mod options;
pub mod ports;
pub mod proxies;
pub mod prune;
pub mod remove;
pub mod run;
mod security;
pub mod start;
pub mod stats;
pub mod top;
pub mod update;
mod usage;

use crate::command::{Args, Command};

/// `docker container`.
pub const NOUN: Command = Command {
    name: "container",
    usage: "COMMAND",
    about: "Manage containers",
    args: Args::None,
    children: &[
        &attach::COMMAND,
        &commit::COMMAND,
        &copy::COMMAND,
        &create::COMMAND,
        &diff::COMMAND,
        &exec::COMMAND,
        &export::COMMAND,
        &inspect::COMMAND,
        &operate::KILL,
        &logs::COMMAND,
        &list::LS,
        &operate::PAUSE,
        &top::PORT,
        &prune::COMMAND,
        &operate::RENAME,
        &operate::RESTART,
        &remove::COMMAND,
        &run::COMMAND,
        &start::COMMAND,
        &stats::COMMAND,
        &operate::STOP,
        &top::TOP,
        &operate::UNPAUSE,
        &update::COMMAND,
        &operate::WAIT,
    ],
    ..Command::EMPTY
};
