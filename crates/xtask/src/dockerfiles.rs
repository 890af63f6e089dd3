//! `xtask dockerfiles`: generated Dockerfiles at Docker's builder and at ours.

use anyhow::Result;
use testhost::Dockerfiles;

use crate::options::Options;

const COUNT: u32 = 1000;

/// Builds them with the programs of a profile; `LONGSHORE_PROGRAMS` names another folder.
pub fn dockerfiles(words: &[&str]) -> Result<()> {
    let options = Options::parse("dockerfiles", words, &["--count", "--seed"])?;
    let wanted = Dockerfiles { count: options.number("--count", COUNT)?, seed: options.number("--seed", 1)? };
    testhost::in_fresh_host(&options.programs("debug")?, |host| testhost::run_dockerfiles(host, wanted))
}
