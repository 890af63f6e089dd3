//! docker-runc against a real kernel: busybox bundles in a temporary folder, as root, in a mount and a network namespace of
//! the test's own. Each test leaves no process, cgroup or folder behind, and says so by checking.

mod breakout;
mod bundle;
mod checkpoint;
mod failures;
mod ids;
mod isolation;
mod lifecycle;
mod processes;
mod security;
mod specials;
mod systemd;

use libtest_mimic::{Arguments, Failed, Trial};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

type Test = (&'static str, fn() -> Result<(), Failed>);

fn main() {
    let arguments = Arguments::from_args();
    let tests: Vec<Test> = [
        lifecycle::TESTS,
        processes::TESTS,
        isolation::TESTS,
        ids::TESTS,
        security::TESTS,
        breakout::TESTS,
        specials::TESTS,
        systemd::TESTS,
        checkpoint::TESTS,
        failures::TESTS,
    ]
    .concat();
    let missing = missing();
    if missing.is_none() && !arguments.list {
        // Before any thread exists.
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).expect("root may unshare");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("root may change propagation");
    }
    if let Some(reason) = &missing {
        eprintln!("skipped: {reason}");
    }
    let trial = |(name, test): Test| Trial::test(name, test).with_ignored_flag(missing.is_some());
    libtest_mimic::run(&arguments, tests.into_iter().map(trial).collect()).exit();
}

/// What this machine lacks for the tests.
fn missing() -> Option<&'static str> {
    if !nix::unistd::Uid::effective().is_root() {
        return Some("needs root");
    }
    (!std::path::Path::new("/bin/busybox").exists()).then_some("needs Debian's busybox-static")
}
