//! A bundle with busybox, and docker-runc to run it.

use libtest_mimic::Failed;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const APPLETS: [&str; 32] = [
    "sh", "cat", "echo", "id", "ls", "mkdir", "mknod", "true", "sleep", "hostname", "env", "pwd", "stat", "touch",
    "head", "grep", "wc", "readlink", "ulimit", "tty", "stty", "mount", "chmod", "dd", "uname", "ionice", "chown",
    "nice", "seq", "unshare", "sort", "find",
];

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The program under test: cargo's, or where this suite was carried to another machine, the one that is named.
pub fn program() -> &'static str {
    static PROGRAM: LazyLock<String> = LazyLock::new(|| {
        std::env::var("DOCKER_RUNC").unwrap_or_else(|_| env!("CARGO_BIN_EXE_docker-runc").to_string())
    });
    &PROGRAM
}

/// Whether this machine has something that few have. Where `DOCKER_RUNC_NEEDS` names it, a machine without it is an error:
/// there, nothing is to be left out.
pub fn has(what: &str, found: bool) -> Result<bool, Failed> {
    let needs = std::env::var("DOCKER_RUNC_NEEDS").unwrap_or_default();
    check(found || !needs.split(' ').any(|name| name == what), &format!("this machine has {what}"))?;
    Ok(found)
}

/// Whether v2 has the controllers of this machine.
pub fn is_v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

pub struct Bundle {
    folder: TempDir,
    pub config: Value,
    pub id: String,
    /// Flags before each command.
    pub globals: Vec<&'static str>,
}

/// What a finished command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Bundle {
    /// The bundle of `docker-runc spec` without a terminal, running this shell script.
    pub fn new(script: &str) -> Result<Self, Failed> {
        let folder = tempfile::Builder::new().prefix("runc-test").tempdir()?;
        let bin = folder.path().join("rootfs/bin");
        fs::create_dir_all(&bin)?;
        fs::copy("/bin/busybox", bin.join("busybox"))?;
        for applet in APPLETS {
            symlink("busybox", bin.join(applet))?;
        }
        let status = Command::new(program()).arg("spec").current_dir(folder.path()).status()?;
        check(status.success(), "spec writes a config.json")?;
        let mut config: Value = serde_json::from_slice(&fs::read(folder.path().join("config.json"))?)?;
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = serde_json::json!(["/bin/sh", "-c", script]);
        let namespaces = config["linux"]["namespaces"].as_array_mut().ok_or("namespaces are a list")?;
        if !namespaces.iter().any(|namespace| namespace["type"] == "cgroup") {
            namespaces.push(serde_json::json!({ "type": "cgroup" }));
        }
        let id = format!("lt-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        config["linux"]["cgroupsPath"] = format!("/{id}").into();
        Ok(Self { folder, config, id, globals: Vec::new() })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn rootfs(&self) -> PathBuf {
        self.path().join("rootfs")
    }

    pub fn root(&self) -> PathBuf {
        self.path().join("state")
    }

    pub fn save(&self) -> Result<(), Failed> {
        Ok(fs::write(self.path().join("config.json"), serde_json::to_vec(&self.config)?)?)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .arg("--root")
            .arg(self.root())
            .args(&self.globals)
            .args(args)
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    pub fn runc(&self, args: &[&str]) -> Result<Said, Failed> {
        Ok(said(self.command(args).output()?))
    }

    /// `run` with the configuration as it is now.
    pub fn run(&self) -> Result<Said, Failed> {
        self.save()?;
        self.runc(&["run", &self.id])
    }

    /// `create`, with the container's output in a file: its descriptors stay open after the command has ended.
    pub fn create(&self) -> Result<(), Failed> {
        self.save()?;
        let output = fs::File::create(self.output_path())?;
        let mut command = self.command(&["create", "--pid-file", "pid", &self.id]);
        let status = command.stdout(output.try_clone()?).stderr(output).status()?;
        check(status.success(), &format!("create: {}", self.output()))
    }

    fn output_path(&self) -> PathBuf {
        self.path().join("output")
    }

    /// What a created container has printed until now.
    pub fn output(&self) -> String {
        fs::read_to_string(self.output_path()).unwrap_or_default()
    }

    pub fn pid(&self) -> Result<i32, Failed> {
        Ok(fs::read_to_string(self.path().join("pid"))?.parse()?)
    }

    pub fn status(&self) -> Result<String, Failed> {
        let state: Value = serde_json::from_str(&self.runc(&["state", &self.id])?.stdout)?;
        Ok(state["status"].as_str().unwrap_or_default().to_string())
    }

    /// Folders of this container's cgroup that exist.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let mount = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(mount).into_iter().flatten().flatten().map(|entry| entry.path());
        let folders = hierarchies.chain([mount.to_path_buf()]).map(|hierarchy| hierarchy.join(&self.id));
        folders.filter(|path| path.exists()).collect()
    }

    /// The file of a controller's v1 folder, or of the only folder of v2.
    pub fn cgroup_file(&self, controller: &str, file: &str) -> Result<String, Failed> {
        let hierarchy = if is_v2() { "" } else { controller };
        let path = Path::new("/sys/fs/cgroup").join(hierarchy).join(&self.id).join(file);
        Ok(fs::read_to_string(path)?.trim().to_string())
    }

    /// Nothing of the container is left.
    pub fn is_gone(&self) -> Result<(), Failed> {
        check(!self.root().join(&self.id).exists(), "the state folder is gone")?;
        same("cgroups left behind", &self.cgroups(), &Vec::new())
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = self.runc(&["delete", "--force", &self.id]);
    }
}

pub fn said(output: Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub fn check(holds: bool, what: &str) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(format!("does not hold: {what}").into()) }
}

pub fn same<T: PartialEq + std::fmt::Debug + ?Sized>(what: &str, got: &T, wanted: &T) -> Result<(), Failed> {
    if got == wanted { Ok(()) } else { Err(format!("{what}: got {got:?}, wanted {wanted:?}").into()) }
}

pub fn contains(text: &str, part: &str) -> Result<(), Failed> {
    check(text.contains(part), &format!("{part:?} in {text:?}"))
}

/// Waits until it holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) -> Result<(), Failed> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        check(Instant::now() < deadline, what)?;
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
