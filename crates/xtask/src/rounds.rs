//! `xtask rounds`: the long form of testhost's rounds of the runtime, with the release programs.

use anyhow::Result;

use crate::options::Options;

const ROUNDS: u32 = 10_000;

pub fn rounds(words: &[&str]) -> Result<()> {
    let options = Options::parse("rounds", words, &["--rounds"])?;
    let rounds = options.number("--rounds", ROUNDS)?;
    testhost::in_fresh_host(&options.programs("release")?, |host| testhost::run_runtime_rounds(host, rounds))
}
