//! What is stored of a volume, and what lives in memory beside it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use metadata::Table;
use serde::{Deserialize, Serialize};

use crate::{ANONYMOUS, LOCAL};

/// Key: the volume's name.
pub(crate) const VOLUMES: Table<Record> = Table::new("volumes");

/// The intent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Record {
    /// Nanoseconds since 1970.
    pub created: i64,
    /// Empty: the local one.
    pub driver: String,
    pub labels: Option<BTreeMap<String, String>>,
    pub options: Option<BTreeMap<String, String>>,
    pub step: Step,
    /// As the first versions of this table said it; a label says it now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub anonymous: bool,
}

/// Where a volume is in its life. What is no longer or not yet [`Step::Ready`] is looked at before it is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Step {
    #[default]
    Ready,
    Making,
    Removing,
}

impl Record {
    pub fn driver(&self) -> &str {
        if self.driver.is_empty() { LOCAL } else { &self.driver }
    }

    pub fn is_local(&self) -> bool {
        self.driver() == LOCAL
    }

    pub fn options(&self) -> &BTreeMap<String, String> {
        const NONE: &BTreeMap<String, String> = &BTreeMap::new();
        self.options.as_ref().unwrap_or(NONE)
    }

    /// A record of whatever version as one of this.
    pub fn brought_up(mut self) -> Self {
        if std::mem::take(&mut self.anonymous) {
            self.labels.get_or_insert_default().entry(ANONYMOUS.to_owned()).or_default();
        }
        self
    }
}

/// All volumes, and who uses them.
#[derive(Default)]
pub(crate) struct Index {
    pub records: BTreeMap<String, Arc<Record>>,
    /// Ids of containers, also for names that no volume has (any more).
    pub users: HashMap<String, BTreeSet<String>>,
    gates: HashMap<String, Arc<tokio::sync::Mutex<()>>>,
}

impl Index {
    /// What is held over everything that happens to one volume. Gates that nobody holds go when others are made.
    pub fn gate(&mut self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        if !self.gates.contains_key(name) {
            self.gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        }
        Arc::clone(self.gates.entry(name.to_owned()).or_default())
    }

    pub fn users_of(&self, name: &str) -> Vec<String> {
        self.users.get(name).into_iter().flatten().cloned().collect()
    }

    pub fn use_by(&mut self, name: &str, user: &str) {
        self.users.entry(name.to_owned()).or_default().insert(user.to_owned());
    }

    pub fn release(&mut self, name: &str, user: &str) {
        if let Some(users) = self.users.get_mut(name) {
            users.remove(user);
            if users.is_empty() {
                self.users.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_the_first_version_are_read() {
        let old: Record = serde_json::from_str(r#"{"created":7,"anonymous":true}"#).unwrap();
        let new = old.brought_up();
        assert_eq!(
            (new.driver(), new.step, new.labels.as_ref().is_some_and(|labels| labels.contains_key(ANONYMOUS))),
            (LOCAL, Step::Ready, true)
        );
        assert!(!serde_json::to_string(&new).unwrap().contains("\"anonymous\""));
    }

    #[test]
    fn gates_are_one_a_name_and_do_not_pile_up() {
        let mut index = Index::default();
        let first = index.gate("a");
        assert!(Arc::ptr_eq(&first, &index.gate("a")));
        for number in 0..100 {
            index.gate(&number.to_string());
        }
        assert!(index.gates.len() <= 3);
    }
}
