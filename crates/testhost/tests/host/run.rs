//! A first container: import, run, exit codes, streams.

use anyhow::Result;
use testhost::Host;

pub fn output_and_exit_code(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let ran = engine.docker.try_run(&["run", "--rm", &image, "sh", "-c", "echo out; echo err >&2; exit 7"])?;
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (7, "out\n", "err\n"));
    assert_eq!(engine.docker.run(&["ps", "-aq"])?, "");
    Ok(())
}

pub fn standard_input(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let counted = engine.docker.run_with(&["run", "--rm", "-i", &image, "wc", "-c"], &vec![b'x'; 1 << 20])?;
    assert_eq!(counted.trim(), (1 << 20).to_string());
    Ok(())
}

pub fn data_survives(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    docker.run(&["run", "--name", "kept", &image, "sh", "-c", "echo data > /file"])?;
    docker.run(&["start", "-a", "kept"])?;
    docker.run(&["rm", "kept"])?;
    docker.run(&[
        "run",
        "-d",
        "--name",
        "long",
        &image,
        "sh",
        "-c",
        "test -f /file && echo again; touch /file; exec sleep 1000",
    ])?;
    docker.run(&["kill", "long"])?;
    docker.run(&["wait", "long"])?;
    docker.run(&["start", "long"])?;
    testhost::wait_until("the second start's line", || {
        docker.run(&["logs", "long"]).ok().filter(|log| log == "again")
    })?;
    docker.run(&["rm", "-f", "long"])?;
    Ok(())
}

pub fn mistakes(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let ran = docker.try_run(&["run", "--rm", &image, "no-such-program"])?;
    assert_eq!(ran.code, 127, "{}", ran.stderr);
    assert!(ran.stderr.contains("executable file not found in $PATH"), "{}", ran.stderr);
    let ran = docker.try_run(&["run", "--rm", &image, "/etc/passwd"])?;
    assert_eq!(ran.code, 126, "{}", ran.stderr);
    let ran = docker.try_run(&["inspect", "nobody"])?;
    assert_eq!((ran.code, ran.stderr.trim()), (1, "Error: No such object: nobody"));
    let ran = docker.try_run(&["rm", "nobody"])?;
    assert_eq!((ran.code, ran.stderr.trim()), (1, "Error response from daemon: No such container: nobody"));
    docker.run(&["create", "--name", "taken", &image])?;
    let ran = docker.try_run(&["create", "--name", "taken", &image])?;
    assert!(
        ran.stderr.contains("Conflict. The container name \"/taken\" is already in use by container"),
        "{}",
        ran.stderr
    );
    let ran = docker.try_run(&["rmi", &image])?;
    assert!(ran.stderr.contains("conflict: unable to remove repository reference"), "{}", ran.stderr);
    docker.run(&["rm", "taken"])?;
    docker.run(&["rmi", &image])?;
    Ok(())
}
