//! SIGHUP: takes from `daemon.json` what may change while the daemon runs, as Docker does.
//!
//! A key that is not in the file keeps its value, except for the numbers of concurrent transfers and the features, which
//! go back to their defaults. A file with a mistake changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engine_http::Api;
use events::{Event, Subject};
use jiff::Timestamp;
use serde_json::json;

use crate::facts::Facts;
use crate::log::Level;
use crate::options::{Config, Options};
use crate::settings;

/// What a reload acts on.
pub struct Reloading {
    pub options: Arc<Options>,
    pub facts: Arc<Facts>,
    pub api: Arc<Api>,
    pub level: Level,
}

impl Reloading {
    pub async fn reload(&self) {
        let file = self.options.file().display().to_string();
        tracing::info!(config_file = file, "Got signal to reload configuration");
        let (new, keys) = match self.options.read_again() {
            Ok(read) => read,
            Err(error) => return tracing::error!(%error, "Error reloading configuration"),
        };
        let config = Arc::new(merged(&self.facts.config(), &new, &keys));
        // Plugins first: without them nothing may be let through.
        if let Err(error) = self.api.authorization.set(&config.authorization_plugins).await {
            return tracing::error!(error = errors::chain(&error), "Error validating authorization plugin");
        }
        let registries = settings::registry_options(&config);
        self.api.images.configure(registries, settings::downloads(&config), settings::uploads(&config));
        self.api.images.set_limit(settings::image_store_limit(&config));
        if let Err(error) = self.api.containers.configure(settings::defaults(&config)) {
            return tracing::error!(error = errors::chain(&error), "Error reconfiguring the daemon");
        }
        self.level.follow(&config);
        self.facts.replace(Arc::clone(&config));
        self.api.events.publish(Event {
            subject: Subject::Daemon,
            action: "reload".to_owned(),
            id: self.facts.id().to_owned(),
            attributes: attributes(&config, self.facts.host_name()),
            time_ns: i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX),
        });
        tracing::info!("Reloaded configuration");
    }
}

/// The running configuration with what the file sets anew.
fn merged(running: &Config, new: &Config, keys: &BTreeSet<String>) -> Config {
    let mut config = running.clone();
    macro_rules! take {
        ($($field:ident = $key:literal),*) => {
            $(if keys.contains($key) { config.$field = new.$field.clone(); })*
        };
    }
    take!(
        authorization_plugins = "authorization-plugins",
        debug = "debug",
        default_cgroupns_mode = "default-cgroupns-mode",
        default_ipc_mode = "default-ipc-mode",
        default_runtime = "default-runtime",
        default_shm_size = "default-shm-size",
        image_store_limit = "image-store-limit",
        insecure_registries = "insecure-registries",
        labels = "labels",
        live_restore = "live-restore",
        registry_mirrors = "registry-mirrors",
        runtimes = "runtimes",
        shutdown_timeout = "shutdown-timeout"
    );
    config.features = new.features.clone();
    config.max_concurrent_downloads = new.max_concurrent_downloads;
    config.max_concurrent_uploads = new.max_concurrent_uploads;
    config.max_download_attempts = new.max_download_attempts;
    config
}

/// What the event tells, in Docker's shapes.
fn attributes(config: &Config, host: &str) -> BTreeMap<String, String> {
    let number = |value: Option<i64>, default: i64| value.filter(|v| *v != 0).unwrap_or(default).to_string();
    let word = |value: &Option<String>, default: &str| {
        value.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| default.to_owned())
    };
    let runtimes: Vec<String> =
        config.runtimes.iter().map(|(name, runtime)| format!("{name}:{}", runtime.path)).collect();
    let features: Vec<String> = config.features.iter().map(|(name, on)| format!("{name}:{on}")).collect();
    let pairs = [
        ("debug", config.debug().to_string()),
        ("default-cgroupns-mode", word(&config.default_cgroupns_mode, "private")),
        ("default-ipc-mode", word(&config.default_ipc_mode, "private")),
        ("default-runtime", word(&config.default_runtime, "runc")),
        ("default-shm-size", number(config.default_shm_size, 64 << 20)),
        ("features", format!("map[{}]", features.join(" "))),
        ("image-store-limit", number(config.image_store_limit, 0)),
        ("insecure-registries", json!(config.insecure_registries).to_string()),
        ("labels", json!(config.labels).to_string()),
        ("live-restore", config.live_restore().to_string()),
        ("max-concurrent-downloads", number(config.max_concurrent_downloads, 3)),
        ("max-concurrent-uploads", number(config.max_concurrent_uploads, 5)),
        ("max-download-attempts", number(config.max_download_attempts, 5)),
        ("name", host.to_owned()),
        ("registry-mirrors", json!(config.registry_mirrors).to_string()),
        ("runtimes", runtimes.join(" ")),
        ("shutdown-timeout", config.shutdown_timeout.unwrap_or(15).to_string()),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_not_set_stay_and_some_go_back_to_their_defaults() {
        let running = Config {
            debug: Some(true),
            labels: vec!["a=1".to_owned()],
            max_concurrent_downloads: Some(9),
            mtu: Some(1400),
            ..Config::default()
        };
        let new = Config { labels: Vec::new(), mtu: Some(9000), ..Config::default() };
        let keys = BTreeSet::from(["labels".to_owned(), "mtu".to_owned()]);
        let config = merged(&running, &new, &keys);
        assert_eq!((config.debug, config.labels.len(), config.mtu), (Some(true), 0, Some(1400)));
        assert_eq!(config.max_concurrent_downloads, None);
    }

    #[test]
    fn the_event_tells_what_is_in_force() {
        let config = Config { labels: vec!["a=1".to_owned()], ..Config::default() };
        let attributes = attributes(&config, "host");
        assert_eq!(attributes["labels"], r#"["a=1"]"#);
        assert_eq!(attributes["max-concurrent-uploads"], "5");
        assert_eq!((attributes["features"].as_str(), attributes["insecure-registries"].as_str()), ("map[]", "[]"));
        assert_eq!((attributes["name"].as_str(), attributes["default-shm-size"].as_str()), ("host", "67108864"));
    }
}
