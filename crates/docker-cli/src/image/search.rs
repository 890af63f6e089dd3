//! `docker search`.

use engine_api::image::SearchResult;
use engine_client::Request;

use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::container::list::read_filters;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::format::{Column, Field, Format};
use crate::template::Value;
use crate::text::ellipsis::ellipsis;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("filter", 'f', Kind::Filter, "", "Filter output based on conditions provided"),
    flag("format", NONE, Kind::Text, "", "Pretty-print search using a Go template"),
    flag("limit", NONE, Kind::Int, "", "Max number of search results"),
    flag("no-trunc", NONE, Kind::Bool, "", "Don't truncate output"),
];

pub const COMMAND: Command = Command {
    name: "search",
    usage: "[OPTIONS] TERM",
    about: "Search Docker Hub for images",
    flags: &[FLAGS],
    args: Args::Exactly(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

const TABLE: &str = "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";
const COLUMNS: &[Column] =
    &[("Name", "NAME"), ("Description", "DESCRIPTION"), ("StarCount", "STARS"), ("IsOfficial", "OFFICIAL")];
/// Width of a cut description.
const DESCRIPTION_WIDTH: usize = 45;

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let filters = read_filters(flags)?;
    if filters.has("is-automated") {
        context::say(
            "WARNING: the \"is-automated\" filter is deprecated, and searching for \"is-automated=true\" will not yield any results in future.",
        );
    }
    let term = flags.arg(0);
    let format = Format::new(flags.text("format"), TABLE, "registry.searchContext");
    format.check()?;
    let limit = flags.int("limit");
    let request = Request::get("/images/search")
        .with_some("filters", filters.encode().unwrap_or_default())
        .with_some("limit", if limit > 0 { limit.to_string() } else { String::new() })
        .with("term", term)
        .registry_auth(&context.config.auth_for(term));
    let results: Vec<SearchResult> = context.client.call(request).await?;
    let full = flags.is_set("no-trunc");
    let is_json = flags.text("format") == "json" || flags.text("format").contains("json .}}");
    let rows = results.iter().map(|result| row(result, full, is_json)).collect();
    context::print(&format.render(COLUMNS, rows)?)?;
    Ok(0)
}

fn row(result: &SearchResult, full: bool, is_json: bool) -> Vec<Field> {
    let description = result.description.replace(['\n', '\r'], " ");
    let official = match (result.is_official, is_json) {
        (true, false) => "[OK]",
        (true, true) => "true",
        (false, true) => "false",
        (false, false) => "",
    };
    vec![
        ("Name", Value::text(result.name.as_str())),
        ("Description", Value::text(if full { description } else { ellipsis(&description, DESCRIPTION_WIDTH) })),
        ("StarCount", Value::text(result.star_count.to_string())),
        ("IsOfficial", Value::text(official)),
    ]
}
