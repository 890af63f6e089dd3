//! Bind mounts, named volumes, memory.

use std::fs;

use anyhow::Result;
use testhost::Host;

use crate::clients;

pub fn mounts(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let folder = host.path("shared");
    for docker in clients(&engine) {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder)?;
        fs::write(folder.join("in"), "from the host\n")?;
        let bind = format!("{}:/shared", folder.display());
        assert_eq!(
            docker.run(&["run", "--rm", "-v", &bind, &image, "sh", "-c", "cat /shared/in; echo back > /shared/out"])?,
            "from the host"
        );
        assert_eq!(fs::read_to_string(folder.join("out"))?, "back\n");
        let read_only = docker.try_run(&["run", "--rm", "-v", &format!("{bind}:ro"), &image, "touch", "/shared/x"])?;
        assert_eq!(read_only.code, 1);
        assert!(read_only.stderr.contains("Read-only file system"), "{}", read_only.stderr);
        let missing = format!("type=bind,source={}/none,target=/x", folder.display());
        let ran = docker.try_run(&["run", "--rm", "--mount", &missing, &image, "true"])?;
        assert_eq!(ran.code, 125);
        assert!(ran.stderr.contains("bind source path does not exist"), "{}", ran.stderr);

        docker.run(&["run", "--rm", "-v", "kept:/data", &image, "sh", "-c", "echo kept > /data/file"])?;
        assert_eq!(docker.run(&["run", "--rm", "-v", "kept:/data", &image, "cat", "/data/file"])?, "kept");

        let tmpfs = docker.run(&[
            "run",
            "--rm",
            "--tmpfs",
            "/memory:size=1m",
            &image,
            "sh",
            "-c",
            "grep ' /memory ' /proc/mounts",
        ])?;
        assert!(
            tmpfs.starts_with("tmpfs /memory tmpfs rw,nosuid,nodev,noexec") && tmpfs.contains("size=1024k"),
            "{tmpfs}"
        );
        let full = docker.try_run(&[
            "run",
            "--rm",
            "--tmpfs",
            "/memory:size=1m",
            &image,
            "dd",
            "if=/dev/zero",
            "of=/memory/x",
            "bs=1M",
            "count=2",
        ])?;
        assert!(full.code != 0 && full.stderr.contains("No space left on device"), "{}", full.stderr);
    }
    Ok(())
}
