//! `xtask rounds`: the long form of testhost's rounds of the runtime, with the release programs.

use anyhow::{Context, Result, bail};

const ROUNDS: u32 = 10_000;

pub fn rounds(options: &[&str]) -> Result<()> {
    let (mut rounds, mut profile) = (ROUNDS, "release");
    let mut words = options.iter();
    while let Some(option) = words.next() {
        let value = words.next().with_context(|| format!("{option} needs a value"))?;
        match *option {
            "--rounds" => rounds = value.parse().with_context(|| format!("{option} {value}"))?,
            "--profile" => profile = value,
            _ => bail!("rounds has no option {option}"),
        }
    }
    testhost::in_fresh_host(&crate::programs(profile)?, |host| testhost::run_runtime_rounds(host, rounds))
}
