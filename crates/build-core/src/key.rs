//! Cache keys: a digest over fields that each have their length before them.

use ids::Digest;

/// Changes when what a key stands for does: older entries are then never found.
const FORM: &str = "longshore build key 1";

/// A key in the making.
#[derive(Debug, Clone)]
pub struct KeyMaker {
    bytes: Vec<u8>,
}

impl KeyMaker {
    /// `kind` tells steps of different kinds apart.
    pub fn new(kind: &str) -> Self {
        Self { bytes: Vec::new() }.field(FORM).field(kind)
    }

    #[must_use]
    pub fn field(mut self, field: impl AsRef<[u8]>) -> Self {
        let field = field.as_ref();
        self.bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
        self.bytes.extend_from_slice(field);
        self
    }

    #[must_use]
    pub fn fields<T: AsRef<[u8]>>(self, fields: impl IntoIterator<Item = T>) -> Self {
        let fields: Vec<T> = fields.into_iter().collect();
        let count = self.field((fields.len() as u64).to_be_bytes());
        fields.iter().fold(count, |key, field| key.field(field))
    }

    pub fn finish(self) -> Digest {
        Digest::of(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn different_fields_have_different_keys(
            one in proptest::collection::vec("[ab]{0,3}", 0..4),
            other in proptest::collection::vec("[ab]{0,3}", 0..4),
        ) {
            let key = |fields: &[String]| KeyMaker::new("x").fields(fields).finish();
            prop_assert_eq!(key(&one) == key(&other), one == other);
        }
    }
}
