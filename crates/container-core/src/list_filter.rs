//! Which containers `docker ps --filter` shows.

use std::collections::BTreeMap;

use crate::ConfigError;
use crate::state::State;

/// Checked filters; values of one key are alternatives (of `label` all must hold), keys must all hold.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    wanted: BTreeMap<String, Vec<String>>,
}

/// What the filters look at. The service has resolved what needs other containers and images.
#[derive(Debug, Clone)]
pub struct ListFacts<'a> {
    pub id: &'a str,
    /// Without the slash.
    pub name: &'a str,
    pub labels: &'a BTreeMap<String, String>,
    pub state: &'a State,
    /// Names and ids.
    pub networks: Vec<&'a str>,
    /// `80/tcp`.
    pub exposed: Vec<&'a str>,
    /// The host's side: `8080/tcp`.
    pub published: Vec<String>,
    /// Names of volumes and places of mounts.
    pub volumes: Vec<&'a str>,
    /// `none` where nothing is probed.
    pub health: &'static str,
}

const KEYS: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "isolation",
    "is-task",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];
/// Of a network's id, whose beginning is enough.
const ID_DIGITS: usize = 64;
const STATES: [&str; 7] = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];

impl ListFilter {
    pub fn new(wanted: BTreeMap<String, Vec<String>>) -> Result<Self, ConfigError> {
        if let Some(unknown) = wanted.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(ConfigError::Value(format!("invalid filter '{unknown}'")));
        }
        for (key, values) in &wanted {
            for value in values {
                check(key, value)?;
            }
        }
        Ok(Self { wanted })
    }

    /// The values of a key; `ancestor`, `before` and `since` are for the service to resolve.
    pub fn values(&self, key: &str) -> &[String] {
        self.wanted.get(key).map_or(&[], Vec::as_slice)
    }

    /// A filter for states looks at containers that do not run, too.
    pub fn asks_for_all(&self) -> bool {
        !self.values("status").is_empty() || !self.values("exited").is_empty()
    }

    /// Everything but `ancestor`, `before` and `since`.
    pub fn accepts(&self, facts: &ListFacts<'_>) -> bool {
        self.wanted.iter().filter(|(_, values)| !values.is_empty()).all(|(key, values)| match key.as_str() {
            "label" => values.iter().all(|value| has_label(value, facts.labels)),
            // One of either is enough, as in Docker.
            "publish" | "expose" => {
                ["publish", "expose"].iter().any(|key| self.values(key).iter().any(|value| holds(key, value, facts)))
            }
            key => values.iter().any(|value| holds(key, value, facts)),
        })
    }
}

fn check(key: &str, value: &str) -> Result<(), ConfigError> {
    let wrong = |why: String| Err(ConfigError::Value(format!("invalid filter '{key}={value}'{why}")));
    match key {
        "status" if !STATES.contains(&value) => {
            wrong(format!(": invalid value for state ({value}): must be one of {}", STATES.join(", ")))
        }
        "exited" if value.parse::<i32>().is_err() => {
            wrong(format!(": strconv.Atoi: parsing \"{value}\": invalid syntax"))
        }
        "health" if !["none", "starting", "healthy", "unhealthy"].contains(&value) => {
            wrong(format!(": invalid value for health ({value}): must be one of none, starting, healthy, unhealthy"))
        }
        "publish" | "expose" if port_range(value).is_none() => wrong(String::new()),
        "is-task" if !["0", "1", "false", "true"].contains(&value) => {
            Err(ConfigError::Value(format!("invalid filter '{key}=[{value}]'")))
        }
        "name" | "id" => match regex_lite::Regex::new(value) {
            Ok(_) => Ok(()),
            Err(error) => wrong(format!(": {error}")),
        },
        _ => Ok(()),
    }
}

fn holds(key: &str, value: &str, facts: &ListFacts<'_>) -> bool {
    match key {
        "id" => facts.id.starts_with(value) || matches(value, facts.id),
        // Docker matches with and without the slash that its names carry.
        "name" => matches(value, facts.name) || matches(value, &format!("/{}", facts.name)),
        "status" => facts.state.word() == value,
        "exited" => {
            let code = value.parse().unwrap_or(i32::MIN);
            !facts.state.counts_as_running() && facts.state.started().is_some() && facts.state.exit_code() == code
        }
        "network" => {
            facts.networks.iter().any(|known| *known == value || (known.len() == ID_DIGITS && known.starts_with(value)))
        }
        "volume" => facts.volumes.contains(&value),
        "publish" => in_range(value, facts.published.iter().map(String::as_str)),
        "expose" => in_range(value, facts.exposed.iter().copied()),
        "health" => value == facts.health,
        "is-task" => value == "false" || value == "0",
        // A word of Windows: everything else has it, as in Docker.
        "isolation" => true,
        _ => true,
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    regex_lite::Regex::new(pattern).is_ok_and(|regex| regex.is_match(text))
}

fn has_label(wanted: &str, labels: &BTreeMap<String, String>) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|known| known == value),
        None => labels.contains_key(wanted),
    }
}

/// `80`, `80/udp`, `8000-8010/tcp`.
fn port_range(text: &str) -> Option<(u16, u16, &str)> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last, protocol))
}

fn in_range<'a>(wanted: &str, mut ports: impl Iterator<Item = &'a str>) -> bool {
    let Some((first, last, protocol)) = port_range(wanted) else { return false };
    ports.any(|port| port_range(port).is_some_and(|(port, _, of)| of == protocol && (first..=last).contains(&port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Event;
    use crate::time::Timestamp;

    fn accepts(pairs: &[(&str, &str)]) -> bool {
        let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in pairs {
            wanted.entry((*key).to_owned()).or_default().push((*value).to_owned());
        }
        let state = State::default()
            .after(Event::Started { pid: 1, at: Timestamp(1) })
            .unwrap()
            .after(Event::Exited { code: 3, at: Timestamp(2), restart: false })
            .unwrap();
        let labels = BTreeMap::from([("team".to_owned(), "blue".to_owned())]);
        let facts = ListFacts {
            id: "abcdef0123456789",
            name: "web_1",
            labels: &labels,
            state: &state,
            networks: vec!["bridge", "0123456789abcdef"],
            exposed: vec!["80/tcp"],
            published: vec!["8080/tcp".to_owned()],
            volumes: vec!["data", "/var/data"],
            health: "none",
        };
        ListFilter::new(wanted).unwrap().accepts(&facts)
    }

    #[test]
    fn keys_must_all_hold_values_are_alternatives_and_labels_add_up() {
        assert!(accepts(&[]));
        assert!(accepts(&[("status", "running"), ("status", "exited"), ("name", "web")]));
        assert!(!accepts(&[("status", "exited"), ("name", "db")]));
        assert!(accepts(&[("label", "team"), ("label", "team=blue")]));
        assert!(!accepts(&[("label", "team"), ("label", "other")]));
    }

    #[test]
    fn names_are_patterns_with_or_without_the_slash() {
        for pattern in ["^/web_1$", "^web", "eb_.$"] {
            assert!(accepts(&[("name", pattern)]), "{pattern}");
        }
        assert!(!accepts(&[("name", "^eb")]));
    }

    #[test]
    fn exit_codes_ports_networks_and_volumes_are_found() {
        assert!(accepts(&[("exited", "3"), ("expose", "79-81"), ("publish", "8080/tcp"), ("network", "bridge")]));
        assert!(accepts(&[("volume", "/var/data"), ("health", "none"), ("id", "abc")]));
        assert!(!accepts(&[("exited", "0")]));
        assert!(!accepts(&[("publish", "8080/udp")]));
        assert!(accepts(&[("publish", "8080/udp"), ("expose", "80/tcp")]), "one of the two is enough");
    }

    #[test]
    fn what_no_filter_is_gets_dockers_words() {
        let refuse = |key: &str, value: &str| {
            ListFilter::new(BTreeMap::from([(key.to_owned(), vec![value.to_owned()])])).unwrap_err().to_string()
        };
        assert_eq!(refuse("colour", "x"), "invalid filter 'colour'");
        assert_eq!(refuse("exited", "x"), "invalid filter 'exited=x': strconv.Atoi: parsing \"x\": invalid syntax");
        assert!(refuse("status", "up").starts_with("invalid filter 'status=up': invalid value for state (up)"));
        assert!(refuse("name", "(").starts_with("invalid filter 'name=('"));
    }
}
