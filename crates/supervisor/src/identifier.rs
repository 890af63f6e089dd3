//! Names of namespaces, containers, tasks, leases and the parts of a topic, as containerd's `pkg/identifiers` checks them.
//!
//! They become folder names (a bundle is `STATE/NAMESPACE/ID`), so the check is also what keeps a path inside its root.

use crate::error::Error;

/// The longest identifier.
pub const MAX_LENGTH: usize = 76;

/// Letters and digits, joined by single dots, dashes and underscores.
pub fn check(value: &str) -> Result<(), Error> {
    if value.is_empty() {
        return Err(Error::InvalidArgument("identifier must not be empty: invalid argument".to_owned()));
    }
    if value.len() > MAX_LENGTH {
        return Err(Error::InvalidArgument(format!(
            "identifier {value:?} greater than maximum length ({MAX_LENGTH} characters): invalid argument"
        )));
    }
    let parts_are_words = value
        .split(['.', '_', '-'])
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    if !parts_are_words {
        return Err(Error::InvalidArgument(format!(
            "identifier {value:?} must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$: invalid argument"
        )));
    }
    Ok(())
}

/// `/part/part`, each part an identifier.
pub fn check_topic(topic: &str) -> Result<(), Error> {
    let Some(rest) = topic.strip_prefix('/').filter(|rest| !rest.is_empty()) else {
        return Err(Error::InvalidArgument(format!(
            "envelope topic {topic:?}: must start with '/' and have at least one component: invalid argument"
        )));
    };
    rest.split('/').try_for_each(check)
}

/// The most bytes of a label, name and value together (containerd's `pkg/labels`).
const MAX_LABEL_BYTES: usize = 4096;

/// Labels within containerd's limit.
pub fn check_labels<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> Result<(), Error> {
    for (name, value) in labels {
        let length = name.len() + value.len();
        if length > MAX_LABEL_BYTES {
            let shown: String = name.chars().take(64).collect();
            return Err(Error::InvalidArgument(format!(
                "label key and value length ({length} bytes) greater than maximum size ({MAX_LABEL_BYTES} bytes), \
                 key: {shown}: invalid argument"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_joined_by_single_separators_are_identifiers() {
        for good in ["default", "a", "A-1_b.c", "0123"] {
            assert!(check(good).is_ok(), "{good:?} was refused");
        }
        for bad in ["", ".", "..", "a/b", "-a", "a-", "a--b", "a b", "é", &"x".repeat(77)] {
            assert!(check(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_topic_is_a_path_of_identifiers() {
        assert!(check_topic("/tasks/exit").is_ok());
        for bad in ["", "/", "tasks", "/tasks/", "//x", "/a b"] {
            assert!(check_topic(bad).is_err(), "{bad:?} was taken");
        }
    }
}
