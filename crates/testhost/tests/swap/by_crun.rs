//! Debian's crun below our dockerd and our shim: `--add-runtime crun=…`.

use std::fs;

use anyhow::{Result, ensure};
use testhost::{Engine, Host};

const UNIFIED: &str = "/sys/fs/cgroup/unified";
const RUNTIME: [&str; 2] = ["--add-runtime", "crun=/usr/bin/crun"];

/// crun of 1.8 takes no specification newer than 1.1, and refuses the hybrid layout of control groups.
pub fn runs_containers_of_our_dockerd(host: &Host) -> Result<()> {
    let hybrid = fs::exists(UNIFIED)?;
    if hybrid {
        rustix::mount::unmount(UNIFIED, rustix::mount::UnmountFlags::DETACH)?;
    }
    let tested = plain(host).and_then(|()| mapped(host));
    if hybrid {
        // What crun then takes for groups are plain folders, and it leaves them.
        for folder in fs::read_dir(UNIFIED)?.flatten() {
            fs::remove_dir_all(folder.path())?;
        }
    }
    tested
}

fn plain(host: &Host) -> Result<()> {
    let engine = host.engine_with("p", &RUNTIME)?;
    lives(&engine, "0")
}

fn mapped(host: &Host) -> Result<()> {
    let with = |file: &str, line: &str| -> Result<()> {
        let text = fs::read_to_string(file).unwrap_or_default();
        host.cover_file(file, format!("{text}{line}\n").as_bytes())
    };
    with("/etc/passwd", "lshmapped:x:4242:4243::/:/bin/false")?;
    with("/etc/group", "lshmapped:x:4243:")?;
    with("/etc/subuid", "lshmapped:200000:65536")?;
    with("/etc/subgid", "lshmapped:300000:65536")?;
    let engine = host.engine_with("m", &[&RUNTIME[..], &["--userns-remap", "lshmapped"]].concat())?;
    lives(&engine, "200000")
}

/// `root`: who the container's root is on the host.
fn lives(engine: &Engine, root: &str) -> Result<()> {
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let said = docker.run(&["run", "--rm", "--runtime", "crun", &image, "cat", "/proc/self/uid_map"])?;
    ensure!(said.split_whitespace().nth(1) == Some(root), "{said}");
    docker.run(&["run", "-d", "--name", "runs", "--runtime", "crun", &image, "sleep", "1000"])?;
    assert_eq!(docker.run(&["exec", "runs", "echo", "said"])?, "said");
    docker.run(&["rm", "-f", "runs"])?;
    Ok(())
}
