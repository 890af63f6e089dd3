//! `docker-init`: process 1 of a container that was started with `--init`, in the place of Docker's tini.
//!
//! It starts the container's command in a process group of its own, hands every signal on to it, reaps whatever is left to
//! it (a first process inherits all orphans, pid_namespaces(7)), and ends as the command ended. It does nothing else: no
//! files, no threads, one descriptor.
//!
//! With `-E` it only gives the command variables that no record of the container may have (secrets of a build's step), and
//! becomes it.

mod arguments;
mod environment;
mod forward;

use std::process::{Command, ExitCode};

use arguments::{Asked, Options};

/// A shell's codes for a command that is not there, and for one that cannot be executed.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

fn main() -> ExitCode {
    let words = std::env::args_os().skip(1).collect();
    let options = match arguments::parse(words, |name| std::env::var_os(name).is_some()) {
        Ok(Asked::Run(options)) => options,
        Ok(Asked::Version) => {
            println!("{}", arguments::version());
            return ExitCode::SUCCESS;
        }
        Ok(Asked::Help) => {
            print!("{}", arguments::HELP);
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("docker-init: {why}\n{}", arguments::HELP);
            return ExitCode::FAILURE;
        }
    };
    let done = match &options.environment {
        Some(file) => environment::become_command(&options, file),
        None => run(&options),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("[FATAL tini ({})] {error}", std::process::id());
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> std::io::Result<u8> {
    let failed = |errno: sys::Errno| std::io::Error::from_raw_os_error(errno.0);
    if options.subreaper {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    } else if !rustix::process::getpid().is_init() {
        eprintln!(
            "[WARN  tini ({})] not running as PID 1 and not a child subreaper: zombies of others are not reaped (use -s)",
            std::process::id()
        );
    }
    // Before the command exists: none of its signals, and no end of a child, is missed.
    let signals = sys::signal::block_all_into_fd().map_err(failed)?;
    let mut command = Command::new(&options.command);
    command.args(&options.arguments);
    let child = match sys::spawn::in_foreground(&mut command) {
        Ok(child) => child,
        Err(error) => return Ok(not_started(options, &error)),
    };
    let status = forward::until_end(signals, rustix::process::Pid::from_child(&child), options.whole_group)?;
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 1,
    };
    let code = u8::try_from(code).unwrap_or(u8::MAX);
    Ok(if options.forgiven.contains(&code) { 0 } else { code })
}

/// Says it in the words of the program in whose place this one is, which people look for; answers a shell's code.
fn not_started(options: &Options, error: &std::io::Error) -> u8 {
    let (own, command) = (std::process::id(), options.command.display());
    eprintln!("[FATAL tini ({own})] exec {command} failed: {}", plain(error));
    if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE }
}

/// The system's words without Rust's "(os error 2)".
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
