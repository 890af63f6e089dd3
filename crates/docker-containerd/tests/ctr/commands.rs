//! Every command of Debian's `ctr` that has something to do here.

use anyhow::{Result, ensure};
use testhost::Host;

use crate::daemon::{Daemon, IMAGE, ShimOf};

/// What a command prints, which must hold these words.
fn says(daemon: &Daemon<'_>, arguments: &[&str], words: &[&str]) -> Result<String> {
    let said = daemon.ctr(arguments)?;
    for word in words {
        ensure!(said.contains(word), "{arguments:?}: {word:?} is not in {said:?}");
    }
    Ok(said)
}

fn refuses(daemon: &Daemon<'_>, arguments: &[&str], words: &str) -> Result<()> {
    let output = daemon.run_ctr(arguments)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success() && said.contains(words), "{arguments:?}: {said:?}");
    Ok(())
}

pub fn of_tasks(host: &Host) -> Result<()> {
    let daemon = Daemon::with_image(host, ShimOf::Ours)?;
    daemon.run_sleeper("one")?;
    says(&daemon, &["tasks", "ls"], &["one", "RUNNING"])?;
    let pid = daemon.pid_of("one")?.to_string();
    says(&daemon, &["tasks", "ps", "one"], &[&pid])?;
    says(&daemon, &["tasks", "metrics", "one"], &["METRIC", "pids.current"])?;
    let json: String = says(&daemon, &["tasks", "metrics", "--format", "json", "one"], &["\"pids\"", "\"memory\""])?;
    ensure!(json.contains("\"usage\""), "{json}");
    says(&daemon, &["tasks", "exec", "--exec-id", "e", "one", "echo", "hi"], &["hi\n"])?;
    refuses(&daemon, &["tasks", "checkpoint", "one"], "not implemented")?;
    daemon.ctr(&["tasks", "pause", "one"])?;
    ensure!(daemon.status_of("one")? == "PAUSED");
    daemon.ctr(&["tasks", "resume", "one"])?;
    refuses(&daemon, &["tasks", "metrics", "none"], "not found")?;
    daemon.ctr(&["tasks", "kill", "-s", "KILL", "one"])?;
    daemon.wait_for_status("one", "STOPPED")?;
    daemon.ctr(&["tasks", "rm", "one"])?;
    says(&daemon, &["containers", "ls"], &["one", IMAGE, "io.containerd.runc.v2"])?;
    says(&daemon, &["containers", "info", "one"], &["\"ID\": \"one\"", "\"Spec\""])?;
    says(&daemon, &["containers", "label", "one", "z=y"], &["z=y"])?;
    daemon.ctr(&["containers", "rm", "one"])?;
    Ok(())
}

pub fn of_runs(host: &Host) -> Result<()> {
    let daemon = Daemon::with_image(host, ShimOf::Ours)?;
    let run = |name: &str, options: &[&str], command: &[&str], words: &[&str]| -> Result<()> {
        let arguments = [&["run", "--rm"], options, &[IMAGE, name], command].concat();
        says(&daemon, &arguments, words).map(drop)
    };
    run("limits", &["--memory-limit", "100000000", "--cpus", "0.5"], &["id"], &["uid=0"])?;
    run("place", &["--env", "A=B", "--cwd", "/bin"], &["sh", "-c", "pwd; echo $A"], &["/bin\nB\n"])?;
    run("net", &["--net-host"], &["echo", "net"], &["net\n"])?;
    run("priv", &["--privileged", "--read-only"], &["sh", "-c", "touch /x 2>&1 || true"], &["Read-only file system"])?;
    run("nopivot", &["--no-pivot"], &["echo", "np"], &["np\n"])?;
    run("filter", &["--seccomp"], &["echo", "filtered"], &["filtered\n"])?;
    let maps = ["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"];
    run(
        "mapped",
        &maps,
        &["sh", "-c", "id -u; cat /proc/self/uid_map; touch /made && stat -c %u /made"],
        &["0\n", "100000", "65536\n0\n"],
    )?;
    let log = host.path("log");
    run("logged", &["--log-uri", &format!("file://{}", log.display())], &["echo", "logged"], &[""])?;
    ensure!(std::fs::read_to_string(&log)? == "logged\n");
    let mount = ["--mount", "type=bind,src=/etc,dst=/host,options=rbind:ro"];
    run("mount", &mount, &["sh", "-c", "test -f /host/passwd && echo there"], &["there\n"])?;
    run("device", &["--device", "/dev/null"], &["echo", "dev"], &["dev\n"])?;
    ensure!(daemon.ctr(&["containers", "ls", "-q"])?.is_empty() && daemon.bundles().is_empty());
    Ok(())
}

pub fn of_stores(host: &Host) -> Result<()> {
    let daemon = Daemon::with_image(host, ShimOf::Ours)?;
    says(&daemon, &["version"], &["Server:", "UUID:"])?;
    let plugins =
        says(&daemon, &["plugins", "ls"], &["io.containerd.snapshotter.v1", "overlayfs", "io.containerd.grpc.v1"])?;
    ensure!(plugins.lines().skip(1).all(|line| line.trim_end().ends_with("ok")), "{plugins}");
    says(&daemon, &["oci", "spec"], &["\"ociVersion\""])?;
    says(&daemon, &["images", "ls"], &[IMAGE])?;
    says(&daemon, &["images", "check"], &["complete", "true"])?;
    says(&daemon, &["images", "label", IMAGE, "a=b"], &["a=b"])?;
    daemon.ctr(&["images", "tag", IMAGE, "docker.io/library/other:2"])?;
    let exported = host.path("exported.tar");
    daemon.ctr(&["images", "export", &exported.to_string_lossy(), "docker.io/library/other:2"])?;
    daemon.ctr(&["images", "rm", "docker.io/library/other:2"])?;
    says(&daemon, &["images", "import", &exported.to_string_lossy()], &["done"])?;
    says(&daemon, &["content", "ls"], &["sha256:", "containerd.io/gc.ref."])?;
    says(&daemon, &["content", "active"], &["REF"])?;
    daemon.ctr(&["content", "prune", "references"])?;
    let snapshots = says(&daemon, &["snapshots", "ls"], &["Committed"])?;
    let top = snapshots.lines().last().and_then(|line| line.split_whitespace().next()).unwrap_or_default().to_owned();
    says(&daemon, &["snapshots", "info", &top], &["\"Committed\""])?;
    says(&daemon, &["snapshots", "tree"], &["sha256:"])?;
    says(&daemon, &["snapshots", "usage"], &["INODES"])?;
    says(&daemon, &["snapshots", "prepare", "k1", &top], &[])?;
    says(&daemon, &["snapshots", "mounts", "/nowhere", "k1"], &["mount -t overlay"])?;
    daemon.ctr(&["snapshots", "view", "k2", &top])?;
    daemon.ctr(&["snapshots", "commit", "k3", "k1"])?;
    says(&daemon, &["snapshots", "label", "k3", "q=r"], &["q=r"])?;
    for key in ["k2", "k3"] {
        daemon.ctr(&["snapshots", "rm", key])?;
    }
    says(&daemon, &["leases", "create", "--id", "l1", "x=1"], &["l1"])?;
    says(&daemon, &["leases", "ls"], &["l1", "x=1"])?;
    daemon.ctr(&["leases", "rm", "l1"])?;
    daemon.ctr(&["namespaces", "create", "n2", "a=b"])?;
    says(&daemon, &["namespaces", "ls"], &["n2", "a=b"])?;
    daemon.ctr(&["namespaces", "rm", "n2"])?;
    Ok(())
}
