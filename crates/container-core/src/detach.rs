//! The keys that leave a container without ending it (Ctrl-P Ctrl-Q), found in what a user types.

use crate::ConfigError;

/// Docker's default sequence.
pub const DEFAULT_DETACH_KEYS: &str = "ctrl-p,ctrl-q";

/// Watches a stream of typed bytes. A beginning of the sequence is held back until it is clear that it is none.
#[derive(Debug, Clone)]
pub struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

/// What to do with a piece of input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Typed {
    /// For the container.
    pub pass: Vec<u8>,
    /// The sequence is complete; bytes after it are dropped.
    pub detached: bool,
}

impl DetachKeys {
    /// `ctrl-p,ctrl-q`, `a,b`; `ctrl-` takes a letter or one of `@ [ \ ] ^ _`. Empty takes the default.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let text = if text.is_empty() { DEFAULT_DETACH_KEYS } else { text };
        let unknown = |key: &str| ConfigError::Value(format!("Unknown character: '{key}'"));
        let keys = text.split(',').map(|key| match (key.as_bytes(), key.strip_prefix("ctrl-").map(str::as_bytes)) {
            ([byte], _) => Ok(*byte),
            (_, Some([letter @ b'a'..=b'z'])) => Ok(letter - b'a' + 1),
            (_, Some([symbol @ (b'@' | b'[' | b'\\' | b']' | b'^' | b'_')])) => Ok(symbol - b'@'),
            _ => Err(unknown(key)),
        });
        Ok(Self { keys: keys.collect::<Result<_, _>>()?, matched: 0 })
    }

    /// Sorts the next bytes; after `detached` the stream is over.
    pub fn typed(&mut self, bytes: &[u8]) -> Typed {
        let mut pass = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return Typed { pass, detached: true };
                }
                continue;
            }
            // Not the sequence after all: what was held back goes first; this byte may begin a new one.
            pass.extend_from_slice(&self.keys[..self.matched]);
            self.matched = usize::from(byte == self.keys[0] && self.keys.len() > 1);
            if self.matched == 0 {
                pass.push(byte);
            }
        }
        Typed { pass, detached: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> DetachKeys {
        DetachKeys::parse("").unwrap()
    }

    #[test]
    fn the_sequence_detaches_and_is_not_passed_on() {
        let typed = keys().typed(b"ls\x10\x11rest");
        assert_eq!(typed, Typed { pass: b"ls".to_vec(), detached: true });
    }

    #[test]
    fn the_sequence_is_found_across_pieces() {
        let mut keys = keys();
        assert_eq!(keys.typed(b"a\x10"), Typed { pass: b"a".to_vec(), detached: false });
        assert!(keys.typed(b"\x11").detached);
    }

    #[test]
    fn a_beginning_that_goes_on_otherwise_reaches_the_container() {
        let mut keys = keys();
        assert_eq!(keys.typed(b"\x10").pass, b"");
        assert_eq!(keys.typed(b"x").pass, b"\x10x");
        assert_eq!(keys.typed(b"\x10\x10y").pass, b"\x10\x10y");
    }

    #[test]
    fn keys_are_read_as_docker_writes_them() {
        assert!(DetachKeys::parse("ctrl-a,a").unwrap().typed(b"\x01a").detached);
        assert!(DetachKeys::parse("ctrl-[").unwrap().typed(b"\x1b").detached);
        assert!(DetachKeys::parse("ctrl-1").is_err());
        assert!(DetachKeys::parse("ab").is_err());
    }
}
