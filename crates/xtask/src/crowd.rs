//! `xtask crowd`: the long form of testhost's crowd on one network, with the release programs.

use anyhow::Result;

use crate::options::Options;

const CONTAINERS: usize = 2000;

pub fn crowd(words: &[&str]) -> Result<()> {
    let options = Options::parse("crowd", words, &["--containers"])?;
    let containers = options.number("--containers", CONTAINERS)?;
    testhost::in_fresh_host(&options.programs("release")?, |host| testhost::run_crowd(host, containers))
}
