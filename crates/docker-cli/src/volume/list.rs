//! `docker volume ls`.

use engine_api::StringMap;
use engine_api::volume::{ListResponse, Volume};
use engine_client::Request;

use crate::command::{Args, Command, Daemons, Flag, Kind, Matches, NONE, flag};
use crate::container::list::{FORMAT_USAGE, read_filters};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::format::{self, Column, Field, Format};
use crate::network::list::natural;
use crate::template::Value;
use crate::text::size::human_size;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("cluster", NONE, Kind::Bool, "", "Display only cluster volumes, and use cluster volume list formatting").only(Daemons::SwarmManager),
    flag("filter", 'f', Kind::Filter, "", "Provide filter values (e.g. \"dangling=true\")"),
    flag("format", NONE, Kind::Text, "", FORMAT_USAGE),
    flag("quiet", 'q', Kind::Bool, "", "Only display volume names"),
];

pub const COMMAND: Command = Command {
    name: "ls",
    names: &["list"],
    usage: "[OPTIONS]",
    about: "List volumes",
    aliases: "docker volume ls, docker volume list",
    flags: &[FLAGS],
    args: Args::None,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

const TABLE: &str = "{{.Driver}}\t{{.Name}}";
const RAW: &str = "name: {{.Name}}\ndriver: {{.Driver}}\n";
const CLUSTER_TABLE: &str = "table {{.Name}}\t{{.Group}}\t{{.Driver}}\t{{.Availability}}\t{{.Status}}";

pub const COLUMNS: &[Column] = &[
    ("ID", "ID"),
    ("Name", "VOLUME NAME"),
    ("Group", "GROUP"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("Availability", "AVAILABILITY"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Size", "SIZE"),
    ("Status", "STATUS"),
];

/// What is shown of something that is not known, or not there.
const UNKNOWN: &str = "N/A";

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let (quiet, cluster) = (flags.is_set("quiet"), flags.is_set("cluster"));
    let asked = match flags.text("format") {
        _ if cluster && quiet => "{{.Name}}",
        _ if cluster => CLUSTER_TABLE,
        "" if quiet => "{{.Name}}",
        "" if !context.config.volumes_format.is_empty() => context.config.volumes_format.as_str(),
        "table" if quiet => "{{.Name}}",
        "raw" if quiet => "name: {{.Name}}",
        "raw" => RAW,
        asked => asked,
    };
    let format = Format::new(asked, TABLE, "volumeContext");
    format.check()?;
    let request = Request::get("/volumes").with_some("filters", read_filters(flags)?.encode().unwrap_or_default());
    let mut list = context.client.call::<ListResponse>(request).await?.volumes;
    if cluster {
        list.clear();
    }
    list.sort_by_key(|volume| natural(&volume.name));
    context::print(&format.render(COLUMNS, list.iter().map(row).collect())?)?;
    Ok(0)
}

pub fn row(volume: &Volume) -> Vec<Field> {
    let usage = volume.usage_data.as_ref();
    let labels: StringMap = volume.labels.clone().unwrap_or_default();
    vec![
        ("Name", Value::text(volume.name.as_str())),
        ("Group", Value::text(UNKNOWN)),
        ("Driver", Value::text(volume.driver.as_str())),
        ("Scope", Value::text(volume.scope.as_str())),
        ("Availability", Value::text(UNKNOWN)),
        ("Mountpoint", Value::text(volume.mountpoint.as_str())),
        ("Labels", Value::text(format::join_labels(&labels))),
        ("Label", format::label_method(labels)),
        ("Links", Value::text(usage.map_or_else(|| UNKNOWN.to_owned(), |usage| usage.ref_count.to_string()))),
        ("Size", Value::text(usage.map_or_else(|| UNKNOWN.to_owned(), |usage| human_size(usage.size)))),
        ("Status", Value::text(UNKNOWN)),
    ]
}
