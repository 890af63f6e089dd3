//! `xtask vm`: Debian's stock kernel under QEMU's software emulation, with our programs in it.
//!
//! What a developer's own kernel may not be able to show is shown there: control groups v2 alone, AppArmor in the kernel, systemd as the
//! first process, checkpoints, SCTP, links over links, a server of files. Three guests, each one archive in memory: the engine
//! on busybox, its networks and volumes, and the runtime's tests on Debian's systemd.

mod guest;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use guest::Guest;

/// Software emulation is slow, and the machine may be busy.
const LIMIT_S: u32 = 1200;
const PASSED: &str = "VM TEST PASSED";

/// Boots the kernel and runs the tests in it, all or those of one guest; an error with the console's end unless they pass.
pub fn vm(workspace: &Path, profile: &str, only: Option<&str>) -> Result<()> {
    let Some(version) = stock_kernel()? else {
        bail!("no Debian kernel under /boot: scripts/packages vm installs one");
    };
    let guests: Vec<Guest> =
        Guest::ALL.into_iter().filter(|guest| only.is_none_or(|name| name == guest.name())).collect();
    ensure!(!guests.is_empty(), "there is no guest {}", only.unwrap_or_default());
    guests.into_iter().try_for_each(|guest| run(workspace, profile, &version, guest))
}

fn run(workspace: &Path, profile: &str, version: &str, guest: Guest) -> Result<()> {
    let folder = workspace.join("target/vm").join(guest.name());
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let archive = guest.make_archive(&folder, version, profile)?;
    println!("booting Debian's {version} under emulation: {}", guest.name());
    let console = boot(version, &archive)?;
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
    // What was unpacked is in the archive, and both are large.
    fs::remove_dir_all(folder.join("root"))?;
    Ok(fs::remove_file(archive)?)
}

/// The newest of Debian's kernels for virtual machines.
fn stock_kernel() -> Result<Option<String>> {
    let Ok(entries) = fs::read_dir("/boot") else { return Ok(None) };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    Ok(names.filter_map(|name| name.strip_prefix("vmlinuz-").map(str::to_owned)).max())
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
        .args(["-append", "console=ttyS0 panic=-1 quiet no_timer_check systemd.unified_cgroup_hierarchy=1"])
        .stdin(Stdio::null())
        .output()
        .context("qemu-system-x86_64")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
