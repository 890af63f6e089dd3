//! Words that were mistyped.

/// The candidate that needs the fewest changes, if these are few.
pub fn closest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase();
    // Of a short word little may differ.
    let most = (word.chars().count() / 2).clamp(1, 2);
    let scored = candidates.iter().map(|candidate| (distance(&word, &candidate.to_lowercase()), *candidate));
    scored
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Changes from one word to the other, two neighbours that changed places counted as one (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for (at, row) in rows.iter_mut().enumerate() {
        row[0] = at;
    }
    for (at, first) in rows[0].iter_mut().enumerate() {
        *first = at;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let changed = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + changed);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_strangers_are_not() {
        let known = ["FROM", "RUN", "COPY", "ENTRYPOINT"];
        assert_eq!(closest("FORM", &known), Some("FROM"));
        assert_eq!(closest("entrypont", &known), Some("ENTRYPOINT"));
        assert_eq!(closest("nonsense", &known), None);
        assert_eq!(closest(&"F".repeat(1000), &known), None);
    }
}
