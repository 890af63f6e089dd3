//! Bodies of requests, read as Go's encoding/json reads them, since that is what ten years of clients were tried with.
//!
//! Entry point: [`Document::parse`], then [`Document::read`]. Members match whatever their case; of members given twice
//! the last one counts, and objects given twice are one; `null` leaves a value as it is; unknown members are skipped.
//! What is wrong is told in Go's words, with Go's names of structures and types ([`names`]), as `dockerd` 28 tells it.
//!
//! Bounds: the text is walked without recursion, [`MAX_DEPTH`] deep as in Go; a value is never nested deeper than
//! [`MAX_VALUE_DEPTH`] where a type would take any depth. Reads no more than it is given, allocates 12 bytes a value.

mod error;
mod names;
mod probe;
mod read;
mod scan;

use serde::de::DeserializeOwned;

pub use error::JsonError;
use read::{Outer, Value};
use scan::Tape;

/// Go's number.
pub const MAX_DEPTH: usize = 10_000;
/// No request has more than a dozen.
pub const MAX_VALUE_DEPTH: usize = 128;
/// Positions are kept as 32 bits.
pub const MAX_TEXT: usize = u32::MAX as usize;

/// One JSON value, found to be well-formed.
pub struct Document<'a> {
    tape: Tape<'a>,
}

impl<'a> Document<'a> {
    /// The first value of the text; nothing may stand behind it that could begin another.
    pub fn parse(text: &'a [u8]) -> Result<Self, JsonError> {
        let (tape, rest) = scan::scan(text)?;
        // Go's decoder asks only whether another value could begin.
        match rest {
            None | Some(b']' | b'}') => Ok(Self { tape }),
            Some(_) => Err(JsonError::Trailing),
        }
    }

    /// The first value, whatever stands behind it.
    pub fn parse_first(text: &'a [u8]) -> Result<Self, JsonError> {
        Ok(Self { tape: scan::scan(text)?.0 })
    }

    /// The value as one of our types.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, JsonError> {
        T::deserialize(Value::root(&self.tape, Outer::None))
    }

    /// The same of a structure that has another name in Go.
    pub fn read_as<T: DeserializeOwned>(&self, name: &'static str) -> Result<T, JsonError> {
        T::deserialize(Value::root(&self.tape, Outer::Named(name)))
    }

    /// The same where Go has the structure embedded into one of this name, so that both have their members at the top.
    pub fn read_embedded<T: DeserializeOwned>(&self, outer: &'static str) -> Result<T, JsonError> {
        T::deserialize(Value::root(&self.tape, Outer::Embedding(outer)))
    }

    /// Whether the value is an object that has one of these members.
    pub fn has_member_of(&self, names: &[&str]) -> bool {
        self.tape.members(0).any(|(key, _)| names.iter().any(|name| read::is_same_name(&self.tape.text(key), name)))
    }
}

/// Parses and reads in one.
pub fn decode<T: DeserializeOwned>(text: &[u8]) -> Result<T, JsonError> {
    Document::parse(text)?.read()
}

#[cfg(test)]
mod tests;
