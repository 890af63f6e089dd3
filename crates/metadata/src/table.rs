//! Typed tables: a name, string keys, values in JSON.

use std::marker::PhantomData;
use std::ops::ControlFlow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Read, WriteTx};

/// No single record is larger; specs and image configurations are some kilobytes.
const MAX_RECORD_BYTES: usize = 16 * 1024 * 1024;

/// Values of one type under string keys. Declared as a constant; the name must not change once data is stored.
pub struct Table<V> {
    name: &'static str,
    values: PhantomData<fn() -> V>,
}

impl<V: Serialize + DeserializeOwned> Table<V> {
    pub const fn new(name: &'static str) -> Self {
        Self { name, values: PhantomData }
    }

    pub fn get(&self, tx: &impl Read, key: &str) -> Result<Option<V>, Error> {
        let found = tx.get_record(&self.full_key(key))?;
        found.map(|value| decode(key, &value)).transpose()
    }

    pub fn contains(&self, tx: &impl Read, key: &str) -> Result<bool, Error> {
        Ok(tx.get_record(&self.full_key(key))?.is_some())
    }

    /// Stores a value, replacing what was there.
    pub fn put(&self, tx: &mut WriteTx<'_>, key: &str, value: &V) -> Result<(), Error> {
        let bytes = serde_json::to_vec(value).map_err(|source| Error::Encode { key: key.to_owned(), source })?;
        if bytes.len() > MAX_RECORD_BYTES || key.len() > MAX_RECORD_BYTES {
            return Err(Error::TooLarge {
                key: key.chars().take(64).collect(),
                bytes: bytes.len().max(key.len()),
                limit: MAX_RECORD_BYTES,
            });
        }
        tx.put_record(self.full_key(key), bytes);
        Ok(())
    }

    /// Removes a value; says whether it was there.
    pub fn delete(&self, tx: &mut WriteTx<'_>, key: &str) -> Result<bool, Error> {
        let there = self.contains(tx, key)?;
        if there {
            tx.delete_record(self.full_key(key));
        }
        Ok(there)
    }

    /// Removes every value whose key begins with `prefix`; says how many.
    pub fn delete_prefix(&self, tx: &mut WriteTx<'_>, prefix: &str) -> Result<usize, Error> {
        let keys = self.keys(tx, prefix)?;
        for key in &keys {
            tx.delete_record(self.full_key(key));
        }
        Ok(keys.len())
    }

    /// All pairs whose key begins with `prefix` (all for ""), in order of the keys.
    pub fn list(&self, tx: &impl Read, prefix: &str) -> Result<Vec<(String, V)>, Error> {
        let mut pairs = Vec::new();
        self.each(tx, prefix, |key, value| {
            pairs.push((key.to_owned(), value));
            ControlFlow::Continue(())
        })?;
        Ok(pairs)
    }

    /// As [`Table::list`], one at a time, until the closure breaks.
    pub fn each(
        &self,
        tx: &impl Read,
        prefix: &str,
        mut visit: impl FnMut(&str, V) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let skip = self.name.len() + 1;
        tx.visit_records(&self.full_key(prefix), &mut |key, value| {
            let key = String::from_utf8_lossy(&key[skip..]);
            let value = decode(&key, value)?;
            Ok(visit(&key, value))
        })
    }

    /// The keys that begin with `prefix`, without decoding their values.
    pub fn keys(&self, tx: &impl Read, prefix: &str) -> Result<Vec<String>, Error> {
        let skip = self.name.len() + 1;
        let mut keys = Vec::new();
        tx.visit_records(&self.full_key(prefix), &mut |key, _| {
            keys.push(String::from_utf8_lossy(&key[skip..]).into_owned());
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(keys)
    }

    fn full_key(&self, key: &str) -> Vec<u8> {
        let mut full = Vec::with_capacity(self.name.len() + 1 + key.len());
        full.extend_from_slice(self.name.as_bytes());
        full.push(0);
        full.extend_from_slice(key.as_bytes());
        full
    }
}

fn decode<V: DeserializeOwned>(key: &str, value: &[u8]) -> Result<V, Error> {
    serde_json::from_slice(value).map_err(|source| Error::Decode { key: key.to_owned(), source })
}

/// One key of several parts, sorted by its parts. Every part is followed by a separator that cannot occur inside a part
/// (it is escaped), so `join_key(&["ns"])` is a prefix of exactly the keys whose first part is `ns`.
pub fn join_key(parts: &[&str]) -> String {
    let mut key = String::new();
    for part in parts {
        for character in part.chars() {
            match character {
                '\0' => key.push_str("\u{1}\u{1}"),
                '\u{1}' => key.push_str("\u{1}\u{2}"),
                other => key.push(other),
            }
        }
        key.push('\0');
    }
    key
}

/// The parts of a key made by [`join_key`].
pub fn split_key(key: &str) -> Vec<String> {
    let parts = key.strip_suffix('\0').unwrap_or(key).split('\0');
    parts.map(|part| part.replace("\u{1}\u{1}", "\0").replace("\u{1}\u{2}", "\u{1}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_of_several_parts_come_apart_as_they_were(
            parts in prop::collection::vec("[\u{0}\u{1}\u{2}ab/]{0,6}", 1..4)
        ) {
            let borrowed: Vec<&str> = parts.iter().map(String::as_str).collect();
            prop_assert_eq!(split_key(&join_key(&borrowed)), parts);
        }

        #[test]
        fn a_first_part_is_a_prefix_of_its_own_keys_only(a in "[\u{0}\u{1}ab]{0,3}", b in "[\u{0}\u{1}ab]{0,3}") {
            let under = join_key(&[&b, "x"]).starts_with(&join_key(&[&a]));
            prop_assert_eq!(under, a == b);
        }
    }
}
