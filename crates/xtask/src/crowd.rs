//! `xtask crowd`: the long form of testhost's crowd on one network, with the release programs.

use anyhow::{Context, Result, bail};

const CONTAINERS: usize = 2000;

pub fn crowd(options: &[&str]) -> Result<()> {
    let (mut containers, mut profile) = (CONTAINERS, "release");
    let mut words = options.iter();
    while let Some(option) = words.next() {
        let value = words.next().with_context(|| format!("{option} needs a value"))?;
        match *option {
            "--containers" => containers = value.parse().with_context(|| format!("{option} {value}"))?,
            "--profile" => profile = value,
            _ => bail!("crowd has no option {option}"),
        }
    }
    testhost::in_fresh_host(&crate::programs(profile)?, |host| testhost::run_crowd(host, containers))
}
