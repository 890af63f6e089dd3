//! Which program is the shim of a runtime name.
//!
//! `io.containerd.runc.v2` (and `.v1`) is our own shim unless the configuration names another program; an absolute path
//! is that program; any other `PREFIX.NAME.VERSION` is `containerd-shim-NAME-VERSION`, as containerd's `core/runtime/v2`
//! README says, beside our own executable or in the search path.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::identifier;
use crate::messages;

/// The shim that stands beside our own executable.
pub(crate) const OWN_SHIM: &str = "docker-containerd-shim";
/// What it does, and performs itself where it may.
pub(crate) const OWN_RUNTIME: &str = "docker-runc";
const OWN_RUNTIMES: [&str; 2] = ["io.containerd.runc.v2", "io.containerd.runc.v1"];
/// What a container gets that names no runtime.
pub const DEFAULT_RUNTIME: &str = "io.containerd.runc.v2";

#[derive(Debug, Clone, Default)]
pub struct Runtimes {
    /// Runtime name → program, as configured.
    pub configured: BTreeMap<String, PathBuf>,
    /// Folders to look in, in order.
    pub search: Vec<PathBuf>,
}

impl Runtimes {
    /// Looks beside `executable` first, then in the folders of `path` (the value of `PATH`).
    pub fn new(configured: BTreeMap<String, PathBuf>, executable: &Path, path: Option<&std::ffi::OsStr>) -> Self {
        let beside = executable.parent().map(Path::to_path_buf);
        let search = beside.into_iter().chain(path.map(std::env::split_paths).into_iter().flatten()).collect();
        Self { configured, search }
    }

    /// The program of a runtime; it exists now.
    pub fn resolve(&self, name: &str) -> Result<PathBuf> {
        let name = if name.is_empty() { DEFAULT_RUNTIME } else { name };
        if let Some(program) = self.configured.get(name) {
            return existing(name, program.clone());
        }
        if name.starts_with('/') {
            return existing(name, PathBuf::from(name));
        }
        let program = if OWN_RUNTIMES.contains(&name) { OWN_SHIM.to_owned() } else { program_name(name)? };
        self.search
            .iter()
            .map(|folder| folder.join(&program))
            .find(|candidate| candidate.is_file())
            .ok_or_else(|| messages::runtime_not_found(name, &program))
    }
}

fn existing(name: &str, program: PathBuf) -> Result<PathBuf> {
    if program.is_file() { Ok(program) } else { Err(messages::runtime_not_found(name, &program.to_string_lossy())) }
}

fn program_name(runtime: &str) -> Result<String> {
    let invalid = || {
        Error::InvalidArgument(format!(
            "invalid runtime name {runtime:?}, correct runtime name should be either format like `io.containerd.runc.v2` or a full path to the binary: invalid argument"
        ))
    };
    identifier::check(runtime).map_err(|_| invalid())?;
    let mut parts = runtime.rsplit('.');
    match (parts.next(), parts.next()) {
        (Some(version), Some(name)) => Ok(format!("containerd-shim-{name}-{version}")),
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use errors::{ErrorKind, Kind};

    fn runtimes(folder: &Path) -> Runtimes {
        for name in ["docker-containerd-shim", "containerd-shim-kata-v2", "mine"] {
            std::fs::write(folder.join(name), "").expect("write");
        }
        let configured = [("io.containerd.mine.v2".to_owned(), folder.join("mine"))].into();
        Runtimes::new(configured, &folder.join("docker-containerd"), None)
    }

    #[test]
    fn names_lead_to_programs() {
        let folder = tempfile::tempdir().expect("tempdir");
        let runtimes = runtimes(folder.path());
        let own = folder.path().join("docker-containerd-shim");
        let path = own.to_string_lossy().into_owned();
        for (name, program) in [
            ("", "docker-containerd-shim"),
            ("io.containerd.runc.v2", "docker-containerd-shim"),
            ("io.containerd.runc.v1", "docker-containerd-shim"),
            ("io.containerd.kata.v2", "containerd-shim-kata-v2"),
            ("io.containerd.mine.v2", "mine"),
            (path.as_str(), "docker-containerd-shim"),
        ] {
            assert_eq!(runtimes.resolve(name).expect(name), folder.path().join(program), "{name}");
        }
    }

    #[test]
    fn what_is_not_installed_or_no_name_is_said() {
        let folder = tempfile::tempdir().expect("tempdir");
        let runtimes = runtimes(folder.path());
        let kind = |name: &str| runtimes.resolve(name).expect_err(name).kind();
        assert_eq!(kind("io.containerd.gone.v2"), ErrorKind::NotFound);
        assert_eq!(kind("/no/such/shim"), ErrorKind::NotFound);
        assert_eq!(kind("runc"), ErrorKind::InvalidArgument);
        assert_eq!(kind("../../bin/sh"), ErrorKind::InvalidArgument);
        assert_eq!(kind("io.containerd.a/b.v2"), ErrorKind::InvalidArgument);
    }
}
