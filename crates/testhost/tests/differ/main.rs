//! The short form of `cargo xtask differ`: the cases that are marked as quick, on hosts of their own.

use std::process::ExitCode;

use anyhow::Result;
use testhost::{DifferPart, DifferSelection, Host, Needs, Test, run, run_differ, test};

const BUSYBOX: &[Needs] = &[Needs::Path("/bin/busybox")];
const DOCKER: &[Needs] = &[Needs::Path("/usr/sbin/dockerd"), Needs::Path("/bin/busybox")];

const TESTS: &[Test] = &[
    test("requests_get_the_answers_of_docker_s_engine", DOCKER, |host| play(host, DifferPart::Requests)),
    test("command_lines_print_what_docker_s_print", DOCKER, |host| play(host, DifferPart::Commands)),
    test("answers_are_as_the_api_reference_says", BUSYBOX, |host| play(host, DifferPart::Newest)),
];

fn main() -> ExitCode {
    run(TESTS)
}

fn play(host: &Host, part: DifferPart) -> Result<()> {
    run_differ(host, &DifferSelection { parts: vec![part], quick: true, ..DifferSelection::whole() })
}
