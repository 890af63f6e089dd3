//! `docker manifest create`.

use super::parse;
use super::remote::{self, Remote, fetch};
use super::store::Store;
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::{self, Context};
use crate::failure::Failure;

const FLAGS: &[Flag] = &[
    flag("amend", 'a', Kind::Bool, "", "Amend an existing manifest list"),
    flag("insecure", NONE, Kind::Bool, "", "Allow communication with an insecure registry"),
];

pub const COMMAND: Command = Command {
    name: "create",
    usage: "MANIFEST_LIST MANIFEST [MANIFEST...]",
    about: "Create a local manifest list for annotating and pushing to a registry",
    flags: &[FLAGS],
    args: Args::AtLeast(2),
    local: true,
    experimental: true,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let name = flags.arg(0);
    let list =
        parse(name).map_err(|error| Failure::Text(format!("error parsing name for manifest list {name}: {error}")))?;
    let store = Store::new(&context.config.folder);
    if store.list(&list)?.is_some() && !flags.is_set("amend") {
        return Err(Failure::text("refusing to amend an existing manifest list with no --amend flag"));
    }
    for name in &flags.args[1..] {
        let image = parse(name)?;
        let stored = match store.get(&list, &image)?.filter(|stored| !stored.raw.is_empty()) {
            Some(stored) => stored,
            None => {
                let repository = remote::repository(context, &image, flags.is_set("insecure"));
                match fetch(&repository, &image).await? {
                    Remote::Image(stored) => stored,
                    Remote::List(_) => return Err(Failure::Text(format!("{image} is a manifest list"))),
                }
            }
        };
        store.save(&list, &image, &stored)?;
    }
    context::print_line(&format!("Created manifest list {list}"))?;
    Ok(0)
}
