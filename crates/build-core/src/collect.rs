//! What of a cache goes when it has grown too large or too old.

use std::collections::BTreeMap;

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

/// Keys to forget, the longest unused first. An entry is used whenever one that lies on it is, and never goes before it:
/// without what lies below it could not be reached.
pub fn to_forget(entries: &[Kept], limits: Limits) -> Vec<String> {
    let places: BTreeMap<&str, usize> =
        entries.iter().enumerate().map(|(at, entry)| (entry.key.as_str(), at)).collect();
    let depths = depths(entries, &places);
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by(|a, b| depths[*b].cmp(&depths[*a]));
    let mut last_used: Vec<i64> = entries.iter().map(|entry| entry.last_used).collect();
    for at in &order {
        if let Some(below) = entries[*at].parent.as_deref().and_then(|parent| places.get(parent)) {
            last_used[*below] = last_used[*below].max(last_used[*at]);
        }
    }
    // A stable sort: of the same time the upper one stays first.
    order.sort_by_key(|at| last_used[*at]);
    let mut bytes: u64 = entries.iter().fold(0, |sum, entry| sum.saturating_add(entry.bytes));
    let mut count = entries.len();
    let mut going = Vec::new();
    for at in order {
        if last_used[at] >= limits.unused_since && bytes <= limits.bytes && count <= limits.entries {
            break;
        }
        bytes = bytes.saturating_sub(entries[at].bytes);
        count -= 1;
        going.push(entries[at].key.clone());
    }
    going
}

/// How many entries lie below each, with an end should they go in a circle.
fn depths(entries: &[Kept], places: &BTreeMap<&str, usize>) -> Vec<usize> {
    let below = |at: usize| entries[at].parent.as_deref().and_then(|parent| places.get(parent).copied());
    let mut known: Vec<Option<usize>> = vec![None; entries.len()];
    for first in 0..entries.len() {
        let mut path = vec![first];
        let base = loop {
            let at = path[path.len() - 1];
            match (known[at], below(at)) {
                (Some(depth), _) => break depth,
                (None, Some(next)) if path.len() <= entries.len() => path.push(next),
                _ => break 0,
            }
        };
        for (height, at) in path.into_iter().rev().enumerate() {
            known[at].get_or_insert(base + height);
        }
    }
    known.into_iter().map(Option::unwrap_or_default).collect()
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

    #[test]
    fn steps_made_one_after_the_other_go_together_from_the_top() {
        let chain = [entry("a", None, 10, 1), entry("b", Some("a"), 10, 2), entry("c", Some("b"), 10, 3)];
        assert_eq!(to_forget(&chain, limits(0)), ["c", "b", "a"]);
        assert_eq!(to_forget(&chain, limits(10)), ["c", "b"]);
        let old = |unused_since| Limits { bytes: u64::MAX, entries: 100, unused_since };
        assert_eq!(to_forget(&chain, old(3)), Vec::<String>::new(), "what lies below the used is used");
        assert_eq!(to_forget(&chain, old(4)), ["c", "b", "a"]);
    }

    #[test]
    fn a_large_cache_is_looked_through_at_once_and_a_circle_ends() {
        let mut entries: Vec<Kept> =
            (0..20_000).map(|at| entry(&at.to_string(), Some(&(at + 1).to_string()), 1, 1)).collect();
        let all = |bytes| Limits { bytes, entries: usize::MAX, unused_since: 0 };
        assert_eq!(to_forget(&entries, all(0)).len(), 20_000);
        // The one that lies on all others goes first.
        assert!(to_forget(&entries, all(19_999)) == ["0"]);
        entries[19_999].parent = Some("0".to_owned());
        assert_eq!(to_forget(&entries, all(10_000)).len(), 10_000);
    }
}
