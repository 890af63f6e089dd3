//! The daemon's own log, on stderr: text, or a JSON object a line as Docker writes it.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::options::Config;

/// Their log level is the one asked for; libraries warn only.
const OWN_CRATES: [&str; 9] = [
    "dockerd",
    "engine_http",
    "containers",
    "images",
    "networks",
    "metadata",
    "registry_client",
    "containerd_client",
    "plugin_client",
];

/// Changes the level while the daemon runs.
#[derive(Clone)]
pub struct Level(reload::Handle<EnvFilter, Registry>);

/// Starts the log of this process.
pub fn start(config: &Config) -> Level {
    let (filter, handle) = reload::Layer::new(filter(config));
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    if config.log_format.as_deref() == Some("json") {
        registry.with(lines.event_format(JsonLines)).init();
    } else {
        registry.with(lines).init();
    }
    Level(handle)
}

impl Level {
    pub fn follow(&self, config: &Config) {
        if let Err(error) = self.0.reload(filter(config)) {
            tracing::warn!(%error, "the log level stays");
        }
    }
}

fn filter(config: &Config) -> EnvFilter {
    let level = match (config.debug(), config.log_level.as_deref().unwrap_or_default().to_lowercase().as_str()) {
        (true, _) => "debug",
        (false, "fatal" | "panic" | "error") => "error",
        (false, level @ ("warn" | "debug" | "trace")) => level,
        (false, _) => "info",
    }
    .to_owned();
    EnvFilter::new(format!("warn,{}", OWN_CRATES.map(|name| format!("{name}={level}")).join(",")))
}

/// `{"level":"info","msg":"…","time":"…"}` and the fields, sorted.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = match *event.metadata().level() {
            tracing::Level::WARN => "warning".to_owned(),
            level => level.to_string().to_lowercase(),
        };
        let message = fields.0.remove("message").unwrap_or_default();
        fields.0.insert("level".to_owned(), level.into());
        fields.0.insert("msg".to_owned(), message);
        fields.0.insert("time".to_owned(), Timestamp::now().to_string().into());
        writeln!(writer, "{}", Value::Object(Map::from_iter(fields.0)))
    }
}

#[derive(Default)]
struct Fields(BTreeMap<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}
