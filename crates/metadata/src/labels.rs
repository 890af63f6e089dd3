//! Labels of stored things: their limits, and partial updates by field paths.

use std::collections::BTreeMap;

use errors::{ErrorKind, Kind};

/// Labels in order of their keys; none has an empty value (containerd takes that as a removal).
pub type Labels = BTreeMap<String, String>;

/// containerd's limit for a key and its value together.
const MAX_LABEL_BYTES: usize = 4096;
/// How much of a too long key an error shows.
const SHOWN_KEY_CHARS: usize = 64;

/// Labels that are not allowed, or a field that cannot be updated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    #[error(
        "label key and value length ({bytes} bytes) greater than maximum size ({MAX_LABEL_BYTES} bytes), key: {key}"
    )]
    TooLong { key: String, bytes: usize },
    #[error("cannot update {field:?} field on {thing:?}")]
    Field { field: String, thing: String },
}

impl Kind for LabelError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Checks the limits and drops labels without a value.
pub fn checked(labels: impl IntoIterator<Item = (String, String)>) -> Result<Labels, LabelError> {
    let mut kept = Labels::new();
    for (key, value) in labels {
        let bytes = key.len() + value.len();
        if bytes > MAX_LABEL_BYTES {
            return Err(LabelError::TooLong { key: key.chars().take(SHOWN_KEY_CHARS).collect(), bytes });
        }
        if !value.is_empty() {
            kept.insert(key, value);
        }
    }
    Ok(kept)
}

/// What `current` becomes when `given` is applied under an update mask: nothing or `labels` replaces all of them,
/// `labels.KEY` sets one (or removes it where `given` has no value). Another field is an error.
pub fn updated(current: &Labels, given: &Labels, mask: &[String], thing: &str) -> Result<Labels, LabelError> {
    let mut result = if mask.is_empty() { given.clone() } else { current.clone() };
    for field in mask {
        if field == "labels" {
            result = given.clone();
        } else if let Some(key) = field.strip_prefix("labels.") {
            match given.get(key) {
                Some(value) => result.insert(key.to_owned(), value.clone()),
                None => result.remove(key),
            };
        } else {
            return Err(LabelError::Field { field: field.clone(), thing: thing.to_owned() });
        }
    }
    checked(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_mask_chooses_what_changes() {
        let current = labels(&[("a", "1"), ("b.c/d", "2")]);
        let given = labels(&[("a", "9"), ("e", "5")]);
        let update =
            |mask: &[&str]| updated(&current, &given, &mask.iter().map(ToString::to_string).collect::<Vec<_>>(), "x");
        assert_eq!(update(&[]), Ok(given.clone()));
        assert_eq!(update(&["labels"]), Ok(given.clone()));
        assert_eq!(update(&["labels.e", "labels.b.c/d"]), Ok(labels(&[("a", "1"), ("e", "5")])));
        let error = update(&["size"]).expect_err("no such field");
        assert_eq!(error.to_string(), r#"cannot update "size" field on "x""#);
    }

    #[test]
    fn a_label_has_4096_bytes_at_most_and_an_empty_value_is_no_label() {
        let long = checked([("k".to_owned(), "v".repeat(4096))]).expect_err("too long");
        assert_eq!(
            long.to_string(),
            "label key and value length (4097 bytes) greater than maximum size (4096 bytes), key: k"
        );
        assert_eq!(checked([("k".to_owned(), String::new())]), Ok(Labels::new()));
    }
}
