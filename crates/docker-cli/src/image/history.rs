//! `docker history`.

use engine_api::image::HistoryItem;
use engine_client::{Request, escape};

use super::platform;
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::container::list::FORMAT_USAGE;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::format::{Column, Field, Format};
use crate::template::Value;
use crate::text::ellipsis::{ellipsis, short_id};
use crate::text::size::human_size_with_precision;
use crate::text::time;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("format", NONE, Kind::Text, "", FORMAT_USAGE),
    flag("human", 'H', Kind::Bool, "true", "Print sizes and dates in human readable format"),
    flag("no-trunc", NONE, Kind::Bool, "", "Don't truncate output"),
    flag("platform", NONE, Kind::Text, "", "Show history for the given platform. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"),
    flag("quiet", 'q', Kind::Bool, "", "Only show image IDs"),
];

pub const COMMAND: Command = Command {
    name: "history",
    usage: "[OPTIONS] IMAGE",
    about: "Show the history of an image",
    aliases: "docker image history, docker history",
    flags: &[FLAGS],
    args: Args::Exactly(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

const TABLE: &str = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const TABLE_OF_NUMBERS: &str = "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";

const COLUMNS: &[Column] = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

/// Width of a cut CREATED BY.
const CREATED_BY_WIDTH: usize = 45;

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let human = flags.is_set("human");
    let asked = match flags.text("format") {
        "" | "table" if flags.is_set("quiet") => "{{.ID}}",
        asked => asked,
    };
    let format = Format::new(asked, if human { TABLE } else { TABLE_OF_NUMBERS }, "image.historyContext");
    format.check()?;
    let platform = platform::named_parameter(flags.text("platform"))?;
    let request = Request::get(format!("/images/{}/history", escape(flags.arg(0)))).with_some("platform", platform);
    let items: Vec<HistoryItem> = context.client.call(request).await?;
    let full = flags.is_set("no-trunc");
    let rows = items.iter().map(|item| row(item, full, human)).collect();
    context::print(&format.render(COLUMNS, rows)?)?;
    Ok(0)
}

fn row(item: &HistoryItem, full: bool, human: bool) -> Vec<Field> {
    let id = if full { item.id.as_str() } else { short_id(&item.id) };
    // Tabs would end a cell.
    let command = item.created_by.replace('\t', " ");
    let command = if full { command } else { ellipsis(&command, CREATED_BY_WIDTH) };
    let size = if human { human_size_with_precision(item.size, 3) } else { item.size.to_string() };
    vec![
        ("ID", Value::text(id)),
        ("CreatedSince", Value::text(if item.created <= 0 { "N/A".to_owned() } else { time::ago(item.created) })),
        ("CreatedAt", Value::text(time::local_rfc3339(item.created))),
        ("CreatedBy", Value::Text(command)),
        ("Size", Value::Text(size)),
        ("Comment", Value::text(item.comment.as_str())),
    ]
}
