//! The keys that leave a container running (`ctrl-p,ctrl-q`).

/// What Docker's users have in their fingers.
const DEFAULT: &[u8] = &[16, 17];

/// Reads `ctrl-a,b`: letters by themselves or with `ctrl-`, and `ctrl-@ [ \ ] ^ _`. Empty text is the default, and so is
/// what cannot be read: the daemon refuses that, in its own words.
pub fn parse_keys(text: &str) -> Vec<u8> {
    text.split(',').map(parse_key).collect::<Option<Vec<u8>>>().unwrap_or_else(|| DEFAULT.to_vec())
}

fn parse_key(key: &str) -> Option<u8> {
    let lower = key.strip_prefix("ctrl-").map(str::as_bytes);
    match (lower, key.as_bytes()) {
        (Some([letter @ b'a'..=b'z']), _) => Some(letter - b'a' + 1),
        (Some([b'@']), _) => Some(0),
        (Some([sign @ b'['..=b'_']), _) => Some(sign - b'[' + 27),
        (None, [one]) => Some(*one),
        _ => None,
    }
}

/// Watches what is typed for the keys. Keys that began well and went wrong are passed on late, not lost.
#[derive(Debug)]
pub struct Escape {
    keys: Vec<u8>,
    matched: usize,
}

impl Escape {
    pub fn new(keys: Vec<u8>) -> Self {
        Self { keys, matched: 0 }
    }

    /// What goes to the container; `true` beside it when the keys are complete.
    pub fn filter(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(typed.len());
        for byte in typed {
            if self.keys.get(self.matched) == Some(byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return (out, true);
                }
                continue;
            }
            out.extend_from_slice(&self.keys[..self.matched]);
            self.matched = usize::from(self.keys.first() == Some(byte));
            if self.matched == 0 {
                out.push(*byte);
            }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_as_in_docker() {
        assert_eq!(parse_keys(""), [16, 17]);
        assert_eq!(parse_keys("ctrl-a,x,ctrl-@,ctrl-["), [1, b'x', 0, 27]);
        assert_eq!(parse_keys("ctrl-foo"), [16, 17]);
    }

    #[test]
    fn only_the_whole_sequence_leaves() {
        let mut escape = Escape::new(vec![16, 17]);
        assert_eq!(escape.filter(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(escape.filter(b"c"), (b"\x10c".to_vec(), false));
        assert_eq!(escape.filter(b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(escape.filter(b"\x11rest"), (Vec::new(), true));
    }
}
