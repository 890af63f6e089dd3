//! Limits of a block device, as the kernel has them: what asks for them and what the container's group says.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use testhost::Host;

/// Groups of version 1 have a file a limit, those of version 2 one for all.
const VERSION_1: &str = "/sys/fs/cgroup/blkio";

pub fn of_a_device(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let (device, number) = block_device()?;
    let with = |value: &str| format!("{device}:{value}");
    let run = [
        ["--device-read-bps".to_owned(), with("1mb")],
        ["--device-write-bps".to_owned(), with("2mb")],
        ["--device-read-iops".to_owned(), with("30")],
        ["--device-write-iops".to_owned(), with("40")],
    ]
    .concat();
    let options: Vec<&str> = run.iter().map(String::as_str).collect();
    let seen = |command: &str| -> Result<String> {
        let words = [&["run", "--rm"], &options[..], &[&image, "sh", "-c", command]].concat();
        engine.docker.run(&words)
    };
    if Path::new(VERSION_1).exists() {
        let files = ["read_bps", "write_bps", "read_iops", "write_iops"];
        let command: String =
            files.iter().map(|file| format!("cat {VERSION_1}/blkio.throttle.{file}_device; ")).collect();
        let values = [1 << 20, 2 << 20, 30, 40].map(|value: u32| format!("{number} {value}"));
        assert_eq!(seen(&command)?.lines().collect::<Vec<_>>(), values);
    } else {
        let said = seen("cat /sys/fs/cgroup/io.max")?;
        assert_eq!(said, format!("{number} rbps=1048576 wbps=2097152 riops=30 wiops=40"));
    }
    let missing = engine.docker.try_run(&["run", "--rm", "--device-read-bps", "/dev/no-such:1mb", &image, "true"])?;
    ensure!(
        missing.code == 127 && missing.stderr.contains(": stat /dev/no-such: no such file or directory"),
        "{}",
        missing.stderr
    );
    Ok(())
}

/// What the buffers of a container's TCP sockets may take, of version 1 alone.
pub fn of_socket_buffers(host: &Host) -> Result<()> {
    const LIMIT: &str = "/sys/fs/cgroup/memory/memory.kmem.tcp.limit_in_bytes";
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let body = format!(
        "{{\"Image\": \"{image}\", \"Cmd\": [\"cat\", \"{LIMIT}\"], \"HostConfig\": {{\"KernelMemoryTCP\": 67108864}}}}"
    );
    let made = engine.request("POST", "/v1.51/containers/create?name=limited", body.as_bytes())?;
    ensure!(made.status == 201, "{}", made.message());
    if Path::new(LIMIT).exists() {
        assert_eq!(engine.docker.run(&["start", "-a", "limited"])?, "67108864");
    } else {
        ensure!(made.body.contains("does not support kernel memory TCP limit capabilities"), "{}", made.body);
    }
    engine.docker.run(&["rm", "limited"])?;
    Ok(())
}

/// Any disk of the machine: its node and its number.
fn block_device() -> Result<(String, String)> {
    for disk in fs::read_dir("/sys/block")? {
        let name = disk?.file_name().to_string_lossy().into_owned();
        let node = format!("/dev/{name}");
        let number = fs::read_to_string(format!("/sys/block/{name}/dev"))?.trim().to_owned();
        let is_it = |found: fs::Metadata| {
            let (major, minor) = (rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev()));
            format!("{major}:{minor}") == number
        };
        if fs::metadata(&node).is_ok_and(is_it) {
            return Ok((node, number));
        }
    }
    None.context("no block device has a node")
}
