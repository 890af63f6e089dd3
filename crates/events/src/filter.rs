//! Which events a subscriber wants: Docker's filters of `GET /events`.

use std::collections::BTreeMap;

use crate::{Event, Subject};

/// Values of one key are alternatives, except for labels, which must all be there; keys must all hold. An empty filter
/// accepts everything, and so does a key that no filter has: Docker does not look at it.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    wanted: BTreeMap<String, Vec<String>>,
}

impl Filter {
    /// From key → values.
    pub fn new(wanted: BTreeMap<String, Vec<String>>) -> Self {
        Self { wanted }
    }

    pub fn accepts(&self, event: &Event) -> bool {
        self.wanted.iter().all(|(key, values)| values.is_empty() || holds(key, values, event))
    }
}

fn holds(key: &str, values: &[String], event: &Event) -> bool {
    let any = |matches: &dyn Fn(&str) -> bool| values.iter().any(|value| matches(value));
    match key {
        "type" => any(&|value| event.subject.as_str() == value),
        "event" => is_action(values, &event.action),
        "scope" => any(&|value| "local".starts_with(value)),
        "label" => values.iter().all(|value| has_label(value, &event.attributes)),
        "container" | "network" | "volume" | "daemon" | "plugin" | "node" | "service" | "secret" | "config" => {
            any(&|value| is_object(value, event))
        }
        "image" => any(&|value| is_image(value, event)),
        _ => true,
    }
}

/// Exactly, unless one of the words whose actions have details behind them is asked for: then beginnings count.
fn is_action(values: &[String], action: &str) -> bool {
    const WITH_DETAILS: [&str; 3] = ["health_status", "exec_create", "exec_start"];
    let by_beginning = values.iter().any(|value| WITH_DETAILS.contains(&value.as_str()));
    values.iter().any(|value| action == value || (by_beginning && action.starts_with(value.as_str())))
}

fn has_label(wanted: &str, attributes: &BTreeMap<String, String>) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => attributes.get(key).is_some_and(|v| v == value),
        None => attributes.contains_key(wanted),
    }
}

/// By the beginning of the id or of the name.
fn is_object(value: &str, event: &Event) -> bool {
    let value = value.trim_start_matches('/');
    event.id.starts_with(value) || event.attributes.get("name").is_some_and(|name| name.starts_with(value))
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
        Filter::new(wanted)
    }

    fn exec_event() -> Event {
        let attributes = [("name", "web"), ("image", "app:v1"), ("team", "blue"), ("tier", "1")];
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
        for pairs in [
            &[] as &[(&str, &[&str])],
            &[("type", &["image", "container"]), ("container", &["web"])],
            &[("event", &["exec_start"]), ("label", &["team=blue", "tier"]), ("image", &["app"])],
            &[("event", &["exec_start: sh -c true"])],
            &[("container", &["0123"]), ("scope", &["local"])],
            &[("container", &["we"])],
            &[("colour", &["red"])],
            &[("container", &[])],
        ] {
            assert!(filter(pairs).accepts(&event), "{pairs:?}");
        }
        for pairs in [
            &[("type", &["container"] as &[&str]), ("container", &["db"])] as &[(&str, &[&str])],
            &[("event", &["exec"])],
            &[("label", &["team=blue", "tier=2"])],
            &[("scope", &["swarm"])],
            &[("image", &["app:v2"])],
        ] {
            assert!(!filter(pairs).accepts(&event), "{pairs:?}");
        }
    }
}
