//! The short forms of `cargo xtask soak` and `cargo xtask crowd`: some hundred containers leave nothing behind.

use std::process::ExitCode;

use testhost::{Needs, Soak, Test, run, run_crowd, run_soak, test};

const BUSYBOX: &[Needs] = &[Needs::Path("/bin/busybox")];

const TESTS: &[Test] = &[
    test("containers_that_come_and_go_leave_the_daemons_as_they_were", BUSYBOX, |host| {
        run_soak(host, Soak { containers: 320, portions: 4 })
    }),
    test("a_crowd_on_one_network_finds_and_reaches_each_other", BUSYBOX, |host| run_crowd(host, 120)),
];

fn main() -> ExitCode {
    run(TESTS)
}
