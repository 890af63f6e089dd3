//! Options of a chore, each with a value: `--rounds 200 --profile release`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

/// The profile whose programs a chore runs.
const PROFILE: &str = "--profile";

/// What was given; of two the last.
pub struct Options<'a> {
    given: BTreeMap<&'a str, &'a str>,
}

impl<'a> Options<'a> {
    /// `known`: the names that the chore has besides `--profile`.
    pub fn parse(chore: &str, words: &[&'a str], known: &[&str]) -> Result<Self> {
        let mut given = BTreeMap::new();
        let mut words = words.iter();
        while let Some(name) = words.next() {
            if *name != PROFILE && !known.contains(name) {
                bail!("{chore} has no option {name}");
            }
            given.insert(*name, *words.next().with_context(|| format!("{name} needs a value"))?);
        }
        Ok(Self { given })
    }

    pub fn number<T>(&self, name: &str, default: T) -> Result<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let Some(value) = self.given.get(name) else { return Ok(default) };
        value.parse().map_err(|error| anyhow::anyhow!("{name} {value}: {error}"))
    }

    /// The folder of the programs: of the profile that was given, or of this one.
    pub fn programs(&self, default: &str) -> Result<PathBuf> {
        crate::programs(self.given.get(PROFILE).copied().unwrap_or(default))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_values_and_are_known() {
        let options = Options::parse("soak", &["--containers", "7", "--containers", "8"], &["--containers"]).unwrap();
        assert_eq!(options.number("--containers", 1_u32).unwrap(), 8);
        assert_eq!(options.number("--rounds", 3_u32).unwrap(), 3);
        let fails =
            |words: &[&str]| Options::parse("soak", words, &["--containers"]).err().map(|error| error.to_string());
        assert_eq!(fails(&["--rounds", "1"]).as_deref(), Some("soak has no option --rounds"));
        assert_eq!(fails(&["--containers"]).as_deref(), Some("--containers needs a value"));
        let wrong = Options::parse("soak", &["--containers", "x"], &["--containers"]).unwrap();
        assert!(wrong.number("--containers", 1_u32).unwrap_err().to_string().starts_with("--containers x: "));
    }
}
