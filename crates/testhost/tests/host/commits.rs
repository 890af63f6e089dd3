//! Which image a commit was laid on.

use anyhow::Result;
use testhost::Host;

pub fn parents(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let parent = |name: &str| docker.run(&["image", "inspect", "-f", "{{.Parent}}", name]);
    let id = |name: &str| docker.run(&["image", "inspect", "-f", "{{.Id}}", name]);
    docker.run(&["run", "--name", "one", &image, "touch", "/one"])?;
    docker.run(&["commit", "one", "first"])?;
    docker.run(&["run", "--name", "two", "first", "touch", "/two"])?;
    docker.run(&["commit", "two", "second"])?;
    let base = id(&image)?;
    assert_eq!((parent(&image)?, parent("first")?, parent("second")?), (String::new(), base.clone(), id("first")?));
    // Another name has it, too, and so has the image when a name goes to another.
    docker.run(&["tag", "second", "renamed"])?;
    docker.run(&["rmi", "second"])?;
    assert_eq!(parent("renamed")?, id("first")?);
    let history = |name: &str| docker.run(&["history", "--no-trunc", "-q", name]);
    assert_eq!(history("renamed")?.lines().collect::<Vec<_>>(), [id("renamed")?, id("first")?, base]);
    // The first is gone for good only when nothing is left of it.
    docker.run(&["rm", "one", "two"])?;
    docker.run(&["rmi", "first"])?;
    assert_eq!(history("renamed")?.lines().collect::<Vec<_>>(), [id("renamed")?.as_str(), "<missing>", "<missing>"]);
    Ok(())
}
