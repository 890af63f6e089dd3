//! `xtask kill`: the long form of testhost's kill rounds, on a host of its own.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use testhost::Rounds;

const ROUNDS: u32 = 200;

/// Plays the rounds with the programs of a profile; `LONGSHORE_PROGRAMS` names another folder.
pub fn kill(options: &[&str]) -> Result<()> {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let (mut rounds, mut seed, mut profile) = (ROUNDS, u64::from(clock.subsec_nanos()), "debug");
    let mut words = options.iter();
    while let Some(option) = words.next() {
        let value = words.next().with_context(|| format!("{option} needs a value"))?;
        match *option {
            "--rounds" => rounds = value.parse().with_context(|| format!("{option} {value}"))?,
            "--seed" => seed = value.parse().with_context(|| format!("{option} {value}"))?,
            "--profile" => profile = value,
            _ => bail!("kill has no option {option}"),
        }
    }
    let programs = match std::env::var_os("LONGSHORE_PROGRAMS") {
        Some(folder) => folder.into(),
        None => crate::programs(profile)?,
    };
    testhost::in_fresh_host(&programs, |host| {
        println!("{rounds} rounds of seed {seed}");
        testhost::run_kill_rounds(host, Rounds { rounds, seed })
    })
}
