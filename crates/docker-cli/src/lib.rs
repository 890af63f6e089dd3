//! The docker command line: commands, flags, tables, templates, terminal.
//!
//! Entry point: [`main`]. A command is a row of data ([`command::Command`]) with its flags and one function; one file a
//! command, one folder a noun. Commands talk to the daemon through `engine-client` only and know no other crate of the
//! engine.
//!
//! Invariants: standard output is data, standard error the rest; the terminal is put back on every way out; help, usage
//! errors and versions need no daemon and start no runtime.

mod command;
mod config;
mod container;
mod context;
mod failure;
mod format;
mod image;
mod inspect;
mod messages;
mod network;
mod progress;
mod stream;
mod system;
mod template;
mod terminal;
mod text;

use command::tree::{Plan, plan};
use command::{Command, Matches, help};
use context::{Context, Globals};
use failure::Failure;

/// Runs a command line, without the program's name, and answers the exit status.
pub fn main(words: impl Iterator<Item = String>) -> u8 {
    let words: Vec<String> = words.collect();
    let width = terminal::size().map_or(help::DEFAULT_WIDTH, |size| size.width as usize);
    let result = plan(&words, width).and_then(|plan| match plan {
        Plan::Print(text) => context::print(&text).map(|()| 0),
        Plan::Run { globals, command, matches } => execute(&globals, command, &matches),
    });
    result.unwrap_or_else(|failure| {
        let message = failure.to_string();
        if !message.is_empty() {
            context::say(&message);
        }
        failure.code()
    })
}

fn execute(globals: &Globals, command: &Command, matches: &Matches) -> Result<u8, Failure> {
    let Some(action) = command.action else { return Ok(0) };
    let context = Context::new(globals)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(action(&context, matches));
    // A thread may still wait for a key; it must not hold the program.
    runtime.shutdown_background();
    result
}
