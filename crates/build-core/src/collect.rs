//! What of a cache goes when it has grown too large or too old.

use std::collections::BTreeSet;

/// An entry, as far as the decision looks at it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    pub key: String,
    /// The entry that this one lies on.
    pub parent: Option<String>,
    pub bytes: u64,
    /// Seconds since 1970.
    pub last_used: i64,
}

/// The most that a cache may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub bytes: u64,
    pub entries: usize,
    /// Entries not used since then go, in seconds since 1970.
    pub unused_since: i64,
}

/// Keys to forget, the longest unused first. An entry never goes before those that lie on it: they could not be reached.
pub fn to_forget(entries: &[Kept], limits: Limits) -> Vec<String> {
    let mut order: Vec<&Kept> = entries.iter().collect();
    // A step is used whenever one above it is: of the same time the upper one goes first.
    order.sort_by(|a, b| a.last_used.cmp(&b.last_used).then_with(|| depth(b, entries).cmp(&depth(a, entries))));
    let mut bytes: u64 = entries.iter().fold(0, |sum, entry| sum.saturating_add(entry.bytes));
    let mut count = entries.len();
    let mut going = Vec::new();
    let mut gone = BTreeSet::new();
    for entry in order {
        let old = entry.last_used < limits.unused_since;
        if !old && bytes <= limits.bytes && count <= limits.entries {
            break;
        }
        let carries = entries.iter().any(|other| {
            other.parent.as_ref() == Some(&entry.key) && !gone.contains(&other.key) && other.last_used > entry.last_used
        });
        if carries {
            continue;
        }
        bytes -= entry.bytes;
        count -= 1;
        gone.insert(entry.key.clone());
        going.push(entry.key.clone());
    }
    going
}

/// How many entries lie below, with an end should they go in a circle.
fn depth(entry: &Kept, entries: &[Kept]) -> usize {
    let mut at = entry;
    for depth in 0..entries.len() {
        let below = at.parent.as_ref().and_then(|parent| entries.iter().find(|other| other.key == *parent));
        match below {
            Some(below) => at = below,
            None => return depth,
        }
    }
    entries.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, parent: Option<&str>, bytes: u64, last_used: i64) -> Kept {
        Kept { key: key.to_owned(), parent: parent.map(str::to_owned), bytes, last_used }
    }

    fn limits(bytes: u64) -> Limits {
        Limits { bytes, entries: 100, unused_since: 0 }
    }

    #[test]
    fn the_longest_unused_goes_first_and_only_as_much_as_must() {
        let entries = [entry("a", None, 10, 1), entry("b", None, 10, 2), entry("c", None, 10, 3)];
        assert_eq!(to_forget(&entries, limits(30)), Vec::<String>::new());
        assert_eq!(to_forget(&entries, limits(20)), ["a"]);
        assert_eq!(to_forget(&entries, limits(0)), ["a", "b", "c"]);
        assert_eq!(to_forget(&entries, Limits { bytes: 100, entries: 2, unused_since: 0 }), ["a"]);
        assert_eq!(to_forget(&entries, Limits { bytes: 100, entries: 9, unused_since: 3 }), ["a", "b"]);
    }

    #[test]
    fn what_carries_others_stays_until_they_go() {
        let entries = [entry("low", None, 10, 1), entry("high", Some("low"), 10, 1), entry("new", Some("low"), 10, 5)];
        assert_eq!(to_forget(&entries, limits(20)), ["high"]);
    }
}
