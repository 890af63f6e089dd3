//! `xtask dockerfiles`: generated Dockerfiles at Docker's builder and at ours.

use anyhow::{Context, Result, bail};
use testhost::Dockerfiles;

const COUNT: u32 = 1000;

/// Builds them with the programs of a profile; `LONGSHORE_PROGRAMS` names another folder.
pub fn dockerfiles(options: &[&str]) -> Result<()> {
    let (mut wanted, mut profile) = (Dockerfiles { count: COUNT, seed: 1 }, "debug");
    let mut words = options.iter();
    while let Some(option) = words.next() {
        let value = words.next().with_context(|| format!("{option} needs a value"))?;
        match *option {
            "--count" => wanted.count = value.parse().with_context(|| format!("{option} {value}"))?,
            "--seed" => wanted.seed = value.parse().with_context(|| format!("{option} {value}"))?,
            "--profile" => profile = value,
            _ => bail!("dockerfiles has no option {option}"),
        }
    }
    let programs = match std::env::var_os("LONGSHORE_PROGRAMS") {
        Some(folder) => folder.into(),
        None => crate::programs(profile)?,
    };
    testhost::in_fresh_host(&programs, |host| testhost::run_dockerfiles(host, wanted))
}
