//! What a record's name says.

use ids::{Digest, Reference};

/// The name under which an image is kept that has lost its own.
const DANGLING: &str = "moby-dangling@";

/// A record's name, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    /// `docker.io/library/x:latest`, or by digest.
    Reference(Reference),
    Dangling,
    /// What others have put into the namespace.
    Other,
}

impl Name {
    pub fn parse(text: &str) -> Self {
        if text.starts_with(DANGLING) {
            return Self::Dangling;
        }
        // Only a full name is one of ours: `x:latest` in the store is not what a user means by it.
        match Reference::parse_familiar(text) {
            Ok(reference) if !reference.is_name_only() && reference.to_string() == text => Self::Reference(reference),
            _ => Self::Other,
        }
    }
}

pub(crate) fn dangling(target: &Digest) -> String {
    format!("{DANGLING}{target}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_full_references_are_names() {
        assert!(matches!(Name::parse("docker.io/library/x:latest"), Name::Reference(_)));
        assert_eq!(Name::parse("x:latest"), Name::Other);
        assert_eq!(Name::parse("docker.io/library/x"), Name::Other);
        assert_eq!(Name::parse(&dangling(&Digest::of(""))), Name::Dangling);
    }
}
