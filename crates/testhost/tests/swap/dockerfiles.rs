//! The short form of `cargo xtask dockerfiles`.

use anyhow::Result;
use testhost::{Dockerfiles, Host, run_dockerfiles};

pub fn a_few(host: &Host) -> Result<()> {
    run_dockerfiles(host, Dockerfiles { count: 25, seed: 1 })
}
