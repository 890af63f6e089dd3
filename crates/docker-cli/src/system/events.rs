//! `docker events`.

use engine_api::event::Event;
use engine_client::Request;
use serde_json::Value as Json;

use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::container::list::read_filters;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::format::object::ObjectFormat;
use crate::inspect::OBJECT_FORMAT_USAGE;
use crate::text::time::{local_rfc3339_nano, query_time};

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("filter", 'f', Kind::Filter, "", "Filter output based on conditions provided"),
    flag("format", NONE, Kind::Text, "", OBJECT_FORMAT_USAGE),
    flag("since", NONE, Kind::Text, "", "Show all events created since timestamp"),
    flag("until", NONE, Kind::Text, "", "Stream events until this timestamp"),
];

pub const COMMAND: Command = Command {
    name: "events",
    usage: "[OPTIONS]",
    about: "Get real time events from the server",
    aliases: "docker system events, docker events",
    flags: &[FLAGS],
    args: Args::None,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let time = |name: &str| match flags.text(name) {
        "" => Ok(String::new()),
        text => query_time(text).map_err(Failure::Text),
    };
    let asked = flags.text("format");
    let format = if asked.is_empty() { None } else { Some(ObjectFormat::new(asked)?) };
    let request = Request::get("/events")
        .with_some("filters", read_filters(flags)?.encode().unwrap_or_default())
        .with_some("since", time("since")?)
        .with_some("until", time("until")?);
    let mut lines = context.client.stream(request).await?.lines();
    while let Some(event) = lines.next::<Json>().await? {
        let line = match &format {
            Some(format) => format.render(&event)?,
            None => {
                let event: Event = serde_json::from_value(event).map_err(|error| Failure::Text(error.to_string()))?;
                plain(&event)
            }
        };
        context::print(&line)?;
    }
    Ok(0)
}

/// `2025-05-30T12:07:14.123456789Z container start ID (image=…, name=…)`.
fn plain(event: &Event) -> String {
    let nanoseconds = if event.time_nano == 0 { event.time.saturating_mul(1_000_000_000) } else { event.time_nano };
    let mut line = format!("{} {} {} {}", local_rfc3339_nano(nanoseconds), event.kind, event.action, event.actor.id);
    if !event.actor.attributes.is_empty() {
        let pairs: Vec<String> = event.actor.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        line.push_str(&format!(" ({})", pairs.join(", ")));
    }
    line.push('\n');
    line
}
