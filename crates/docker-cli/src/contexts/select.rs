//! `docker context use`, `show` and `rm`.

use super::store::{DEFAULT, check_name};
use crate::command::globals::{HOST_VARIABLE, env};
use crate::command::{Args, Command, Flag, Kind, Matches, flag};
use crate::config::file;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::text::quote;

pub const USE: Command = Command {
    name: "use",
    usage: "CONTEXT",
    about: "Set the current docker context",
    args: Args::Plainly(1),
    local: true,
    action: Some(|context, flags| Box::pin(async move { select(context, flags) })),
    ..Command::EMPTY
};

pub const SHOW: Command = Command {
    name: "show",
    about: "Print the name of the current context",
    args: Args::None,
    local: true,
    action: Some(|context, _| {
        Box::pin(async move {
            context::print_line(&context.current_context)?;
            Ok(0)
        })
    }),
    ..Command::EMPTY
};

#[rustfmt::skip]
const RM_FLAGS: &[Flag] = &[
    flag("force", 'f', Kind::Bool, "", "Force the removal of a context in use"),
];

pub const RM: Command = Command {
    name: "rm",
    names: &["remove"],
    usage: "CONTEXT [CONTEXT...]",
    about: "Remove one or more contexts",
    aliases: "docker context rm, docker context remove",
    flags: &[RM_FLAGS],
    args: Args::AtLeast(1),
    local: true,
    action: Some(|context, flags| Box::pin(async move { remove(context, flags) })),
    ..Command::EMPTY
};

fn select(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let name = flags.arg(0);
    let stored = if name == DEFAULT { "" } else { name };
    if !stored.is_empty() {
        check_name(name)?;
        context.contexts.get(name)?;
    }
    if context.config.current_context != stored {
        file::set_current_context(&context.config.folder, stored)?;
    }
    context::print_line(name)?;
    context::say(&format!("Current context is now {}", quote(name)));
    if name != DEFAULT && !env(HOST_VARIABLE).is_empty() {
        context::say(&format!(
            "Warning: DOCKER_HOST environment variable overrides the active context. To use {}, either set the global --context flag, or unset DOCKER_HOST environment variable.",
            quote(name)
        ));
    }
    Ok(0)
}

fn remove(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let force = flags.is_set("force");
    let mut errors = Vec::new();
    for name in &flags.args {
        match remove_one(context, name, force) {
            Ok(()) => context::print_line(name)?,
            Err(failure) => errors.push(failure.to_string()),
        }
    }
    if errors.is_empty() { Ok(0) } else { Err(Failure::text(errors.join("\n"))) }
}

fn remove_one(context: &Context, name: &str, force: bool) -> Result<(), Failure> {
    let shown = quote(name);
    if name == DEFAULT {
        return Err(Failure::text(format!("context {shown} cannot be removed")));
    }
    if !force && !context.contexts.has(name) {
        return Err(Failure::text(format!("context {shown} does not exist")));
    }
    if name == context.current_context {
        if !force {
            return Err(Failure::text(format!("context {shown} is in use, set -f flag to force remove")));
        }
        file::set_current_context(&context.config.folder, "")?;
    }
    context.contexts.remove(name)
}
