//! `docker context ls`.

use super::create::DEFAULT_DESCRIPTION;
use super::store::DEFAULT;
use crate::command::globals::{HOST_VARIABLE, env};
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::container::list::FORMAT_USAGE;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::format::{Column, Field, Format};
use crate::network::list::natural;
use crate::template::Value;
use crate::text::ellipsis::ellipsis;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("format", NONE, Kind::Text, "", FORMAT_USAGE),
    flag("quiet", 'q', Kind::Bool, "", "Only show context names"),
];

pub const COMMAND: Command = Command {
    name: "ls",
    names: &["list"],
    usage: "[OPTIONS]",
    about: "List contexts",
    aliases: "docker context ls, docker context list",
    flags: &[FLAGS],
    args: Args::None,
    local: true,
    action: Some(|context, flags| Box::pin(async move { execute(context, flags) })),
    ..Command::EMPTY
};

const TABLE: &str = "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}";

const COLUMNS: &[Column] = &[
    ("Name", "NAME"),
    // Marks a row and has no column of its own.
    ("Current", ""),
    ("Description", "DESCRIPTION"),
    ("DockerEndpoint", "DOCKER ENDPOINT"),
    ("Error", "ERROR"),
];

/// Width of a cut error.
const ERROR_WIDTH: usize = 45;

/// A row.
struct Row {
    name: String,
    description: String,
    host: String,
    error: String,
}

fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let asked = match flags.text("format") {
        "" | "table" if flags.is_set("quiet") => "{{.Name}}",
        asked => asked,
    };
    let format = Format::new(asked, TABLE, "clientContextContext");
    format.check().map_err(|failure| {
        Failure::Text(failure.to_string().replacen("failed to parse template", "template parsing error", 1))
    })?;
    let current = context.current_context.as_str();
    let mut rows: Vec<Row> = Vec::new();
    let (host, ..) = context.default_endpoint()?;
    rows.push(Row {
        name: DEFAULT.to_owned(),
        description: DEFAULT_DESCRIPTION.to_owned(),
        host,
        error: String::new(),
    });
    for meta in context.contexts.list()? {
        let (host, error) = match meta.docker() {
            Ok((host, _)) => (host, String::new()),
            Err(failure) => (String::new(), failure.to_string()),
        };
        rows.push(Row { description: meta.description().to_owned(), name: meta.name, host, error });
    }
    if !rows.iter().any(|row| row.name == current) {
        let error = context.contexts.get(current).err().map(|failure| failure.to_string()).unwrap_or_default();
        rows.push(Row { name: current.to_owned(), description: String::new(), host: String::new(), error });
    }
    rows.sort_by_key(|row| natural(&row.name));
    let rows = rows.into_iter().map(|row| fields(row, current)).collect();
    context::print(&format.render(COLUMNS, rows)?)?;
    if !env(HOST_VARIABLE).is_empty() {
        context::say(
            "Warning: DOCKER_HOST environment variable overrides the active context. To use a context, either set the global --context flag, or unset DOCKER_HOST environment variable.",
        );
    }
    Ok(0)
}

fn fields(row: Row, current: &str) -> Vec<Field> {
    vec![
        ("Current", Value::Bool(row.name == current)),
        ("Description", Value::Text(row.description)),
        ("DockerEndpoint", Value::Text(row.host)),
        ("Error", Value::Text(ellipsis(&row.error, ERROR_WIDTH))),
        ("Name", Value::Text(row.name)),
    ]
}
