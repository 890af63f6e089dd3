//! Container names: the rule they keep, and the ones made for containers without.

use errors::{ErrorKind, Kind};

/// A name outside `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
pub struct NameError(String);

impl Kind for NameError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// The name without the one leading slash that old clients send.
pub fn check_container_name(name: &str) -> Result<&str, NameError> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if bare.len() < 2 || !bare.starts_with(|c: char| c.is_ascii_alphanumeric()) || !bare.chars().all(allowed) {
        return Err(NameError(name.to_owned()));
    }
    Ok(bare)
}

/// `adjective_surname` from a random number; from the second try on with a digit behind it, as Docker does.
pub fn generated_name(random: u64, attempt: u32) -> String {
    let adjective = ADJECTIVES[usize::try_from(random % ADJECTIVES.len() as u64).unwrap_or(0)];
    let rest = random / ADJECTIVES.len() as u64;
    let surname = SURNAMES[usize::try_from(rest % SURNAMES.len() as u64).unwrap_or(0)];
    // Steve Wozniak is not boring: Docker's one exception.
    if (adjective, surname) == ("boring", "wozniak") {
        return generated_name(random.wrapping_add(1), attempt);
    }
    let digit = rest / SURNAMES.len() as u64 % 10;
    if attempt == 0 { format!("{adjective}_{surname}") } else { format!("{adjective}_{surname}{digit}") }
}

#[rustfmt::skip]
const ADJECTIVES: &[&str] = &[
    "able", "admiring", "agile", "amber", "amiable", "attentive", "awake", "bold", "boring", "brave", "breezy", "bright", "brisk", "busy", "calm", "candid",
    "careful", "charming", "cheerful", "clear", "clever", "cool", "cosy", "crisp", "curious", "daring", "dazzling", "deft", "determined", "eager", "earnest", "easy",
    "elated", "elegant", "epic", "fair", "fearless", "fervent", "festive", "fluent", "focused", "frank", "friendly", "gallant", "generous", "gentle", "glad", "gifted",
    "graceful", "gracious", "happy", "hardy", "hopeful", "humble", "inspiring", "jolly", "jovial", "keen", "kind", "lively", "loving", "loyal", "lucid", "mellow",
    "merry", "modest", "musing", "nifty", "nimble", "noble", "patient", "peaceful", "plucky", "polite", "practical", "proud", "quick", "quiet", "quirky", "radiant",
    "ready", "relaxed", "robust", "serene", "sharp", "silent", "sincere", "sleepy", "smart", "solid", "spry", "steady", "stoic", "sunny", "sweet", "swift",
    "tender", "thirsty", "tidy", "trusting", "upbeat", "vibrant", "vigilant", "vivid", "warm", "wise", "witty", "wonderful", "youthful", "zealous", "zen", "zesty",
];

#[rustfmt::skip]
const SURNAMES: &[&str] = &[
    "allen", "archimedes", "aryabhata", "babbage", "banach", "bardeen", "bartik", "bassi", "bell", "bernoulli", "bohr", "boltzmann", "borg", "bose", "boyd", "brahmagupta",
    "cantor", "carson", "cerf", "chandrasekhar", "chebyshev", "clarke", "cori", "cray", "curie", "darwin", "dijkstra", "dirac", "einstein", "elion", "engelbart", "euclid",
    "euler", "faraday", "fermat", "fermi", "feynman", "franklin", "galileo", "galois", "gauss", "germain", "goldberg", "goldwasser", "goodall", "hamilton", "hawking", "heisenberg",
    "hermann", "herschel", "hertz", "hodgkin", "hopper", "hypatia", "jang", "jepsen", "johnson", "joliot", "kalam", "kare", "keller", "kepler", "khayyam", "khorana",
    "kilby", "knuth", "kowalevski", "lalande", "lamarr", "lamport", "leakey", "leavitt", "liskov", "lovelace", "lumiere", "maxwell", "mayer", "mccarthy", "mcclintock", "meitner",
    "mendel", "mendeleev", "mirzakhani", "moore", "morse", "murdock", "napier", "nash", "newton", "nightingale", "nobel", "noether", "noyce", "pascal", "pasteur", "payne",
    "perlman", "pike", "planck", "poincare", "ptolemy", "raman", "ramanujan", "ride", "ritchie", "rosalind", "rubin", "saha", "sammet", "shannon", "shockley", "snyder",
    "spence", "stallman", "stonebraker", "swartz", "tesla", "thompson", "torvalds", "turing", "varahamihira", "visvesvaraya", "volhard", "wescoff", "wiles", "williams", "wozniak", "wright",
    "yalow", "yonath",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_name_is_valid_and_follows_its_number() {
        for random in (0..u64::MAX).step_by(1 << 57) {
            assert!(check_container_name(&generated_name(random, 0)).is_ok());
        }
        assert_eq!(generated_name(0, 0), "able_allen");
        assert_eq!(generated_name(0, 1), "able_allen0");
    }

    #[test]
    fn wozniak_is_never_boring() {
        let boring = ADJECTIVES.iter().position(|a| *a == "boring").unwrap() as u64;
        let wozniak = SURNAMES.iter().position(|s| *s == "wozniak").unwrap() as u64;
        assert_ne!(generated_name(wozniak * ADJECTIVES.len() as u64 + boring, 0), "boring_wozniak");
    }

    #[test]
    fn names_outside_the_rule_are_refused() {
        assert_eq!(check_container_name("/web.1"), Ok("web.1"));
        for name in ["a", "", "/", "-a", "a b", "a/b", "ä1"] {
            assert!(check_container_name(name).is_err(), "{name}");
        }
    }
}
