//! `docker events`.

use engine_api::event::Event;
use engine_client::Request;
use serde_json::Value as Json;

use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::container::list::read_filters;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::inspect::OBJECT_FORMAT_USAGE;
use crate::template::{Mode, Template, Value};
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
    let format = EventFormat::new(flags.text("format"))?;
    let time = |name: &str| match flags.text(name) {
        "" => Ok(String::new()),
        text => query_time(text).map_err(Failure::Text),
    };
    let request = Request::get("/events")
        .with_some("filters", read_filters(flags)?.encode().unwrap_or_default())
        .with_some("since", time("since")?)
        .with_some("until", time("until")?);
    let mut lines = context.client.stream(request).await?.lines();
    while let Some(event) = lines.next::<Json>().await? {
        context::print(&format.line(event)?)?;
    }
    Ok(0)
}

/// How an event is shown.
enum EventFormat {
    Plain,
    Json,
    Template(Template),
}

impl EventFormat {
    /// A template that names what no event has is refused before anything is asked.
    fn new(asked: &str) -> Result<Self, Failure> {
        let refused =
            |error: String| Failure::Status { code: USAGE, message: format!("Error parsing format: {error}") };
        match asked {
            "" => Ok(Self::Plain),
            "json" | "{{json .}}" => Ok(Self::Json),
            text => {
                let text = text.replace("\\t", "\t").replace("\\n", "\n");
                let template = Template::parse(&text).map_err(|error| refused(error.to_string()))?;
                fill(&template, &Event::default()).map_err(refused)?;
                Ok(Self::Template(template))
            }
        }
    }

    fn line(&self, event: Json) -> Result<String, Failure> {
        let read = |event| serde_json::from_value::<Event>(event).map_err(|error| Failure::Text(error.to_string()));
        match self {
            Self::Plain => Ok(plain(&read(event)?)),
            Self::Json => Ok(format!("{event}\n")),
            Self::Template(template) => fill(template, &read(event)?).map(|text| text + "\n").map_err(Failure::Text),
        }
    }
}

/// Exit status for a template that cannot be used (sysexits' EX_USAGE, as in Docker).
const USAGE: u8 = 64;

fn fill(template: &Template, event: &Event) -> Result<String, String> {
    let text = |text: &str| Value::text(text);
    let attributes = event.actor.attributes.iter().map(|(key, value)| (key.clone(), text(value))).collect();
    let members = vec![
        ("Status", text(&event.status)),
        ("ID", text(&event.id)),
        ("From", text(&event.from)),
        ("Type", text(&event.kind)),
        ("Action", text(&event.action)),
        (
            "Actor",
            Value::structure(vec![
                ("ID".to_owned(), text(&event.actor.id)),
                ("Attributes".to_owned(), Value::Map(attributes)),
            ]),
        ),
        ("Scope", text(&event.scope)),
        ("Time", Value::Int(event.time)),
        ("TimeNano", Value::Int(event.time_nano)),
    ];
    let members = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    template.render(&Value::structure(members), Mode::Object).map_err(|error| {
        let error = error.to_string();
        match error.split_once("map has no entry for key ") {
            Some((before, field)) => {
                format!("{before}can't evaluate field {} in type *events.Message", field.trim_matches('"'))
            }
            None => error,
        }
    })
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
