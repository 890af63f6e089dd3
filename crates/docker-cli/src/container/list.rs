//! `docker ps`, which is `docker container ls`.

use engine_api::StringMap;
use engine_api::container::Summary;
use engine_api::filters::Filters;
use engine_client::Request;

use super::ports;
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::format::{self, Column, Field, Format};
use crate::template::Value;
use crate::text::ellipsis::{ellipsis, short_id};
use crate::text::size::human_size_with_precision;
use crate::text::time;

/// The text that Docker has for `--format` of a list.
pub const FORMAT_USAGE: &str = "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("all", 'a', Kind::Bool, "", "Show all containers (default shows just running)"),
    flag("filter", 'f', Kind::Filter, "", "Filter output based on conditions provided"),
    flag("format", NONE, Kind::Text, "", FORMAT_USAGE),
    flag("last", 'n', Kind::Int, "-1", "Show n last created containers (includes all states)"),
    flag("latest", 'l', Kind::Bool, "", "Show the latest created container (includes all states)"),
    flag("no-trunc", NONE, Kind::Bool, "", "Don't truncate output"),
    flag("quiet", 'q', Kind::Bool, "", "Only display container IDs"),
    flag("size", 's', Kind::Bool, "", "Display total file sizes"),
];

/// `docker ps`.
pub const PS: Command = Command { name: "ps", names: &[], ..LS };

/// `docker container ls`.
pub const LS: Command = Command {
    name: "ls",
    names: &["list", "ps"],
    usage: "[OPTIONS]",
    about: "List containers",
    aliases: "docker container ls, docker container list, docker container ps, docker ps",
    flags: &[FLAGS],
    args: Args::None,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

const TABLE: &str = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

const RAW: &str = "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\nstate: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\n";
const RAW_WITH_SIZE: &str = "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\nstate: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\nsize: {{.Size}}\n";

pub const COLUMNS: &[Column] = &[
    ("ID", "CONTAINER ID"),
    ("Names", "NAMES"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
];

/// Widths of cut columns.
const COMMAND_WIDTH: usize = 20;
const MOUNT_WIDTH: usize = 15;

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let (quiet, size) = (flags.is_set("quiet"), flags.is_set("size"));
    if quiet && !flags.text("format").is_empty() {
        context::say("WARNING: Ignoring custom format, because both --format and --quiet are set.");
    }
    let asked = match flags.text("format") {
        "raw" if quiet => "container_id: {{.ID}}",
        "raw" if size => RAW_WITH_SIZE,
        "raw" => RAW,
        _ if quiet => "{{.ID}}",
        "" => context.config.ps_format.as_str(),
        asked => asked,
    };
    let table = if size { format!("{TABLE}\t{{{{.Size}}}}") } else { TABLE.to_owned() };
    let format = Format::new(asked, &table, "ContainerContext");
    // A template that cannot be read or filled needs no daemon.
    format.check()?;
    if !size {
        format.try_empty(COLUMNS)?;
    }
    // A template that shows the size makes the daemon compute it; plain `json` does not.
    let size = size || asked != "json" && (format.mentions(".Size") || format.mentions("json .}"));
    let last = if flags.is_set("latest") && !flags.given("last") { 1 } else { flags.int("last") };
    let request = Request::get("/containers/json")
        .with_flag("all", flags.is_set("all"))
        .with_some("filters", read_filters(flags)?.encode().unwrap_or_default())
        .with_some("limit", if last > 0 { last.to_string() } else { String::new() })
        .with_flag("size", size);
    let list: Vec<Summary> = context.client.call(request).await?;
    let full = flags.is_set("no-trunc");
    let rows = list.iter().map(|summary| row(summary, full)).collect();
    context::print(&format.render(COLUMNS, rows)?)?;
    Ok(0)
}

/// `-f key=value` as the API takes them.
pub fn read_filters(flags: &Matches) -> Result<Filters, Failure> {
    let mut filters = Filters::default();
    for term in flags.list("filter") {
        if let Some((key, value)) = term.split_once('=') {
            filters.add(key.trim().to_lowercase(), value.trim());
        }
    }
    Ok(filters)
}

pub fn row(summary: &Summary, full: bool) -> Vec<Field> {
    let id = if full { summary.id.as_str() } else { short_id(&summary.id) };
    let command = if full { summary.command.clone() } else { ellipsis(&summary.command, COMMAND_WIDTH) };
    let volumes = summary.mounts.iter().filter(|mount| mount.driver == "local").count();
    let networks: Vec<&str> = summary.network_settings.networks.keys().map(String::as_str).collect();
    vec![
        ("ID", Value::text(id)),
        ("Names", Value::text(names(&summary.names, full))),
        ("Image", Value::text(image(summary, full))),
        ("Command", Value::text(format!("{command:?}"))),
        ("CreatedAt", Value::text(time::local_go(summary.created))),
        ("RunningFor", Value::text(time::ago(summary.created))),
        ("Ports", Value::text(ports::display(&summary.ports))),
        ("State", Value::text(summary.state.as_str())),
        ("Status", Value::text(summary.status.as_str())),
        ("Size", Value::text(size(summary))),
        ("Labels", Value::text(format::join_labels(&summary.labels))),
        ("Label", format::label_method(StringMap::clone(&summary.labels))),
        ("Mounts", Value::text(mounts(summary, full))),
        ("LocalVolumes", Value::text(volumes.to_string())),
        ("Networks", Value::text(networks.join(","))),
        ("Platform", Value::Nil),
    ]
}

/// Without slashes; cut, without the names that links give (`/web/db`).
fn names(names: &[String], full: bool) -> String {
    let bare = names.iter().map(|name| name.strip_prefix('/').unwrap_or(name));
    let shown: Vec<&str> = bare.filter(|name| full || !name.contains('/')).collect();
    shown.join(",")
}

fn image(summary: &Summary, full: bool) -> String {
    match summary.image.as_str() {
        "" => "<no image>".to_owned(),
        image if full => image.to_owned(),
        // An image that lost its name is told by its id.
        image if image == summary.image_id => short_id(image).to_owned(),
        image => match image.split_once('@') {
            Some((name, _)) if name.contains(':') => name.to_owned(),
            _ => image.to_owned(),
        },
    }
}

fn size(summary: &Summary) -> String {
    let own = human_size_with_precision(summary.size_rw, 3);
    if summary.size_root_fs > 0 {
        format!("{own} (virtual {})", human_size_with_precision(summary.size_root_fs, 3))
    } else {
        own
    }
}

fn mounts(summary: &Summary, full: bool) -> String {
    let shown: Vec<String> = summary
        .mounts
        .iter()
        .map(|mount| {
            let name = if mount.name.is_empty() { &mount.source } else { &mount.name };
            if full { name.clone() } else { ellipsis(name, MOUNT_WIDTH) }
        })
        .collect();
    shown.join(",")
}
