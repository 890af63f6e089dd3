//! `checkpoint` and `restore`: a container's processes as files, by criu(8), where that is installed.
//!
//! criu freezes, reads and rebuilds processes; what it cannot know is told to it here: which mounts come from outside, where
//! the root is, which namespaces and control groups are its surroundings.

pub mod checkpoint;
pub mod restore;
mod rpc;
mod service;
mod surroundings;

use crate::{Notes, RuntimeError};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The oldest that is asked, as its version is one number: 3.0.0.
const OLDEST: i32 = 30_000;
/// What criu writes of the streams of a container's first process, for its restore.
const DESCRIPTORS: &str = "descriptors.json";
/// criu's words in its log: enough to see what it stumbled over.
const LOG_LEVEL: i32 = 4;
/// Lines before an error that are quoted with it, and how many are quoted at all.
const QUOTED_BEFORE: usize = 5;
const QUOTED_MOST: usize = 60;
const MAX_LOG: u64 = 16 << 20;
const DEFAULT_CONFIGURATION: &str = "/etc/criu/runc.conf";
const CONFIGURATION_ANNOTATION: &str = "org.criu.config";

/// What both commands are told.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Empty: `checkpoint` in the working directory.
    pub image_path: Option<PathBuf>,
    pub work_path: Option<PathBuf>,
    pub tcp_established: bool,
    pub external_unix_sockets: bool,
    pub shell_job: bool,
    pub file_locks: bool,
    pub auto_dedup: bool,
    pub lazy_pages: bool,
    pub cgroups: CgroupsMode,
    /// Namespaces that are made and whose properties are not restored, besides the network.
    pub empty_namespaces: Vec<String>,
}

/// What criu does about control groups that are not as they were (criu(8), --manage-cgroups).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupsMode {
    Ignore = 0,
    #[default]
    Soft = 3,
    Full = 4,
    Strict = 5,
}

impl CgroupsMode {
    pub fn parse(text: &str) -> Result<Self, RuntimeError> {
        match text {
            "" | "soft" => Ok(Self::Soft),
            "full" => Ok(Self::Full),
            "strict" => Ok(Self::Strict),
            "ignore" => Ok(Self::Ignore),
            other => Err(RuntimeError::InvalidArgument(format!("invalid manage-cgroups-mode value: {other:?}"))),
        }
    }
}

impl Settings {
    fn images(&self) -> PathBuf {
        self.image_path.clone().unwrap_or_else(|| PathBuf::from("checkpoint"))
    }

    /// The options that need no more than these.
    fn options(&self) -> Result<rpc::Options, RuntimeError> {
        // The network's devices and addresses belong to who made the namespace: it comes back empty.
        let mut empty = sys::process::CLONE_NEWNET.cast_unsigned();
        for name in &self.empty_namespaces {
            match name.as_str() {
                "network" => empty |= sys::process::CLONE_NEWNET.cast_unsigned(),
                other => {
                    return Err(RuntimeError::InvalidArgument(format!("namespace {other:?} is not supported")));
                }
            }
        }
        Ok(rpc::Options {
            log_level: Some(LOG_LEVEL),
            manage_cgroups: Some(true),
            cgroups_mode: Some(self.cgroups as i32),
            notify_scripts: Some(true),
            shell_job: Some(self.shell_job),
            tcp_established: Some(self.tcp_established),
            external_unix_sockets: Some(self.external_unix_sockets),
            file_locks: Some(self.file_locks),
            empty_namespaces: Some(empty),
            orphan_terminal_master: Some(true),
            auto_dedup: Some(self.auto_dedup),
            lazy_pages: Some(self.lazy_pages),
            ..rpc::Options::default()
        })
    }
}

/// criu's own file of settings; an annotation names another, or none.
fn configuration(annotations: &std::collections::BTreeMap<String, String>) -> Option<String> {
    let named = annotations.get(CONFIGURATION_ANNOTATION).map_or(DEFAULT_CONFIGURATION, String::as_str);
    (!named.is_empty()).then(|| named.to_string())
}

fn check_version() -> Result<i32, RuntimeError> {
    let version = service::Criu::version().map_err(|error| {
        RuntimeError::InvalidArgument(format!("CRIU version check failed: {}", errors::chain(&error)))
    })?;
    if version < OLDEST {
        return Err(RuntimeError::InvalidArgument(format!("CRIU version {version} must be {OLDEST} or higher")));
    }
    Ok(version)
}

/// Memory of processes lies in it: for root alone.
fn make_folder(path: &Path) -> Result<fs::File, RuntimeError> {
    let mut builder = fs::DirBuilder::new();
    match builder.recursive(true).mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(RuntimeError::file(format!("mkdir {}", path.display()))(error));
        }
        _ => {}
    }
    fs::File::open(path).map_err(RuntimeError::file(format!("open {}", path.display())))
}

/// What criu's log has of errors goes into ours, as nobody looks for that file.
fn quote_log(folder: &Path, name: &str, notes: &mut Notes) {
    let path = folder.join(name);
    let Ok(file) = fs::File::open(&path) else { return };
    let mut text = String::new();
    if io::Read::read_to_string(&mut io::Read::take(file, MAX_LOG), &mut text).is_err() {
        return;
    }
    let lines: Vec<&str> = text.lines().collect();
    let near = |at: usize| lines.iter().skip(at).take(QUOTED_BEFORE + 1).any(|line| line.contains("Error"));
    let quoted: Vec<String> = (0..lines.len())
        .filter(|at| near(*at))
        .take(QUOTED_MOST)
        .map(|at| format!("{}:{}", at + 1, lines[at]))
        .collect();
    if !quoted.is_empty() {
        notes.warnings.push(format!("--- Quoting {:?}", path.display().to_string()));
        notes.warnings.extend(quoted);
        notes.warnings.push("---".into());
    }
}
