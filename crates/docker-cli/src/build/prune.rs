//! `docker builder prune`.

use engine_client::Request;
use serde::Deserialize;

use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::Context;
use crate::failure::Failure;
use crate::prune::{self, Report, filter, is_wanted, print_total};
use crate::text::size::parse_bytes;

const FLAGS: &[Flag] = &[
    flag("all", 'a', Kind::Bool, "", "Remove all unused build cache, not just dangling ones"),
    filter("Provide filter values (e.g. \"until=24h\")"),
    prune::FORCE,
    flag("keep-storage", NONE, Kind::Bytes, "", "Amount of disk space to keep for cache"),
];

pub const COMMAND: Command = Command {
    name: "prune",
    usage: "",
    about: "Remove build cache",
    flags: &[FLAGS],
    args: Args::None,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    caches_deleted: Option<Vec<String>>,
    space_reclaimed: u64,
}

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let all = flags.is_set("all");
    let what = if all { "all build cache" } else { "all dangling build cache" };
    if !is_wanted(flags, &format!("WARNING! This will remove {what}. Are you sure you want to continue?"))? {
        return Ok(0);
    }
    let filters = prune::filters(context, flags)?;
    let keep = match flags.text("keep-storage") {
        "" => String::new(),
        text => parse_bytes(text).unwrap_or(0).to_string(),
    };
    let request = Request::post("/build/prune")
        .with_flag("all", all)
        .with_some("keep-storage", keep)
        .with("filters", filters.encode().unwrap_or_default());
    let answer: Answer = context.client.call(request).await?;
    let names = answer.caches_deleted.unwrap_or_default();
    Report::new("Deleted build cache objects", names, answer.space_reclaimed).print()?;
    print_total(answer.space_reclaimed)?;
    Ok(0)
}
