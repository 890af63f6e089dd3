//! `xtask kill`: the long form of testhost's kill rounds, on a host of its own.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use testhost::Rounds;

use crate::options::Options;

const ROUNDS: u32 = 200;

/// Plays the rounds with the programs of a profile; `LONGSHORE_PROGRAMS` names another folder.
pub fn kill(words: &[&str]) -> Result<()> {
    let options = Options::parse("kill", words, &["--rounds", "--seed"])?;
    let clock = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let rounds = options.number("--rounds", ROUNDS)?;
    let seed = options.number("--seed", u64::from(clock.subsec_nanos()))?;
    testhost::in_fresh_host(&options.programs("debug")?, |host| {
        println!("{rounds} rounds of seed {seed}");
        testhost::run_kill_rounds(host, Rounds { rounds, seed })
    })
}
