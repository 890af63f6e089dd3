//! `docker network ls`.

use engine_api::network::Network;
use engine_client::Request;

use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::container::list::{FORMAT_USAGE, read_filters};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::format::{self, Column, Field, Format};
use crate::template::Value;
use crate::text::ellipsis::short_id;
use crate::text::time;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("filter", 'f', Kind::Filter, "", "Provide filter values (e.g. \"driver=bridge\")"),
    flag("format", NONE, Kind::Text, "", FORMAT_USAGE),
    flag("no-trunc", NONE, Kind::Bool, "", "Do not truncate the output"),
    flag("quiet", 'q', Kind::Bool, "", "Only display network IDs"),
];

pub const COMMAND: Command = Command {
    name: "ls",
    names: &["list"],
    usage: "[OPTIONS]",
    about: "List networks",
    aliases: "docker network ls, docker network list",
    flags: &[FLAGS],
    args: Args::None,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

const TABLE: &str = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";

const RAW: &str = "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n";

const COLUMNS: &[Column] = &[
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
];

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let quiet = flags.is_set("quiet");
    let asked = match flags.text("format") {
        "" if quiet => "{{.ID}}",
        "" if !context.config.networks_format.is_empty() => context.config.networks_format.as_str(),
        "table" if quiet => "{{.ID}}",
        "raw" if quiet => "network_id: {{.ID}}",
        "raw" => RAW,
        asked => asked,
    };
    let format = Format::new(asked, TABLE, "network.networkContext");
    format.check()?;
    let request = Request::get("/networks").with_some("filters", read_filters(flags)?.encode().unwrap_or_default());
    let mut list: Vec<Network> = context.client.call(request).await?;
    list.sort_by_key(|network| natural(&network.name));
    let full = flags.is_set("no-trunc");
    let rows = list.iter().map(|network| row(network, full)).collect();
    context::print(&format.render(COLUMNS, rows)?)?;
    Ok(0)
}

/// Text and numbers in turn, so that `net9` stands before `net10`.
pub fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (text, behind) = rest.split_at(text_end);
        let digits_end = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
        let (digits, behind) = behind.split_at(digits_end);
        parts.push((text.to_owned(), digits.parse().unwrap_or(0)));
        rest = behind;
    }
    parts
}

fn row(network: &Network, full: bool) -> Vec<Field> {
    let id = if full { network.id.as_str() } else { short_id(&network.id) };
    vec![
        ("ID", Value::text(id)),
        ("Name", Value::text(network.name.as_str())),
        ("Driver", Value::text(network.driver.as_str())),
        ("Scope", Value::text(network.scope.as_str())),
        ("IPv4", Value::text(network.enable_ipv4.to_string())),
        ("IPv6", Value::text(network.enable_ipv6.to_string())),
        ("Internal", Value::text(network.internal.to_string())),
        ("Labels", Value::text(format::join_labels(&network.labels))),
        ("Label", format::label_method(network.labels.clone())),
        ("CreatedAt", Value::text(time::go_time(&network.created))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_sort_as_numbers() {
        let mut names = ["net10", "net9", "bridge", "net"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["bridge", "net", "net9", "net10"]);
    }
}
