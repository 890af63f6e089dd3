//! What lies in a guest: `/init` and busybox outside, everything else below `/image`, which becomes the root.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

const INIT: &str = include_str!("init.sh");
const PREPARE: &str = include_str!("prepare.sh");
const ENGINE: &str = include_str!("engine.sh");
const NETWORKS: &str = include_str!("networks.sh");
const RUNTIME: &str = include_str!("runtime.sh");
const PROGRAMS: [&str; 7] =
    ["docker", "dockerd", "docker-containerd", "docker-containerd-shim", "docker-runc", "docker-netd", "docker-init"];
const MODULES: [&str; 31] = [
    "overlay",
    "veth",
    "bridge",
    "br_netfilter",
    "nf_tables",
    "nft_chain_nat",
    "nft_masq",
    "nft_nat",
    "nft_ct",
    "nft_redir",
    "nft_fib_inet",
    "nft_reject_inet",
    "nf_conntrack",
    "nft_log",
    "macvlan",
    "ipvlan",
    "8021q",
    "dummy",
    "loop",
    // What criu asks sockets by.
    "unix_diag",
    "tcp_diag",
    "udp_diag",
    "netlink_diag",
    "af_packet_diag",
    "tun",
    // By which it keeps packets from a container that is being dumped.
    "nft_compat",
    "xt_mark",
    "sctp",
    // A server of files and its client.
    "nfsd",
    "nfs",
    "nfsv4",
];
/// Debian's programs that the runtime's tests use, and systemd; with the libraries that they need.
const OF_DEBIAN: [&str; 13] = [
    "/lib/systemd/systemd",
    "/bin/systemctl",
    "/usr/bin/dbus-daemon",
    "/usr/sbin/apparmor_parser",
    "/usr/sbin/criu",
    "/usr/sbin/iptables-save",
    "/usr/sbin/iptables-restore",
    "/usr/sbin/ip6tables-save",
    "/usr/sbin/ip6tables-restore",
    "/bin/bash",
    "/bin/tar",
    "/bin/ip",
    "/usr/bin/taskset",
];
/// Debian's programs that the networks' tests use: who speaks SCTP, and a server of NFS with what it reads.
const OF_NETWORKS: [&str; 8] = [
    "/bin/ip",
    "/usr/bin/socat",
    "/usr/sbin/rpc.nfsd",
    "/usr/sbin/rpc.mountd",
    "/usr/sbin/exportfs",
    "/etc/netconfig",
    "/etc/protocols",
    "/etc/services",
];
/// Units of the last guest: a bus, and the tests as all that is started.
const UNITS: [(&str, &str); 4] = [
    ("default.target", "[Unit]\nDefaultDependencies=no\nRequires=suite.service\nWants=dbus.socket\n"),
    ("dbus.socket", "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/dbus/system_bus_socket\n"),
    (
        "dbus.service",
        "[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\n[Service]\nType=simple\n\
         ExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile --syslog-only\n",
    ),
    (
        "suite.service",
        "[Unit]\nDefaultDependencies=no\nAfter=dbus.socket\n[Service]\nType=oneshot\nTimeoutStartSec=infinity\n\
         ExecStart=/test\nStandardInput=null\nStandardOutput=tty\nStandardError=tty\nTTYPath=/dev/console\n",
    ),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guest {
    /// The daemons on busybox.
    Engine,
    /// The daemons on busybox, and a server of files beside them.
    Networks,
    /// docker-runc's own tests, under systemd.
    Runtime,
}

impl Guest {
    pub const ALL: [Self; 3] = [Self::Engine, Self::Networks, Self::Runtime];

    pub fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Networks => "networks",
            Self::Runtime => "runtime",
        }
    }

    /// What of ours is in it.
    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Engine | Self::Networks => &PROGRAMS,
            Self::Runtime => &["docker-runc"],
        }
    }

    pub fn make_archive(self, folder: &Path, version: &str, profile: &str) -> Result<PathBuf> {
        let root = folder.join("root");
        let image = root.join("image");
        for name in ["bin", "sbin", "etc", "lib", "lib64", "usr", "proc", "sys", "dev", "run", "tmp", "var/lib", "root"]
        {
            fs::create_dir_all(image.join(name))?;
        }
        fs::create_dir_all(root.join("bin"))?;
        fs::copy("/bin/busybox", root.join("bin/busybox")).context("busybox-static")?;
        fs::write(image.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nmessagebus:x:100:100::/:/bin/false\n")?;
        fs::write(image.join("etc/group"), "root:x:0:\nmessagebus:x:100:\n")?;
        let programs = crate::programs(profile)?;
        for program in self.programs() {
            fs::copy(programs.join(program), image.join("bin").join(program)).context(program)?;
        }
        copy_modules(version, &image)?;
        script(&root.join("init"), INIT)?;
        match self {
            Self::Engine => {
                script(&image.join("sbin/init"), PREPARE)?;
                script(&image.join("test"), ENGINE)?;
            }
            Self::Networks => {
                script(&image.join("sbin/init"), PREPARE)?;
                script(&image.join("test"), NETWORKS)?;
                OF_NETWORKS.iter().try_for_each(|program| copy_with_libraries(Path::new(program), &image))?;
            }
            Self::Runtime => add_systemd_and_tests(&image)?,
        }
        // Last, so that Debian's own programs keep their names.
        add_busybox(&image)?;
        pack(&root, folder)
    }
}

fn add_busybox(image: &Path) -> Result<()> {
    fs::copy("/bin/busybox", image.join("bin/busybox"))?;
    for applet in String::from_utf8(Command::new("/bin/busybox").arg("--list").output()?.stdout)?.lines() {
        let path = image.join("bin").join(applet);
        if applet != "busybox" && !path.exists() {
            symlink("busybox", path)?;
        }
    }
    Ok(())
}

fn add_systemd_and_tests(image: &Path) -> Result<()> {
    for program in OF_DEBIAN {
        copy_with_libraries(Path::new(program), image)?;
    }
    symlink("/lib/systemd/systemd", image.join("sbin/init"))?;
    copy_tree(Path::new("/usr/share/dbus-1"), image)?;
    // What iptables loads.
    let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
    copy_tree(&Path::new("/usr/lib").join(triple).join("xtables"), image)?;
    let units = image.join("etc/systemd/system");
    fs::create_dir_all(&units)?;
    for (name, text) in UNITS {
        fs::write(units.join(name), text)?;
    }
    fs::copy(suite()?, image.join("bin/runtime-suite"))?;
    script(&image.join("test"), RUNTIME)
}

/// The test program of docker-runc, as cargo builds it.
fn suite() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let words =
        ["test", "--package", "docker-runc", "--test", "runc", "--no-run", "--message-format", "json", "--quiet"];
    let output =
        Command::new(cargo).args(words).stderr(std::process::Stdio::inherit()).output().context("cargo test")?;
    ensure!(output.status.success(), "cargo test --no-run: {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    let messages = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    // The program under test is named too, before or after.
    let mut tests = messages.filter(|message| message["target"]["kind"] == serde_json::json!(["test"]));
    let built = tests.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    built.context("cargo names no test program")
}

/// A program where Debian has it, and what ldd(1) says that it loads.
fn copy_with_libraries(program: &Path, image: &Path) -> Result<()> {
    ensure!(program.exists(), "{} is missing: scripts/packages vm installs it", program.display());
    copy_to(program, image)?;
    let needed = Command::new("ldd").arg(program).output().context("ldd")?;
    for line in String::from_utf8_lossy(&needed.stdout).lines() {
        let path = line.split_whitespace().find(|word| word.starts_with('/'));
        if let Some(path) = path {
            copy_to(Path::new(path), image)?;
        }
    }
    Ok(())
}

/// To the same place in the image; what links lead to becomes a plain file.
fn copy_to(file: &Path, image: &Path) -> Result<()> {
    let to = image.join(file.strip_prefix("/")?);
    fs::create_dir_all(to.parent().unwrap_or(image))?;
    if !to.exists() {
        fs::copy(file, &to).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

fn copy_tree(folder: &Path, image: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        if path.is_dir() { copy_tree(&path, image)? } else { copy_to(&path, image)? }
    }
    Ok(())
}

fn pack(root: &Path, folder: &Path) -> Result<PathBuf> {
    let packed = Command::new("sh")
        .args(["-c", "find . -print0 | cpio --null --create --format=newc --owner=0:0 --quiet > ../guest.cpio"])
        .current_dir(root)
        .status()?;
    ensure!(packed.success(), "cpio: {packed}");
    Ok(folder.join("guest.cpio"))
}

fn script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

/// The modules and those that they need; what is built in is no file.
fn copy_modules(version: &str, image: &Path) -> Result<()> {
    let source = Path::new("/lib/modules").join(version);
    let table = fs::read_to_string(source.join("modules.dep")).context("modules.dep")?;
    let mut wanted = BTreeSet::new();
    for line in table.lines() {
        let (file, needs) = line.split_once(':').unwrap_or((line, ""));
        let name = file.rsplit('/').next().unwrap_or(file).split('.').next().unwrap_or_default().replace('-', "_");
        if MODULES.contains(&name.as_str()) {
            wanted.insert(file.to_owned());
            wanted.extend(needs.split_whitespace().map(str::to_owned));
        }
    }
    let target = image.join("lib/modules").join(version);
    for file in &wanted {
        let to = target.join(file);
        fs::create_dir_all(to.parent().unwrap_or(&target))?;
        fs::copy(source.join(file), to)?;
    }
    for index in ["modules.dep", "modules.alias", "modules.softdep", "modules.symbols"] {
        fs::copy(source.join(index), target.join(index)).with_context(|| index.to_owned())?;
    }
    Ok(())
}
