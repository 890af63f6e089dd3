//! A root file system of Debian's static busybox, as an archive.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::host::Host;

const BUSYBOX: &str = "/bin/busybox";

/// The archive's bytes: `bin/` with every applet, `/etc/passwd` and `/etc/group`, `/tmp`.
pub fn archive(host: &Host) -> Result<Vec<u8>> {
    let folder = host.path("busybox");
    if !folder.exists() {
        make(host, &folder)?;
    }
    let output = Command::new("tar")
        .arg("-C")
        .arg(&folder)
        .args(["--owner=0", "--group=0", "--sort=name", "-c", "."])
        .output()?;
    ensure!(output.status.success(), "tar: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

fn make(host: &Host, folder: &std::path::Path) -> Result<()> {
    for name in ["bin", "etc", "root", "tmp"] {
        fs::create_dir_all(folder.join(name))?;
    }
    fs::copy(BUSYBOX, folder.join("bin/busybox")).context(BUSYBOX)?;
    for applet in host.command(BUSYBOX, &["--list"])?.lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", folder.join("bin").join(applet))?;
    }
    fs::write(folder.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")?;
    fs::write(folder.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
    Ok(())
}
