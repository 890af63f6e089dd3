//! How Go's encoding/json reads and writes structures, for serde.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// `map[string]string`, written sorted by key as Go does.
pub type StringMap = BTreeMap<String, String>;

/// `struct{}`, the value of Go's sets: written `{}`, read from anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Empty {}

/// Declares wire structures: `field: Type = "WireName"`, with `| "empty"` behind it for Go's `omitempty`.
macro_rules! wire {
    ($($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$field_meta:meta])* $field:ident : $type:ty = $wire:literal $(| $skip:literal)?),* $(,)?
    })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(
                    rename = $wire,
                    default,
                    deserialize_with = "crate::wire::or_default"
                    $(, skip_serializing_if = $skip)?
                )]
                pub $field: $type,
            )*
        }
    )*};
}

/// Go leaves a field alone when it reads `null`.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Go's `omitempty`.
pub(crate) fn empty<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A list of words that may be sent as a single string (`Cmd`, `Entrypoint`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Words(pub Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            One(String),
            Many(Vec<String>),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::One(word) => Self(vec![word]),
            Either::Many(words) => Self(words),
        })
    }
}

impl From<Vec<String>> for Words {
    fn from(words: Vec<String>) -> Self {
        Self(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    wire! {
        /// A structure with every habit.
        pub struct Sample {
            list: Option<Vec<String>> = "List",
            always: Vec<String> = "Always",
            left_out: i64 = "LeftOut" | "empty",
            set: BTreeMap<String, Empty> = "Set",
            words: Option<Words> = "Words",
        }
    }
    use super::empty;

    #[test]
    fn null_missing_and_unknown_members_are_read_as_defaults() {
        let sample: Sample =
            serde_json::from_str(r#"{"List":null,"Always":null,"LeftOut":null,"Strange":1,"Set":{"80/tcp":{}}}"#)
                .unwrap();
        assert_eq!(sample.always, Vec::<String>::new());
        assert!(sample.set.contains_key("80/tcp"));
        assert_eq!(
            serde_json::to_string(&sample).unwrap(),
            r#"{"List":null,"Always":[],"Set":{"80/tcp":{}},"Words":null}"#
        );
    }

    #[test]
    fn a_single_string_is_a_list_of_one_word() {
        let sample: Sample = serde_json::from_str(r#"{"Words":"echo hi"}"#).unwrap();
        assert_eq!(sample.words, Some(Words(vec!["echo hi".into()])));
        let sample: Sample = serde_json::from_str(r#"{"Words":["echo","hi"]}"#).unwrap();
        assert_eq!(sample.words.unwrap().0.len(), 2);
        assert!(serde_json::from_str::<Sample>(r#"{"Words":[1]}"#).is_err());
    }
}
