//! The short form of `cargo xtask rounds`: some hundred containers of docker-runc leave nothing behind.

use std::process::ExitCode;

use testhost::{Needs, Test, run, run_runtime_rounds, test};

const BUSYBOX: &[Needs] = &[Needs::Path("/bin/busybox")];
const ROUNDS: u32 = 240;

const TESTS: &[Test] =
    &[test("containers_of_the_runtime_leave_the_host_as_it_was", BUSYBOX, |host| run_runtime_rounds(host, ROUNDS))];

fn main() -> ExitCode {
    run(TESTS)
}
