//! Containers as file systems: `docker cp`, `diff`, `export`, `commit`. By Docker's own client, and by the API itself.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use testhost::{Docker, Engine, Host};

/// What an archive has, one name a line.
fn listed(archive: &[u8]) -> Result<Vec<String>> {
    let folder = std::env::temp_dir().join(format!("listed-{}", std::process::id()));
    fs::write(&folder, archive)?;
    let output = Command::new("tar").arg("-tf").arg(&folder).output().context("tar");
    fs::remove_file(&folder)?;
    Ok(String::from_utf8_lossy(&output?.stdout).lines().map(str::to_owned).collect())
}

fn output_of(docker: &Docker, words: &[&str]) -> Result<Vec<u8>> {
    let output = docker.command(words).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

fn started(engine: &Engine) -> Result<(Docker, String)> {
    let image = engine.import_busybox("busybox")?;
    Ok((engine.docker_of_docker(), image))
}

pub fn copied(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let (docker, image) = started(&engine)?;
    let setup = "mkdir -p /d/sub; echo inside > /d/file; ln -s /d /link; ln -s /nowhere /dangling; echo v > /data/v; \
                 echo t > /memory/t; chown 5:6 /d/file; exec sleep 1000";
    docker.run(&["run", "-d", "--name", "box", "-v", "data:/data", "--tmpfs", "/memory", &image, "sh", "-c", setup])?;
    testhost::wait_until("the files", || {
        docker.try_run(&["exec", "box", "test", "-f", "/memory/t"]).ok().filter(|ran| ran.code == 0)
    })?;
    let out = host.path("out");
    let target = out.to_string_lossy().into_owned();
    docker.run(&["cp", "box:/d", &target])?;
    assert_eq!(fs::read_to_string(out.join("file"))?, "inside\n");
    // What is mounted is there, kernel file systems are shown empty.
    assert_eq!(listed(&output_of(&docker, &["cp", "box:/data", "-"])?)?, ["data/", "data/v"]);
    assert_eq!(listed(&output_of(&docker, &["cp", "box:/memory/t", "-"])?)?, ["t"]);
    let all = listed(&output_of(&docker, &["cp", "box:/.", "-"])?)?;
    assert!(all.iter().any(|name| name == "./d/file") && all.iter().any(|name| name == "./data/v"), "{all:?}");
    let of_the_kernel = |name: &&String| name.starts_with("./proc/s") || name.starts_with("./sys/k");
    assert_eq!(all.iter().find(of_the_kernel), None);
    // A link is a link, and with a slash behind it the folder that it leads to.
    assert_eq!(listed(&output_of(&docker, &["cp", "box:/link", "-"])?)?, ["link"]);
    assert_eq!(listed(&output_of(&docker, &["cp", "box:/link/", "-"])?)?, ["link/", "link/file", "link/sub/"]);
    for state in ["running", "stopped"] {
        let file = host.path(state);
        fs::write(&file, format!("from outside, {state}\n"))?;
        for place in ["/d/sub", "/data"] {
            docker.run(&["cp", &file.to_string_lossy(), &format!("box:{place}/")])?;
        }
        if state == "running" {
            assert_eq!(docker.run(&["exec", "box", "cat", "/data/running"])?, "from outside, running");
            docker.run(&["stop", "-t", "0", "box"])?;
        }
    }
    assert_eq!(
        listed(&output_of(&docker, &["cp", "box:/data", "-"])?)?,
        ["data/", "data/running", "data/stopped", "data/v"]
    );
    let seen = docker.run(&["run", "--rm", "--volumes-from", "box", &image, "cat", "/data/stopped"])?;
    assert_eq!(seen, "from outside, stopped");
    docker.run(&["start", "box"])?;
    assert_eq!(docker.run(&["exec", "box", "cat", "/d/sub/stopped"])?, "from outside, stopped");
    docker.run(&["rm", "-f", "box"])?;
    Ok(())
}

pub fn archives(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let (docker, image) = started(&engine)?;
    docker.run(&[
        "create",
        "--name",
        "box",
        "--read-only",
        "-v",
        "rw:/rw",
        "-v",
        "ro:/ro:ro",
        &image,
        "sleep",
        "1000",
    ])?;
    let message = |method: &str, path: &str| -> Result<(u16, String)> {
        let reply = engine.request(method, path, b"")?;
        Ok((reply.status, reply.message()))
    };
    assert_eq!(
        message("GET", "/containers/box/archive?path=/none")?,
        (404, "Could not find the file /none in container box".to_owned())
    );
    assert_eq!(message("GET", "/containers/box/archive")?, (400, "bad parameter: pathcannot be empty".to_owned()));
    assert_eq!(message("HEAD", "/containers/box/archive?path=/none")?.0, 404);
    assert_eq!(
        message("PUT", "/containers/box/archive?path=/")?,
        (400, "container rootfs is marked read-only".to_owned())
    );
    assert_eq!(
        message("PUT", "/containers/box/archive?path=/ro")?,
        (400, "mounted volume is marked read-only".to_owned())
    );
    assert_eq!(
        message("PUT", "/containers/box/archive?path=/bin/busybox")?,
        (400, "extraction point is not a directory".to_owned())
    );
    let head = engine.request("HEAD", "/containers/box/archive?path=/bin/sh", b"")?.head.to_ascii_lowercase();
    assert!(head.contains("x-docker-container-path-stat: "), "{head}");
    docker.run(&["rm", "box"])?;
    Ok(())
}

/// A container that swaps a folder for a link to the host while it is copied from and into.
pub fn swapped(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let (docker, image) = started(&engine)?;
    let outside = host.path("outside");
    fs::create_dir(&outside)?;
    fs::write(outside.join("victim"), "safe")?;
    let target = outside.to_string_lossy().into_owned();
    let swap = format!(
        "mkdir -p /real; echo inner > /real/victim; while :; do rm -rf /swap; ln -s {target} /swap; rm -f /swap; \
         mkdir /swap; echo inner > /swap/victim; done"
    );
    docker.run(&["run", "-d", "--name", "box", &image, "sh", "-c", &swap])?;
    let file = host.path("victim");
    fs::write(&file, "overwritten")?;
    for _ in 0..40 {
        // Each may fail, since the place comes and goes; none may reach the outside.
        let _ = docker.try_run(&["cp", &file.to_string_lossy(), "box:/swap/victim"])?;
        let read = docker.command(&["cp", "box:/swap/victim", "-"]).output()?;
        ensure!(!String::from_utf8_lossy(&read.stdout).contains("safe"), "a file of the host came out");
        let read = docker.command(&["cp", "box:/swap/.", "-"]).output()?;
        ensure!(!String::from_utf8_lossy(&read.stdout).contains("safe"), "a file of the host came out");
    }
    assert_eq!(fs::read_to_string(outside.join("victim"))?, "safe");
    assert_eq!(fs::read_dir(&outside)?.count(), 1);
    docker.run(&["rm", "-f", "box"])?;
    Ok(())
}

pub fn changed(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let (docker, image) = started(&engine)?;
    docker.run(&["run", "--name", "plain", &image, "true"])?;
    assert_eq!(docker.run(&["diff", "plain"])?, "");
    let reply = engine.request("GET", "/containers/plain/changes", b"")?;
    assert_eq!(reply.body.trim(), "null");
    let script = "mkdir -p /new/deep; echo x > /new/deep/file; rm /bin/vi; echo x >> /etc/passwd; exec sleep 1000";
    docker.run(&["run", "-d", "--name", "box", &image, "sh", "-c", script])?;
    let expected = ["C /bin", "D /bin/vi", "C /etc", "C /etc/passwd", "A /new", "A /new/deep", "A /new/deep/file"];
    let changes = || docker.run(&["diff", "box"]).map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    testhost::wait_until("the changes", || changes().ok().filter(|found| found.len() >= expected.len()))?;
    assert_eq!(changes()?, expected);
    docker.run(&["kill", "box"])?;
    assert_eq!(changes()?, expected);
    docker.run(&["rm", "-f", "box", "plain"])?;
    Ok(())
}

pub fn committed(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let (docker, image) = started(&engine)?;
    let script = "echo kept > /kept; rm /bin/vi; exec sleep 1000";
    docker.run(&["run", "-d", "--name", "box", "-e", "A=1", "--label", "of=container", &image, "sh", "-c", script])?;
    testhost::wait_until("the file", || {
        docker.try_run(&["exec", "box", "test", "-f", "/kept"]).ok().filter(|ran| ran.code == 0)
    })?;
    let words = [
        "commit",
        "-a",
        "Me",
        "-m",
        "a word",
        "-c",
        "ENV B=2",
        "-c",
        "EXPOSE 80",
        "-c",
        "CMD cat /kept",
        "box",
        "made:1",
    ];
    let id = docker.run(&words)?;
    assert!(id.starts_with("sha256:"), "{id}");
    let format = "{{.Author}}|{{.Comment}}|{{json .Config.Env}}|{{json .Config.ExposedPorts}}|{{json .Config.Cmd}}|{{json .Config.Labels}}|{{len .RootFS.Layers}}";
    assert_eq!(
        docker.run(&["image", "inspect", "--format", format, "made:1"])?,
        r#"Me|a word|["A=1","B=2"]|{"80/tcp":{}}|["/bin/sh","-c","cat /kept"]|{"of":"container"}|2"#
    );
    assert_eq!(docker.run(&["run", "--rm", "made:1"])?, "kept");
    assert_eq!(docker.try_run(&["run", "--rm", "made:1", "ls", "/bin/vi"])?.code, 1);
    // What the runtime mounts onto is not in the layer.
    let layer = docker.run(&["image", "history", "--format", "{{.CreatedBy}}", "--no-trunc", "made:1"])?;
    assert!(layer.starts_with("sh -c echo kept"), "{layer}");
    assert_eq!(docker.run(&["inspect", "--format", "{{.State.Status}}", "box"])?, "running");
    // A container that changed nothing adds no layer.
    docker.run(&["create", "--name", "same", &image, "true"])?;
    docker.run(&["commit", "same", "same:1"])?;
    assert_eq!(docker.run(&["image", "inspect", "--format", "{{len .RootFS.Layers}}", "same:1"])?, "1");
    let wrong = docker.try_run(&["commit", "-c", "RUN make", "box"])?;
    assert!(wrong.stderr.contains("run is not a valid change command"), "{}", wrong.stderr);
    docker.run(&["rm", "-f", "box", "same"])?;
    Ok(())
}

pub fn exported(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let (docker, image) = started(&engine)?;
    let script = "echo x > /own; echo v > /data/volume; exec sleep 1000";
    docker.run(&["run", "-d", "--name", "box", "-v", "data:/data", &image, "sh", "-c", script])?;
    testhost::wait_until("the file", || {
        docker.try_run(&["exec", "box", "test", "-f", "/data/volume"]).ok().filter(|ran| ran.code == 0)
    })?;
    for state in ["running", "stopped"] {
        let names = listed(&output_of(&docker, &["export", "box"])?)?;
        for name in ["own", "bin/busybox", "data/", "proc/", ".dockerenv"] {
            assert!(names.iter().any(|found| found == name), "{name} of a {state} container: {names:?}");
        }
        let strange = |name: &&String| name.starts_with("proc/") && *name != "proc/" || *name == "data/volume";
        assert_eq!(names.iter().find(strange), None, "{state}");
        docker.run(&["stop", "-t", "0", "box"])?;
    }
    let archive = output_of(&docker, &["export", "box"])?;
    docker.run_with(&["import", "-", "again"], &archive)?;
    assert_eq!(docker.run(&["run", "--rm", "again", "cat", "/own"])?, "x");
    docker.run(&["rm", "box"])?;
    Ok(())
}
