//! Hooks that run on the host (runtime-spec config.md, hooks); those inside the container are steps of the plan.

use crate::fd::Fd;
use crate::messages::signal_words;
use crate::record::Record;
use crate::{RuntimeError, Status};
use runtime_core::spec::Hook;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use sys::{process, spawn};

/// Runs the hooks in order; the first that fails ends it.
pub fn run(kind: &'static str, hooks: &[Hook], record: &Record, status: Status) -> Result<(), RuntimeError> {
    let state = record.oci_state(status, record.pid).to_string();
    for (index, hook) in hooks.iter().enumerate() {
        run_one(hook, &state, &record.bundle).map_err(|reason| RuntimeError::Hook { kind, index, reason })?;
    }
    Ok(())
}

/// Runs all hooks whatever becomes of them, and answers what failed: for poststart and poststop the specification wants
/// a warning and nothing else.
pub fn run_all(kind: &'static str, hooks: &[Hook], record: &Record, status: Status) -> Vec<String> {
    let state = record.oci_state(status, record.pid).to_string();
    let failed = |(index, hook): (usize, &Hook)| {
        run_one(hook, &state, &record.bundle).err().map(|reason| RuntimeError::Hook { kind, index, reason }.to_string())
    };
    hooks.iter().enumerate().filter_map(failed).collect()
}

fn run_one(hook: &Hook, state: &str, bundle: &str) -> Result<(), String> {
    let mut command = Command::new(&hook.path);
    command.args(hook.args.iter().skip(1)).env_clear().current_dir(bundle);
    command.envs(hook.env.iter().filter_map(|pair| pair.split_once('=')));
    command.stdin(Stdio::piped()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    if let Some(name) = hook.args.first() {
        std::os::unix::process::CommandExt::arg0(&mut command, name);
    }
    let mut child =
        spawn::with_nothing_blocked(&mut command).spawn().map_err(|error| sys::Errno::from(error).to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        // A hook that does not read its stdin is fine.
        let _ = stdin.write_all(state.as_bytes());
    }
    if let Some(seconds) = hook.timeout {
        wait_until(&mut child, seconds)?;
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    match (status.success(), status.signal()) {
        (true, _) => Ok(()),
        (false, Some(signal)) => Err(format!("signal: {}", signal_words(signal.unsigned_abs() as usize))),
        (false, None) => Err(format!("exit status {}", status.code().unwrap_or(-1))),
    }
}

fn wait_until(child: &mut Child, seconds: u32) -> Result<(), String> {
    let pid = child.id() as i32;
    let pidfd = process::pidfd_open(pid).map(Fd::new).map_err(|errno| errno.to_string())?;
    let mut wait = [libc::pollfd { fd: pidfd.raw(), events: libc::POLLIN, revents: 0 }];
    let timeout = i32::try_from(seconds.saturating_mul(1000)).unwrap_or(i32::MAX);
    if process::poll(&mut wait, timeout).map_err(|errno| errno.to_string())? > 0 {
        return Ok(());
    }
    let _ = child.kill();
    let _ = child.wait();
    Err(format!("hook ran past specified timeout of {seconds}s"))
}
