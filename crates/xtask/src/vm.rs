//! `xtask vm`: Debian's stock kernel under QEMU's software emulation, with our programs in it.
//!
//! What this machine's own kernel cannot show is shown there: control groups v2 alone, AppArmor in the kernel, networks by ipvlan and VLAN. The guest is
//! one archive in memory: busybox, our static programs, the few kernel modules that containers need, and a script.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

const INIT: &str = include_str!("vm/init.sh");
const PREPARE: &str = include_str!("vm/prepare.sh");
const TEST: &str = include_str!("vm/test.sh");
const PROGRAMS: [&str; 7] =
    ["docker", "dockerd", "docker-containerd", "docker-containerd-shim", "docker-runc", "docker-netd", "docker-init"];
const MODULES: [&str; 18] = [
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
];
/// Software emulation is slow, and the machine may be busy.
const LIMIT_S: u32 = 600;
const PASSED: &str = "VM TEST PASSED";

/// Boots the kernel and runs the test in it; an error with the console's end unless it passes.
pub fn vm(workspace: &Path, profile: &str) -> Result<()> {
    let Some(version) = stock_kernel()? else {
        bail!("no Debian kernel under /boot: scripts/packages vm installs one");
    };
    let folder = workspace.join("target/vm");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let archive = make_archive(&folder, &version, profile)?;
    println!("booting Debian's {version} under emulation");
    let console = boot(&version, &archive)?;
    fs::write(folder.join("console.log"), &console)?;
    for line in console.lines().filter(|line| line.contains("vm: ")) {
        println!("{}", line.trim_end());
    }
    if !console.contains(PASSED) {
        let lines: Vec<&str> = console.lines().collect();
        bail!(
            "the test in the guest failed; its console ends with\n{}",
            lines[lines.len().saturating_sub(60)..].join("\n")
        );
    }
    Ok(())
}

/// The newest of Debian's kernels for virtual machines.
fn stock_kernel() -> Result<Option<String>> {
    let Ok(entries) = fs::read_dir("/boot") else { return Ok(None) };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    Ok(names.filter_map(|name| name.strip_prefix("vmlinuz-").map(str::to_owned)).max())
}

/// `/init` and busybox outside, everything else below `/image`, which becomes the root.
fn make_archive(folder: &Path, version: &str, profile: &str) -> Result<PathBuf> {
    let root = folder.join("root");
    let image = root.join("image");
    for name in ["bin", "etc", "lib", "proc", "sys", "dev", "run", "tmp", "var/lib", "root"] {
        fs::create_dir_all(image.join(name))?;
    }
    fs::create_dir_all(root.join("bin"))?;
    fs::copy("/bin/busybox", root.join("bin/busybox")).context("busybox-static")?;
    fs::copy("/bin/busybox", image.join("bin/busybox"))?;
    for applet in String::from_utf8(Command::new("/bin/busybox").arg("--list").output()?.stdout)?.lines() {
        if applet != "busybox" {
            symlink("busybox", image.join("bin").join(applet))?;
        }
    }
    let programs = crate::programs(profile)?;
    for program in PROGRAMS {
        fs::copy(programs.join(program), image.join("bin").join(program)).context(program)?;
    }
    fs::write(image.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::write(image.join("etc/group"), "root:x:0:\n")?;
    copy_modules(version, &image)?;
    script(&root.join("init"), INIT)?;
    script(&image.join("prepare"), PREPARE)?;
    script(&image.join("test"), TEST)?;
    let archive = folder.join("guest.cpio");
    let packed = Command::new("sh")
        .args(["-c", "find . -print0 | cpio --null --create --format=newc --owner=0:0 --quiet > ../guest.cpio"])
        .current_dir(&root)
        .status()?;
    ensure!(packed.success(), "cpio: {packed}");
    Ok(archive)
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

fn boot(version: &str, archive: &Path) -> Result<String> {
    let kernel = format!("/boot/vmlinuz-{version}");
    let output = Command::new("timeout")
        .arg(LIMIT_S.to_string())
        .args([
            "qemu-system-x86_64",
            "-nographic",
            "-no-reboot",
            "-m",
            "2048",
            "-smp",
            "2",
            "-accel",
            "tcg,thread=multi",
        ])
        .args(["-cpu", "max", "-nic", "none", "-kernel", &kernel, "-initrd"])
        .arg(archive)
        .args(["-append", "console=ttyS0 panic=-1 quiet systemd.unified_cgroup_hierarchy=1"])
        .stdin(Stdio::null())
        .output()
        .context("qemu-system-x86_64")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
