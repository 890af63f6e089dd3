//! The short form of `cargo xtask kill`: the daemons die at random moments of 20 rounds.

use std::process::ExitCode;

use anyhow::Result;
use testhost::{Host, Needs, Rounds, Test, run, run_kill_rounds, test};

const BUSYBOX: &[Needs] = &[Needs::Path("/bin/busybox")];

const TESTS: &[Test] =
    &[test("daemons_killed_at_any_moment_lose_no_container_line_or_exit_code", BUSYBOX, twenty_rounds)];

fn main() -> ExitCode {
    run(TESTS)
}

fn twenty_rounds(host: &Host) -> Result<()> {
    run_kill_rounds(host, Rounds { rounds: 20, seed: 2 })
}
