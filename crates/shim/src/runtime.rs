//! The runtime: our own inside this process, or a program with runc's command line; and what it says when it fails.

use crate::work::Work;
use ::runtime::Root;
use ::runtime::protect::is_protected;
use containerd_api::runc::v1::Options;
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use sys::program::Version;

/// Where containerd's shim keeps runc's state when the options name no place.
const DEFAULT_ROOT: &str = "/run/containerd/runc";
/// The file in the bundle from which `delete` learns which runtime it was.
const OPTIONS_FILE: &str = "options.json";
const OWN_RUNTIME: &str = "docker-runc";
/// Bytes of the runtime's log that are looked at after a failure.
const LOG_LIMIT: u64 = 64 << 10;

/// The options that outlive the shim, under containerd's names.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RuntimeOptions {
    pub binary_name: String,
    pub root: String,
    pub systemd_cgroup: bool,
    pub no_pivot_root: bool,
    pub no_new_keyring: bool,
}

impl From<&Options> for RuntimeOptions {
    fn from(options: &Options) -> Self {
        Self {
            binary_name: options.binary_name.clone(),
            root: options.root.clone(),
            systemd_cgroup: options.systemd_cgroup,
            no_pivot_root: options.no_pivot_root,
            no_new_keyring: options.no_new_keyring,
        }
    }
}

impl RuntimeOptions {
    pub fn save(&self, bundle: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        let mut file =
            File::options().create(true).truncate(true).write(true).mode(0o600).open(bundle.join(OPTIONS_FILE))?;
        file.write_all(&text)
    }

    /// The saved options; the defaults if there are none.
    pub fn load(bundle: &Path) -> io::Result<Self> {
        match fs::read(bundle.join(OPTIONS_FILE)) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }
}

#[derive(Debug)]
pub struct Runtime {
    binary: PathBuf,
    /// The program's file when the container was made.
    version: Option<Version>,
    protected: Option<OwnedFd>,
    root: PathBuf,
    log: PathBuf,
    systemd_cgroup: bool,
    /// Where our own runtime keeps its containers, if that is the runtime.
    own: Option<Root>,
}

impl Runtime {
    /// `program`: this program, by which its own runtime is known.
    pub fn new(options: &RuntimeOptions, namespace: &str, bundle: &Path, program: &Path) -> Self {
        let root = if options.root.is_empty() { DEFAULT_ROOT } else { &options.root };
        let root = Path::new(root).join(namespace);
        let own = own_runtime(program);
        let binary = match &own {
            _ if !options.binary_name.is_empty() => PathBuf::from(&options.binary_name),
            Some(own) if own.exists() => own.clone(),
            _ => PathBuf::from("runc"),
        };
        // Units are made over D-Bus, which is nothing for this process.
        let own = own.filter(|own| *own == binary && !options.systemd_cgroup).map(|_| Root::new(root.clone()));
        let performed = own.is_some() && is_protected().unwrap_or(false);
        Self {
            version: Version::of(&binary),
            protected: if performed { None } else { protect(&binary) },
            own,
            binary,
            root,
            log: bundle.join("log.json"),
            systemd_cgroup: options.systemd_cgroup,
        }
    }

    /// Where our own runtime keeps its containers, if that is the runtime and may be performed by copies of this process:
    /// nobody can write to this program, and the runtime's was not replaced since, as by an upgrade that mends a fault.
    pub fn inside(&self) -> Option<&Root> {
        self.own.as_ref().filter(|_| !self.is_replaced() && is_protected().unwrap_or(false))
    }

    /// Whether another program has taken the place of the one that made the container. One that is gone leaves its work to
    /// what there is of it.
    fn is_replaced(&self) -> bool {
        Version::of(&self.binary).is_some_and(|version| Some(version) != self.version)
    }

    /// The same for work that makes no process in a container.
    pub fn own(&self) -> Option<&Root> {
        self.own.as_ref()
    }

    /// `runc … SUBCOMMAND …`; its stdio is /dev/null until set.
    pub fn command(&self, id: &str, work: &Work) -> Command {
        let mut command = match self.protected.as_ref().filter(|_| !self.is_replaced()) {
            Some(program) => Command::new(format!("/proc/self/fd/{}", program.as_raw_fd())),
            None => Command::new(&self.binary),
        };
        command.arg0(&self.binary);
        command.arg("--root").arg(&self.root).arg("--log").arg(&self.log).args(["--log-format", "json"]);
        if self.systemd_cgroup {
            command.arg("--systemd-cgroup");
        }
        command.args(work.words(id));
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::null());
        command
    }

    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The log's length now: an error that a later command writes stands behind it.
    pub fn log_position(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |metadata| metadata.len())
    }

    /// The last error in the log behind a position.
    pub fn last_error(&self, position: u64) -> Option<String> {
        let mut file = File::open(&self.log).ok()?;
        file.seek(SeekFrom::Start(position)).ok()?;
        let mut text = Vec::new();
        file.take(LOG_LIMIT).read_to_end(&mut text).ok()?;
        last_error_line(&text)
    }
}

fn last_error_line(log: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(default)]
        level: String,
        #[serde(default)]
        msg: String,
    }
    log.split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Line>(line).ok())
        .filter(|line| line.level == "error")
        .map(|line| line.msg.trim().to_owned())
        .next_back()
}

/// Our own runtime stands beside this program, which whoever executes it by descriptor names all the same.
fn own_runtime(program: &Path) -> Option<PathBuf> {
    let named = program.is_absolute().then(|| program.to_owned());
    named.or_else(|| std::env::current_exe().ok()).map(|program| program.with_file_name(OWN_RUNTIME))
}

/// Our own runtime is executed from a read-only mount that it would otherwise make for itself, and execute itself again
/// from (CVE-2019-5736). Others know their own ways. Where the kernel makes no such mount, it is left to the runtime.
fn protect(binary: &Path) -> Option<OwnedFd> {
    if binary.file_name()? != OWN_RUNTIME {
        return None;
    }
    let path = CString::new(binary.as_os_str().as_bytes()).ok()?;
    sys::mount::readonly_clone(&path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_of_the_log_is_the_message() {
        let log = b"{\"level\":\"error\",\"msg\":\"first\"}\n{\"level\":\"warning\",\"msg\":\"w\"}\nrubbish\n{\"level\":\"error\",\"msg\":\" why \",\"time\":\"t\"}\n";
        assert_eq!(last_error_line(log).as_deref(), Some("why"));
        assert_eq!(last_error_line(b""), None);
    }

    #[test]
    fn the_options_that_delete_needs_survive_the_shim() {
        let folder = tempfile::tempdir().expect("tempdir");
        assert_eq!(RuntimeOptions::load(folder.path()).expect("none").binary_name, "");
        let options = RuntimeOptions { binary_name: "/bin/crun".into(), root: "/r".into(), ..Default::default() };
        options.save(folder.path()).expect("save");
        let loaded = RuntimeOptions::load(folder.path()).expect("load");
        let runtime = Runtime::new(&loaded, "moby", folder.path(), Path::new("/bin/docker-containerd-shim"));
        let command = runtime.command("id", &Work::Kill { all: false, signal: 9 });
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let log = folder.path().join("log.json").display().to_string();
        assert_eq!(command.get_program(), "/bin/crun");
        assert_eq!(args, ["--root", "/r/moby", "--log", &log, "--log-format", "json", "kill", "id", "9"]);
        assert!(runtime.inside().is_none());
    }

    #[test]
    fn a_runtime_that_was_replaced_is_executed_by_its_path() {
        let folder = tempfile::tempdir().expect("tempdir");
        let program = folder.path().join(OWN_RUNTIME);
        let write = |text: &str| {
            let new = folder.path().join("new");
            fs::write(&new, text).and_then(|()| fs::rename(&new, &program)).expect("write");
        };
        write("old");
        let shim = folder.path().join("docker-containerd-shim");
        let mut runtime = Runtime::new(&RuntimeOptions::default(), "moby", folder.path(), &shim);
        assert!(runtime.own().is_some());
        // As where the kernel makes such a mount, which needs root.
        runtime.protected = Some(File::open(&program).expect("open").into());
        let program_of = |runtime: &Runtime| runtime.command("id", &Work::Start).get_program().to_owned();
        assert!(program_of(&runtime).to_string_lossy().starts_with("/proc/self/fd/"));
        write("new");
        assert!(runtime.is_replaced() && runtime.inside().is_none());
        assert_eq!(program_of(&runtime), program);
        fs::remove_file(&program).expect("remove");
        assert!(!runtime.is_replaced());
    }
}
