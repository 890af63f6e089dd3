//! Images: the registry's way there and back, lists, removal.

use anyhow::Result;
use testhost::Host;

use crate::clients;

pub fn version_and_info(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    for docker in clients(&engine) {
        let version = docker.run(&["version", "--format", "{{.Server.APIVersion}} {{.Server.Os}}"])?;
        assert_eq!(version, "1.51 linux");
        let info = docker.run(&["info", "--format", "{{.Driver}} {{.Images}} {{.Containers}} {{.CgroupDriver}}"])?;
        assert_eq!(info, "overlay2 1 0 cgroupfs");
        let words = docker.run(&["info"])?;
        for line in ["Server:", " Containers: 0", " Storage Driver: overlay2", " Runtimes:"] {
            assert!(words.contains(line), "{line:?} in {words}");
        }
        assert!(words.contains(&format!("Docker Root Dir: {}", engine.data_root().display())), "{words}");
    }
    Ok(())
}

pub fn push_and_pull(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let registry = host.registry()?;
    let image = registry.image("box:1");
    engine.import_busybox(&image)?;
    let id = engine.docker.run(&["images", "-q", "--no-trunc", &image])?;
    for docker in clients(&engine) {
        let pushed = docker.run(&["push", &image])?;
        let digest = pushed.split("digest: ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        assert!(digest.starts_with("sha256:") && digest.len() == 71, "{pushed}");
        assert!(pushed.contains(&format!("The push refers to repository [{}]", registry.image("box"))), "{pushed}");
        docker.run(&["rmi", &image])?;
        assert_eq!(docker.run(&["images", "-q"])?, "");
        let pulled = docker.run(&["pull", &image])?;
        let expected = [
            format!("1: Pulling from box\n"),
            "Pull complete\n".to_owned(),
            format!("Digest: {digest}\n"),
            format!("Status: Downloaded newer image for {image}\n{image}"),
        ];
        let mut rest = pulled.as_str();
        for part in &expected {
            let at = rest.find(part.as_str());
            let at = at.unwrap_or_else(|| panic!("{part:?}, in this order, in {pulled}"));
            rest = &rest[at + part.len()..];
        }
        let again = docker.run(&["pull", &image])?;
        assert!(again.contains(&format!("Status: Image is up to date for {image}")), "{again}");
        assert_eq!(docker.run(&["images", "-q", "--no-trunc", &image])?, id, "the id is the configuration's digest");
        let digests = docker.run(&["image", "inspect", "--format", "{{index .RepoDigests 0}}", &image])?;
        assert_eq!(digests, format!("{}@{digest}", registry.image("box")));
        assert_eq!(docker.run(&["run", "--rm", &image, "echo", "from the registry"])?, "from the registry");
        let listed = docker.run(&["images", "--format", "{{.Repository}} {{.Tag}}"])?;
        assert_eq!(listed, format!("{} 1", registry.image("box")));
    }
    let ran = engine.docker.try_run(&["pull", &registry.image("box:none")])?;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("manifest") && ran.stderr.contains("not found"), "{}", ran.stderr);
    Ok(())
}

pub fn conflict(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    for docker in clients(&engine) {
        let image = engine.import_busybox("busybox")?;
        let id = docker.run(&["run", "-d", "--name", "user", &image, "sleep", "1000"])?;
        let ran = docker.try_run(&["rmi", &image])?;
        assert_eq!(ran.code, 1);
        let expected = format!(
            "conflict: unable to remove repository reference \"busybox\" (must force) - container {} is using its referenced image",
            &id[..12]
        );
        assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
        docker.run(&["rm", "-f", "user"])?;
        let removed = docker.run(&["rmi", &image])?;
        assert!(removed.starts_with("Untagged: busybox:latest\nDeleted: sha256:"), "{removed}");
        assert_eq!(docker.run(&["images", "-aq"])?, "");
    }
    Ok(())
}
