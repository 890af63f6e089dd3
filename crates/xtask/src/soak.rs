//! `xtask soak`: the long form of testhost's soak, with the release programs.

use anyhow::{Context, Result, bail};
use testhost::Soak;

const CONTAINERS: u32 = 20_000;
const PORTIONS: u32 = 40;

pub fn soak(options: &[&str]) -> Result<()> {
    let (mut containers, mut profile) = (CONTAINERS, "release");
    let mut words = options.iter();
    while let Some(option) = words.next() {
        let value = words.next().with_context(|| format!("{option} needs a value"))?;
        match *option {
            "--containers" => containers = value.parse().with_context(|| format!("{option} {value}"))?,
            "--profile" => profile = value,
            _ => bail!("soak has no option {option}"),
        }
    }
    let soak = Soak { containers, portions: PORTIONS };
    testhost::in_fresh_host(&crate::programs(profile)?, |host| testhost::run_soak(host, soak))
}
