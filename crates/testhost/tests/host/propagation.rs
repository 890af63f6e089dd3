//! Mounts of the daemon's own folders, which would keep what is mounted in them from going.

use anyhow::{Result, ensure};
use rustix::mount::{MountPropagationFlags, mount_change};
use testhost::{Engine, Host};

pub fn of_the_daemon_s_folders(host: &Host) -> Result<()> {
    let alone = host.engine("a")?;
    let image = alone.import_busybox("busybox")?;
    // Nothing of the mount that the folders are on is handed on: there is nothing to follow.
    assert_eq!(default_of(&alone, &alone.data_root().display().to_string(), &image)?, "rprivate");

    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::SHARED)?;
    let engine = host.engine("s")?;
    let image = engine.import_busybox("busybox")?;
    let root = engine.data_root().display().to_string();
    for folder in [root.clone(), format!("{root}/containers")] {
        for words in ["private", "rprivate", "slave", "shared"] {
            for mount in [
                ["-v".to_owned(), format!("{folder}:/at:{words}")],
                ["--mount".to_owned(), format!("type=bind,src={folder},dst=/at,bind-propagation={words}")],
            ] {
                let made = engine.docker.try_run(&["create", &mount[0], &mount[1], &image])?;
                ensure!(made.stderr.contains("must use either propagation mode"), "{mount:?}: {}", made.stderr);
            }
        }
        assert_eq!(default_of(&engine, &folder, &image)?, "rslave");
    }
    assert_eq!(default_of(&engine, "/usr", &image)?, "rprivate");
    engine.docker.run(&["create", "--rm", "-v", "/usr:/at:rprivate", "--name", "other", &image])?;
    engine.docker.run(&["rm", "other"])?;
    Ok(())
}

/// The propagation of a bind that names none.
fn default_of(engine: &Engine, source: &str, image: &str) -> Result<String> {
    let made = engine.docker.run(&["create", "-v", &format!("{source}:/at"), image])?;
    let shown = engine.docker.run(&["inspect", "-f", "{{(index .Mounts 0).Propagation}}", &made])?;
    engine.docker.run(&["rm", &made])?;
    Ok(shown)
}
