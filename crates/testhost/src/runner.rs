//! The `main` of a test file: lists tests for nextest and runs each in a process of its own.

use std::env;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};

use crate::host::{Host, OUTER_NAMESPACE};

/// Tells a process of the runner which test it is.
const ONE_TEST: &str = "TESTHOST_TEST";

/// Something that a test cannot do without.
#[derive(Debug, Clone, Copy)]
pub enum Needs {
    /// A program on the PATH; with the Debian package that has it.
    Program(&'static str, &'static str),
    /// A file or folder of this machine.
    Path(&'static str),
}

/// A test: its name is a sentence about behaviour.
pub struct Test {
    name: &'static str,
    needs: &'static [Needs],
    body: fn(&Host) -> Result<()>,
}

pub const fn test(name: &'static str, needs: &'static [Needs], body: fn(&Host) -> Result<()>) -> Test {
    Test { name, needs, body }
}

/// Runs the tests that the arguments ask for.
pub fn run(tests: &[Test]) -> ExitCode {
    if let Ok(name) = env::var(ONE_TEST) {
        return match tests.iter().find(|test| test.name == name) {
            Some(test) => run_here(test),
            None => ExitCode::FAILURE,
        };
    }
    let arguments = Arguments::from_args();
    let trials = tests.iter().map(|test| {
        let name = test.name;
        let reason = missing(test.needs);
        let trial = Trial::test(name, move || run_apart(name));
        match reason {
            Some(reason) => {
                if !arguments.list {
                    eprintln!("skipped: {name}: {reason}");
                }
                trial.with_ignored_flag(true)
            }
            None => trial,
        }
    });
    let trials = trials.collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Why the test cannot run here.
fn missing(needs: &[Needs]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    needs.iter().find_map(|need| match need {
        Needs::Program(program, package) => {
            (!on_path(program)).then(|| format!("needs {program} of Debian's package {package}"))
        }
        Needs::Path(path) => (!Path::new(path).exists()).then(|| format!("needs {path}")),
    })
}

fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn run_apart(name: &str) -> Result<(), Failed> {
    let status = in_namespaces(Command::new(env::current_exe()?).env(ONE_TEST, name))?.status()?;
    match (status.success(), status.signal()) {
        (true, _) => Ok(()),
        (false, Some(signal)) => Err(format!("ended by signal {signal}").into()),
        (false, None) => Err("failed, see above".into()),
    }
}

/// The program in a process namespace below a shell that reaps orphans: whatever becomes of it, the kernel ends all that
/// it started.
fn in_namespaces(command: &Command) -> Result<Command> {
    let mut wrapped = Command::new("unshare");
    wrapped.args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]);
    wrapped.args(["sh", "-c", "\"$@\"; exit $?", "sh"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        wrapped.env(name, value.unwrap_or_default());
    }
    wrapped.env(OUTER_NAMESPACE, fs::read_link("/proc/self/ns/pid")?);
    Ok(wrapped)
}

/// The process of one test: still with one thread, so that it may enter namespaces.
fn run_here(test: &Test) -> ExitCode {
    match Host::enter().and_then(|host| judge(&host, || (test.body)(&host))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The body's outcome, and that it left nothing behind.
fn judge(host: &Host, body: impl FnOnce() -> Result<()>) -> Result<()> {
    let tested = catch_unwind(AssertUnwindSafe(body));
    let tested = tested.unwrap_or_else(|_| Err(anyhow::anyhow!("panicked")));
    let tested = tested.and_then(|()| host.expect_no_container_left());
    if tested.is_err() {
        host.print_logs();
        host.sweep();
        return tested;
    }
    let ended = host.end();
    let left = host.leaked();
    host.sweep();
    ended?;
    let left = left?;
    anyhow::ensure!(left.is_empty(), "left behind:\n  {}", left.join("\n  "));
    Ok(())
}

/// Runs a chore of another program as a test is run: in fresh namespaces, with the comparison at the end. The program
/// calls itself with the same arguments; in the inner call the body runs.
pub fn in_fresh_host(programs: &Path, body: impl FnOnce(&Host) -> Result<()>) -> Result<()> {
    if env::var_os(ONE_TEST).is_none() {
        let mut own = Command::new(env::current_exe()?);
        own.args(env::args_os().skip(1)).env(ONE_TEST, "chore");
        let status = in_namespaces(&own)?.status()?;
        anyhow::ensure!(status.success(), "{status}");
        return Ok(());
    }
    let host = Host::enter_with(programs.to_path_buf())?;
    judge(&host, || body(&host))
}
