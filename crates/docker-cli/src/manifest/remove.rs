//! `docker manifest rm`.

use super::parse;
use super::store::{Store, missing};
use crate::command::{Args, Command, Matches};
use crate::context::Context;
use crate::failure::Failure;

pub const COMMAND: Command = Command {
    name: "rm",
    usage: "MANIFEST_LIST [MANIFEST_LIST...]",
    about: "Delete one or more manifest lists from local storage",
    args: Args::AtLeast(1),
    local: true,
    experimental: true,
    action: Some(|context, flags| Box::pin(async move { execute(context, flags) })),
    ..Command::EMPTY
};

fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let store = Store::new(&context.config.folder);
    let mut errors = Vec::new();
    for name in &flags.args {
        let removed = parse(name).and_then(|list| match store.list(&list)? {
            Some(_) => store.remove(&list),
            None => Err(missing(&list)),
        });
        if let Err(failure) = removed {
            errors.push(failure.to_string());
        }
    }
    if errors.is_empty() { Ok(0) } else { Err(Failure::Text(errors.join("\n"))) }
}
