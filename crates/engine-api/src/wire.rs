//! How Go's encoding/json reads and writes structures, for serde.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// `map[string]string`, written sorted by key as Go does.
pub type StringMap = BTreeMap<String, String>;

/// `struct{}`, the value of Go's sets: written `{}`, read from anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Empty {}

/// Declares wire structures: `field: Type = "WireName"`, with `| "empty"` behind it for Go's `omitempty`.
macro_rules! wire {
    ($($(#[$meta:meta])* $visibility:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field:ident : $type:ty = $wire:literal $(| $skip:literal)?),* $(,)?
    })*) => {$(
        #[derive(Debug, Clone, Default, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
        $(#[$meta])*
        $visibility struct $name {
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

        impl $name {
            /// The names of its members.
            #[allow(dead_code, reason = "of most structures nobody asks")]
            pub const MEMBERS: &[&str] = &[$($wire),*];
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
        deserializer.deserialize_any(WordsVisitor)
    }
}

struct WordsVisitor;

impl<'de> Visitor<'de> for WordsVisitor {
    type Value = Words;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("string")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Words, E> {
        Ok(Words(vec![word.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut words: A) -> Result<Words, A::Error> {
        let mut list = Vec::new();
        // What is no list of strings was to be a string.
        while let Some(word) =
            words.next_element::<Option<String>>().map_err(|_| de::Error::invalid_type(de::Unexpected::Seq, &self))?
        {
            list.push(word.unwrap_or_default());
        }
        Ok(Words(list))
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
