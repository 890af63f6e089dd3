//! `xtask soak`: the long form of testhost's soak, with the release programs.

use anyhow::Result;
use testhost::Soak;

use crate::options::Options;

const CONTAINERS: u32 = 20_000;
const PORTIONS: u32 = 40;

pub fn soak(words: &[&str]) -> Result<()> {
    let options = Options::parse("soak", words, &["--containers"])?;
    let soak = Soak { containers: options.number("--containers", CONTAINERS)?, portions: PORTIONS };
    testhost::in_fresh_host(&options.programs("release")?, |host| testhost::run_soak(host, soak))
}
