//! Which events a subscriber wants: Docker's filters of `GET /events`.

use std::collections::BTreeMap;

use crate::{Event, Subject};

/// Values of one key are alternatives, keys must all hold. An empty filter accepts everything.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    wanted: BTreeMap<String, Vec<String>>,
}

impl Filter {
    /// From key → values; the error is the first key that no filter has.
    pub fn new(wanted: BTreeMap<String, Vec<String>>) -> Result<Self, String> {
        const KEYS: [&str; 15] = [
            "config",
            "container",
            "daemon",
            "event",
            "image",
            "label",
            "network",
            "node",
            "plugin",
            "scope",
            "secret",
            "service",
            "type",
            "volume",
            "until",
        ];
        match wanted.keys().find(|key| !KEYS.contains(&key.as_str())) {
            Some(unknown) => Err(unknown.clone()),
            None => Ok(Self { wanted }),
        }
    }

    pub fn accepts(&self, event: &Event) -> bool {
        self.wanted.iter().all(|(key, values)| values.is_empty() || values.iter().any(|value| holds(key, value, event)))
    }
}

fn holds(key: &str, value: &str, event: &Event) -> bool {
    match key {
        "type" => event.subject.as_str() == value,
        "event" => event.action == value || event.action.split_once(": ").is_some_and(|(verb, _)| verb == value),
        "scope" => value == "local",
        "label" => has_label(value, &event.attributes),
        "container" => is_object(Subject::Container, value, event),
        "network" => is_object(Subject::Network, value, event),
        "volume" => is_object(Subject::Volume, value, event),
        "daemon" => is_object(Subject::Daemon, value, event),
        "image" => is_image(value, event),
        _ => false,
    }
}

fn has_label(wanted: &str, attributes: &BTreeMap<String, String>) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => attributes.get(key).is_some_and(|v| v == value),
        None => attributes.contains_key(wanted),
    }
}

/// By id, by a prefix of the id, or by name.
fn is_object(subject: Subject, value: &str, event: &Event) -> bool {
    event.subject == subject
        && (event.id.starts_with(value)
            || event.attributes.get("name").is_some_and(|name| name == value.trim_start_matches('/')))
}

/// An image's own events, and those of containers made from it; a name without tag means every tag.
fn is_image(value: &str, event: &Event) -> bool {
    let named = match event.subject {
        Subject::Image => {
            Some(event.id.as_str()).into_iter().chain(event.attributes.get("name").map(String::as_str)).collect()
        }
        Subject::Container => event.attributes.get("image").map(String::as_str).into_iter().collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    named.iter().any(|name| *name == value || without_tag(name) == value)
}

fn without_tag(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((bare, tag)) if !tag.contains('/') => bare,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(pairs: &[(&str, &[&str])]) -> Filter {
        let wanted = pairs.iter().map(|(k, v)| (k.to_string(), v.iter().map(|v| v.to_string()).collect())).collect();
        Filter::new(wanted).unwrap()
    }

    fn exec_event() -> Event {
        let attributes = [("name", "web"), ("image", "app:v1"), ("team", "blue")];
        Event {
            subject: Subject::Container,
            action: "exec_start: sh -c true".into(),
            id: "0123456789ab".into(),
            attributes: attributes.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
            time_ns: 0,
        }
    }

    #[test]
    fn keys_must_all_hold_and_values_are_alternatives() {
        let event = exec_event();
        assert!(filter(&[]).accepts(&event));
        assert!(filter(&[("type", &["image", "container"]), ("container", &["web"])]).accepts(&event));
        assert!(!filter(&[("type", &["container"]), ("container", &["db"])]).accepts(&event));
        assert!(filter(&[("event", &["exec_start"]), ("label", &["team=blue"]), ("image", &["app"])]).accepts(&event));
        assert!(!filter(&[("network", &["web"])]).accepts(&event));
    }

    #[test]
    fn an_unknown_key_is_named() {
        assert_eq!(Filter::new(BTreeMap::from([("colour".to_owned(), vec![])])).unwrap_err(), "colour");
    }
}
