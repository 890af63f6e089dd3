//! The last resort: killing the process of a shim that does not end when it is asked to.
//!
//! A shim is known by its working folder, which is its bundle. The process is pinned by a descriptor before that is
//! looked at, so that a number used again never hits somebody else (pidfd_open(2)).

use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Kills every process that works in a bundle, and answers how many those were.
pub fn kill(bundle: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir("/proc") else { return 0 };
    let mut killed = 0;
    for entry in entries.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else { continue };
        if !works_in(pid, bundle) {
            continue;
        }
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        if works_in(pid, bundle) && pidfd_send_signal(&process, Signal::KILL).is_ok() {
            killed += 1;
        }
    }
    killed
}

fn works_in(pid: Pid, bundle: &Path) -> bool {
    let Ok(folder) = std::fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero())) else { return false };
    let folder = folder.to_string_lossy();
    let folder = Path::new(folder.strip_suffix(" (deleted)").unwrap_or(&folder));
    // A bundle that is being removed has a hidden name.
    let hidden = bundle.file_name().map(|name| bundle.with_file_name(format!(".{}", name.to_string_lossy())));
    folder == bundle || hidden.is_some_and(|hidden| folder == hidden)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    #[test]
    fn who_works_in_the_bundle_is_killed_even_when_it_is_removed() {
        let folder = tempfile::tempdir().expect("tempdir");
        let bundle = folder.path().canonicalize().expect("path").join("one");
        std::fs::create_dir(&bundle).expect("mkdir");
        let start = |folder: &Path| {
            Command::new("cat").current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("cat")
        };
        let (mut inside, mut outside) = (start(&bundle), start(folder.path()));
        std::fs::rename(&bundle, bundle.with_file_name(".one")).expect("rename");
        std::fs::remove_dir(bundle.with_file_name(".one")).expect("rmdir");
        assert_eq!(kill(&bundle), 1);
        assert_eq!(inside.wait().expect("wait").signal(), Some(9));
        drop(outside.stdin.take());
        assert!(outside.wait().expect("wait").success());
    }
}
