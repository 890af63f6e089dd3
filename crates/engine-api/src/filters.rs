//! The query parameter `filters`: `{"status":{"running":true}}`, or, before API 1.22, `{"status":["running"]}`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// Longest encoded filter that is read.
pub const MAX_ENCODED: usize = 64 * 1024;

/// Filter terms: key to wanted values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, BTreeSet<String>>);

/// A parameter that is no filter, or a term nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("invalid filter")]
    Malformed,
    #[error("invalid filter '{0}'")]
    Unknown(String),
    #[error("invalid filter '{key}=[{value}]'")]
    Value { key: String, value: String },
}

impl errors::Kind for FilterError {
    fn kind(&self) -> errors::ErrorKind {
        errors::ErrorKind::InvalidArgument
    }
}

impl Filters {
    /// From the parameter; empty text is no filter.
    pub fn parse(encoded: &str) -> Result<Self, FilterError> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Values {
            Set(BTreeMap<String, bool>),
            List(Vec<String>),
        }
        if encoded.is_empty() {
            return Ok(Self::default());
        }
        if encoded.len() > MAX_ENCODED {
            return Err(FilterError::Malformed);
        }
        let terms: BTreeMap<String, Values> = serde_json::from_str(encoded).map_err(|_| FilterError::Malformed)?;
        let terms = terms.into_iter().map(|(key, values)| {
            let values = match values {
                Values::Set(set) => set.into_iter().filter_map(|(value, wanted)| wanted.then_some(value)).collect(),
                Values::List(list) => list.into_iter().collect(),
            };
            (key, values)
        });
        Ok(Self(terms.collect()))
    }

    /// The parameter's text; `None` without terms.
    pub fn encode(&self) -> Option<String> {
        let set: BTreeMap<&str, BTreeMap<&str, bool>> = self
            .0
            .iter()
            .map(|(key, values)| (key.as_str(), values.iter().map(|value| (value.as_str(), true)).collect()))
            .collect();
        (!set.is_empty()).then(|| {
            serde_json::Value::from_iter(set.into_iter().map(|(key, values)| {
                (key.to_owned(), serde_json::Value::from_iter(values.into_iter().map(|(v, on)| (v.to_owned(), on))))
            }))
            .to_string()
        })
    }

    pub fn add(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.entry(key.into()).or_default().insert(value.into());
    }

    /// Wanted values of a key; empty when the key was not given.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Refuses a key outside `accepted`.
    pub fn check_keys(&self, accepted: &[&str]) -> Result<(), FilterError> {
        match self.0.keys().find(|key| !accepted.contains(&key.as_str())) {
            Some(key) => Err(FilterError::Unknown(key.clone())),
            None => Ok(()),
        }
    }

    /// The one truth value of a key (`dangling`), `default` when it was not given.
    pub fn truth(&self, key: &str, default: bool) -> Result<bool, FilterError> {
        let truths: BTreeSet<Option<bool>> = self
            .values(key)
            .map(|value| match value {
                "1" | "true" => Some(true),
                "0" | "false" => Some(false),
                _ => None,
            })
            .collect();
        match truths.iter().collect::<Vec<_>>()[..] {
            [] => Ok(default),
            [Some(truth)] => Ok(*truth),
            _ => Err(FilterError::Value { key: key.to_owned(), value: self.values(key).collect::<Vec<_>>().join(",") }),
        }
    }

    /// Whether labels satisfy every `label=key` and `label=key=value` term.
    pub fn match_labels(&self, labels: &crate::StringMap) -> bool {
        self.values("label").all(|term| match term.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
            None => labels.contains_key(term),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_are_read_and_the_new_one_is_written() {
        let new = Filters::parse(r#"{"label":{"a":true,"b=1":true},"status":{"exited":false}}"#).unwrap();
        let old = Filters::parse(r#"{"label":["a","b=1"],"status":[]}"#).unwrap();
        assert_eq!(new, old);
        let mut filters = Filters::default();
        assert_eq!(filters.encode(), None);
        filters.add("name", "x");
        assert_eq!(filters.encode().as_deref(), Some(r#"{"name":{"x":true}}"#));
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for text in ["x", "[]", r#"{"a":1}"#, r#"{"a":{"b":2}}"#, &"{".repeat(MAX_ENCODED + 1)] {
            assert_eq!(Filters::parse(text), Err(FilterError::Malformed));
        }
        let filters = Filters::parse(r#"{"colour":["red"]}"#).unwrap();
        assert_eq!(filters.check_keys(&["name"]).unwrap_err().to_string(), "invalid filter 'colour'");
        let filters = Filters::parse(r#"{"dangling":["maybe"]}"#).unwrap();
        assert_eq!(filters.truth("dangling", false).unwrap_err().to_string(), "invalid filter 'dangling=[maybe]'");
    }

    #[test]
    fn labels_match_by_presence_and_by_value() {
        let labels = crate::StringMap::from([("a".into(), "1".into())]);
        let matches = |text: &str| Filters::parse(text).unwrap().match_labels(&labels);
        assert!(matches(r#"{"label":["a","a=1"]}"#));
        assert!(!matches(r#"{"label":["a","b"]}"#));
        assert!(!matches(r#"{"label":["a=2"]}"#));
        assert!(matches(""));
    }
}
