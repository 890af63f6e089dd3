//! Says which process the daemon is; two daemons with one file cannot run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::former;

#[derive(Debug)]
pub struct PidFile(PathBuf);

impl PidFile {
    pub fn write(path: &Path) -> Result<Self> {
        if let Ok(text) = fs::read_to_string(path) {
            let command = fs::read_to_string(format!("/proc/{}/comm", text.trim())).unwrap_or_default();
            let is_daemon = command.trim() == "dockerd" && text.trim() != std::process::id().to_string();
            if is_daemon && !text.trim().parse().is_ok_and(former::has_ended) {
                bail!(
                    "failed to start daemon, ensure docker is not running or delete {}: process with PID {} is still running",
                    path.display(),
                    text.trim()
                );
            }
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("failed to create pidfile directory {}", folder.display()))?;
        }
        fs::write(path, std::process::id().to_string()).with_context(|| path.display().to_string())?;
        Ok(Self(path.to_path_buf()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Nobody needs it any more; a failure leaves a stale file, which the next start recognises.
        let _ = fs::remove_file(&self.0);
    }
}
