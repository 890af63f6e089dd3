//! What can be wrong with a body.

use std::fmt;

use serde::de;

/// `Display` has the words of Go's encoding/json.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Nothing but white space.
    #[error("EOF")]
    Empty,
    #[error("unexpected EOF")]
    UnexpectedEof,
    /// `invalid character 'x' …`
    #[error("{0}")]
    Syntax(String),
    #[error("exceeded max depth")]
    Depth,
    /// Something that could begin another value stands behind the first.
    #[error("unexpected content after JSON")]
    Trailing,
    #[error("json: cannot unmarshal {value} into Go {place}of type {go_type}")]
    Type {
        /// `string`, `number`, `number 1.5`, `bool`, `array` or `object`.
        value: String,
        go_type: String,
        place: Place,
    },
    #[error("json: {0}")]
    Other(String),
}

/// Where a value of the wrong type stood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Go's name of the innermost structure; empty outside of any.
    pub structure: String,
    /// The members from the outermost structure to the value.
    pub path: Vec<String>,
    /// In an element of the innermost member, not the member itself.
    pub(super) in_element: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.is_empty() {
            true => f.write_str("value "),
            false => write!(f, "struct field {}.{} ", self.structure, self.path.join(".")),
        }
    }
}

impl JsonError {
    pub(super) fn wrong_type(value: impl Into<String>, go_type: impl Into<String>) -> Self {
        Self::Type { value: value.into(), go_type: go_type.into(), place: Place::default() }
    }

    /// The same, known to have happened in a member of a structure; the innermost structure is told first.
    pub(super) fn within(mut self, structure: &str, members: &[&str]) -> Self {
        if let Self::Type { place, .. } = &mut self {
            if place.structure.is_empty() {
                structure.clone_into(&mut place.structure);
            }
            place.path.splice(0..0, members.iter().map(|member| (*member).to_owned()));
        }
        self
    }

    pub(super) fn in_element(mut self) -> Self {
        if let Self::Type { place, .. } = &mut self {
            place.in_element |= place.path.is_empty();
        }
        self
    }
}

impl de::Error for JsonError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let value = match found {
            de::Unexpected::Bool(_) => "bool",
            de::Unexpected::Unsigned(_) | de::Unexpected::Signed(_) | de::Unexpected::Float(_) => "number",
            de::Unexpected::Str(_) | de::Unexpected::Char(_) => "string",
            de::Unexpected::Seq => "array",
            _ => "object",
        };
        Self::wrong_type(value, expected.to_string())
    }
}
