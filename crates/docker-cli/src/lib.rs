//! The docker command line: commands, flags, tables, templates, terminal.
//!
//! Entry point: [`main`]. A command is a row of data ([`command::Command`]) with its flags and one function; one file a
//! command, one folder a noun. Commands talk to the daemon through `engine-client` only; of the engine's own crates they know
//! `archive`, for what `docker cp` packs and unpacks here, and `registry-client`, for `docker manifest`.
//!
//! Invariants: standard output is data, standard error the rest; the terminal is put back on every way out; help, usage
//! errors and versions need no daemon and start no runtime.

mod build;
mod command;
mod completion;
mod config;
mod container;
mod context;
mod contexts;
mod failure;
mod format;
mod image;
mod inspect;
mod manifest;
mod manual;
mod messages;
mod network;
mod plugin;
mod progress;
mod prompt;
mod prune;
mod registry;
mod stream;
mod system;
mod terminal;
mod text;
mod volume;

use command::globals::Globals;
use command::plan::{Output, Plan, plan};
use command::{Command, Daemons, Matches, Path, help};
use context::Context;
use failure::Failure;
use go_template as template;

/// Runs a command line, without the program's name, and answers the exit status.
pub fn main(words: impl Iterator<Item = String>) -> u8 {
    let words: Vec<String> = words.collect();
    plan(&words).and_then(|plan| perform(plan, &words)).unwrap_or_else(|failure| {
        let message = failure.to_string();
        if !message.is_empty() {
            context::say(&message);
        }
        failure.code()
    })
}

fn perform(plan: Plan, words: &[String]) -> Result<u8, Failure> {
    match plan {
        Plan::Print(text) => context::print(&text).map(|()| 0),
        Plan::Help { globals, path, notices, to } => {
            let is_root = path.command.name == "docker";
            let plugins = if is_root { plugin::list(&plugin::folders(&globals)) } else { Vec::new() };
            let width = terminal::input_size().map_or(help::DEFAULT_WIDTH, |size| size.width as usize);
            let daemon = if help::depends_on_daemon(path.command) { context::look_at(&globals) } else { None };
            let page = help::page(&path, &plugins, &daemon.unwrap_or_default(), width);
            match to {
                Output::Data => context::print(&(notices + &page))?,
                Output::Hint => context::say(page.trim_end_matches('\n')),
            }
            Ok(0)
        }
        Plan::Plugin { globals, name, otherwise } => match plugin::find(&plugin::folders(&globals), &name) {
            Some(plugin) => plugin::replace_by(&plugin, words),
            None => otherwise.and_then(|plan| perform(plan, words)),
        },
        Plan::Complete { globals, words, described } => completion::run(&globals, &words, described),
        Plan::Run { globals, path, matches } => {
            context::print(&matches.notices)?;
            execute(&globals, &path, &matches)
        }
    }
}

fn execute(globals: &Globals, path: &Path, matches: &Matches) -> Result<u8, Failure> {
    let Some(action) = path.command.action else { return Ok(0) };
    check_daemon(globals, path.command, matches)?;
    let context = Context::new(globals, path.command)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(action(&context, matches));
    // A thread may still wait for a key; it must not hold the program.
    runtime.shutdown_background();
    result
}

/// Refuses flags that were given and that this daemon does not know.
fn check_daemon(globals: &Globals, command: &Command, matches: &Matches) -> Result<(), Failure> {
    let flags = command.flags.iter().flat_map(|group| group.iter());
    let given: Vec<_> = flags.filter(|flag| flag.daemon != Daemons::All && matches.given(flag.long)).collect();
    if given.is_empty() {
        return Ok(());
    }
    let Some(daemon) = context::look_at(globals) else { return Ok(()) };
    let refused = given.iter().filter(|flag| !daemon.knows(flag.daemon)).filter_map(|flag| match flag.daemon {
        Daemons::Windows => Some(format!(
            "\"--{}\" is only supported on a Docker daemon running on windows, but the Docker daemon is running on {}",
            flag.long, daemon.os
        )),
        Daemons::Experimental => {
            Some(format!("\"--{}\" is only supported on a Docker daemon with experimental features enabled", flag.long))
        }
        Daemons::All | Daemons::SwarmManager => None,
    });
    let refused: Vec<String> = refused.collect();
    if refused.is_empty() { Ok(()) } else { Err(Failure::Text(refused.join("\n"))) }
}
