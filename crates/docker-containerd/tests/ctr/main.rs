//! docker-containerd as Debian's `ctr` drives it, with Debian's shim and runc behind or our own: each test on a host of its
//! own.

mod commands;
mod daemon;
mod dockerd;
mod image;
mod transfer;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use daemon::{Daemon, SHIM, ShimOf};
use dockerd::Dockerd;
use testhost::{Host, Needs, Test, test, wait_until};

const NEEDS: &[Needs] = &[
    Needs::Program("ctr", "containerd"),
    Needs::Path(SHIM),
    Needs::Program("runc", "runc"),
    Needs::Program("docker-registry", "docker-registry"),
    Needs::Path("/bin/busybox"),
];

/// For tests with the programs that were built beside docker-containerd.
const OURS: &[Needs] = &[Needs::Program("ctr", "containerd"), Needs::Path("/bin/busybox")];

const TRANSFER: &[Needs] = &[
    Needs::Program("ctr", "containerd"),
    Needs::Program("docker-registry", "docker-registry"),
    Needs::Program("skopeo", "skopeo"),
    Needs::Path("/bin/busybox"),
];

const DOCKER: &[Needs] = &[
    Needs::Path("/usr/sbin/dockerd"),
    Needs::Program("docker", "docker.io"),
    Needs::Path(SHIM),
    Needs::Program("runc", "runc"),
    Needs::Path("/bin/busybox"),
];

const TESTS: &[Test] = &[
    test("an_image_is_pulled_run_and_leaves_nothing_when_it_is_removed", NEEDS, pull_run_remove),
    test("processes_are_added_to_a_task_and_signalled", NEEDS, |host| exec_and_kill(host, ShimOf::Debian)),
    test("tasks_live_through_a_kill_of_the_daemon_and_exits_meanwhile_are_reported", NEEDS, |host| {
        daemon_killed(host, ShimOf::Debian)
    }),
    test("the_task_of_a_killed_shim_is_reported_with_137_and_cleaned_up", NEEDS, |host| {
        shim_killed(host, ShimOf::Debian)
    }),
    test("the_task_of_a_shim_that_died_with_the_daemon_is_reported_with_137", NEEDS, |host| {
        both_killed(host, ShimOf::Debian)
    }),
    test("a_kill_of_the_daemon_at_any_moment_of_a_run_leaves_nothing_half_done", NEEDS, |host| {
        kill_at_any_moment(host, ShimOf::Debian)
    }),
    test("with_our_shim_processes_are_added_to_a_task_and_signalled", OURS, |host| exec_and_kill(host, ShimOf::Ours)),
    test("with_our_shim_tasks_live_through_a_kill_of_the_daemon", OURS, |host| daemon_killed(host, ShimOf::Ours)),
    test("with_our_shim_a_killed_one_is_reported_with_137", OURS, |host| shim_killed(host, ShimOf::Ours)),
    test("with_our_shim_one_that_died_with_the_daemon_is_reported", OURS, |host| both_killed(host, ShimOf::Ours)),
    test("with_our_shim_a_kill_at_any_moment_leaves_nothing", OURS, |host| kill_at_any_moment(host, ShimOf::Ours)),
    test("half_made_bundles_are_removed_at_start", NEEDS, half_made_bundle),
    test("a_sick_shim_holds_up_nobody_else", NEEDS, sick_shim),
    test("events_come_from_shims_and_from_publish", NEEDS, events),
    test("a_namespace_goes_only_when_it_is_empty", NEEDS, namespaces),
    test("what_a_container_changed_becomes_a_layer", NEEDS, diff),
    test("content_with_a_root_label_stays_until_the_label_goes", NEEDS, root_label),
    test("dockerd_of_debian_runs_on_it_and_through_its_death", DOCKER, dockerd_of_debian),
    test("dockerd_of_debian_counts_limits_and_pauses_by_our_shim", DOCKER, dockerd_controls),
    test("one_root_has_one_daemon", NEEDS, one_daemon),
    test("ctrs_commands_of_tasks_work", OURS, commands::of_tasks),
    test("ctrs_runs_with_all_options_work", OURS, commands::of_runs),
    test("ctrs_commands_of_stores_work", OURS, commands::of_stores),
    test("transfers_pull_push_tag_export_and_import_images", TRANSFER, transfer::there_and_back),
    test("transfers_ask_their_client_for_credentials", TRANSFER, transfer::with_credentials),
    test("transfers_that_cannot_be_are_refused", TRANSFER, transfer::refusals),
];

fn main() -> ExitCode {
    testhost::run(TESTS)
}

fn pull_run_remove(host: &Host) -> Result<()> {
    let daemon = Daemon::start(host, ShimOf::Debian)?;
    let registry = host.registry()?;
    let image = image::push(host, &registry)?;
    daemon.ctr(&["images", "pull", "--plain-http", &image])?;
    ensure!(daemon.ctr(&["images", "ls", "-q"])?.trim() == image);
    ensure!(daemon.ctr(&["run", "--rm", &image, "one", "echo", "hello"])? == "hello\n");
    let failed = daemon.run_ctr(&["run", "--rm", &image, "two", "sh", "-c", "exit 7"])?;
    ensure!(failed.status.code() == Some(7), "{failed:?}");
    let missing = daemon.run_ctr(&["run", "--rm", &image, "three", "/no/such/program"])?;
    ensure!(!missing.status.success());
    ensure!(String::from_utf8_lossy(&missing.stderr).contains("no such file or directory"), "{missing:?}");
    ensure!(daemon.ctr(&["containers", "ls", "-q"])?.is_empty());
    ensure!(daemon.ctr(&["tasks", "ls", "-q"])?.is_empty());
    daemon.ctr(&["images", "rm", "--sync", &image])?;
    ensure!(daemon.ctr(&["content", "ls", "-q"])?.is_empty());
    ensure!(daemon.names_in("root/io.containerd.content.v1.content/blobs/sha256").is_empty());
    wait_until("the snapshots to go", || {
        daemon.names_in("root/io.containerd.snapshotter.v1.overlayfs/snapshots").is_empty().then_some(())
    })?;
    ensure!(daemon.bundles().is_empty());
    Ok(())
}

fn exec_and_kill(host: &Host, shim: ShimOf) -> Result<()> {
    let daemon = Daemon::with_image(host, shim)?;
    daemon.run_sleeper("one")?;
    daemon.exec_in("one", "e1")?;
    let failed = daemon.run_ctr(&["tasks", "exec", "--exec-id", "e2", "one", "sh", "-c", "exit 3"])?;
    ensure!(failed.status.code() == Some(3), "{failed:?}");
    ensure!(daemon.status_of("one")? == "RUNNING");
    daemon.ctr(&["tasks", "pause", "one"])?;
    ensure!(daemon.status_of("one")? == "PAUSED");
    daemon.ctr(&["tasks", "resume", "one"])?;
    let refused = daemon.run_ctr(&["tasks", "rm", "one"])?;
    ensure!(String::from_utf8_lossy(&refused.stderr).contains("must be stopped"), "{refused:?}");
    daemon.ctr(&["tasks", "kill", "-s", "SIGKILL", "one"])?;
    daemon.wait_for_status("one", "STOPPED")?;
    daemon.ctr(&["tasks", "rm", "one"])?;
    daemon.ctr(&["containers", "rm", "one"])?;
    let unknown = daemon.run_ctr(&["containers", "info", "one"])?;
    let words = String::from_utf8_lossy(&unknown.stderr).into_owned();
    ensure!(words.contains("container \"one\" in namespace \"lsh-") && words.contains("\": not found"), "{words}");
    Ok(())
}

fn daemon_killed(host: &Host, shim: ShimOf) -> Result<()> {
    let mut daemon = Daemon::with_image(host, shim)?;
    daemon.run_sleeper("long")?;
    let pid = daemon.pid_of("long")?;
    let script = "trap 'exit 9' USR1; while :; do sleep 0.01; done";
    daemon.ctr(&["run", "--detach", daemon::IMAGE, "short", "sh", "-c", script])?;
    let short = daemon.pid_of("short")?;
    daemon.kill()?;
    // Nobody but its shim is there to see it end.
    daemon.end_by_signal("short", short)?;
    daemon.restart()?;
    ensure!(daemon.pid_of("long")? == pid);
    daemon.wait_for_status("short", "STOPPED")?;
    ensure!(daemon.exit_code_of_rm("short")? == 9);
    daemon.exec_in("long", "e")?;
    daemon.remove_sleeper("long")?;
    daemon.ctr(&["containers", "rm", "short"])?;
    ensure!(daemon.bundles().is_empty());
    Ok(())
}

fn shim_killed(host: &Host, shim: ShimOf) -> Result<()> {
    let daemon = Daemon::with_image(host, shim)?;
    daemon.run_sleeper("one")?;
    daemon.kill_shim("one")?;
    daemon.wait_for_status("one", "STOPPED")?;
    ensure!(daemon.exit_code_of_rm("one")? == 137);
    ensure!(daemon.bundles().is_empty());
    daemon.ctr(&["containers", "rm", "one"])?;
    Ok(())
}

fn both_killed(host: &Host, shim: ShimOf) -> Result<()> {
    let mut daemon = Daemon::with_image(host, shim)?;
    daemon.run_sleeper("one")?;
    daemon.kill()?;
    daemon.kill_shim("one")?;
    daemon.restart()?;
    daemon.wait_for_status("one", "STOPPED")?;
    // Remembered until somebody asks, over another restart as well.
    daemon.kill()?;
    daemon.restart()?;
    ensure!(daemon.status_of("one")? == "STOPPED");
    ensure!(daemon.exit_code_of_rm("one")? == 137);
    daemon.ctr(&["containers", "rm", "one"])?;
    Ok(())
}

fn kill_at_any_moment(host: &Host, shim: ShimOf) -> Result<()> {
    let mut daemon = Daemon::with_image(host, shim)?;
    for round in 0..12 {
        let id = format!("round-{round}");
        let mut running = daemon.start_run(&id)?;
        // A run takes some 150 ms: each round is cut off at another place of it.
        std::thread::sleep(std::time::Duration::from_millis(13 * round));
        daemon.kill()?;
        running.wait()?;
        daemon.restart()?;
        wait_until("the task to be known or not", || {
            let known = daemon.status_of(&id).ok();
            known.is_none_or(|status| status != "UNKNOWN").then_some(())
        })?;
        // Whatever came to be can be taken away, and what did not is no trouble.
        daemon.run_ctr(&["tasks", "rm", "--force", &id])?;
        daemon.run_ctr(&["containers", "rm", &id])?;
        ensure!(daemon.ctr(&["containers", "ls", "-q"])?.is_empty(), "container left in round {round}");
        ensure!(daemon.ctr(&["tasks", "ls", "-q"])?.is_empty(), "task left in round {round}");
        wait_until("shims and bundles to go", || {
            (daemon.bundles().is_empty() && daemon.count_in_state() == 0).then_some(())
        })?;
    }
    Ok(())
}

fn half_made_bundle(host: &Host) -> Result<()> {
    let mut daemon = Daemon::with_image(host, ShimOf::Debian)?;
    daemon.kill()?;
    let state = daemon.state();
    std::fs::create_dir_all(state.join("folder-only/rootfs"))?;
    std::fs::create_dir_all(state.join(".removed/rootfs"))?;
    std::fs::create_dir_all(state.join("shim-to-come/rootfs"))?;
    std::fs::write(state.join("shim-to-come/config.json"), "{}")?;
    std::fs::write(state.join("shim-to-come/shim-binary-path"), SHIM)?;
    daemon.restart()?;
    wait_until("the bundles to go", || daemon.bundles().is_empty().then_some(()))?;
    ensure!(daemon.ctr(&["tasks", "ls", "-q"])?.is_empty());
    // The name is free.
    daemon.run_sleeper("folder-only")?;
    daemon.remove_sleeper("folder-only")
}

fn sick_shim(host: &Host) -> Result<()> {
    let mut daemon = Daemon::with_image(host, ShimOf::Debian)?;
    daemon.run_sleeper("sick")?;
    daemon.run_sleeper("well")?;
    daemon.stop_shim("sick")?;
    ensure!(daemon.status_of("well")? == "RUNNING");
    ensure!(daemon.status_of("sick")? == "UNKNOWN");
    daemon.kill()?;
    daemon.restart()?;
    daemon.exec_in("well", "e")?;
    daemon.continue_shim("sick")?;
    daemon.wait_for_status("sick", "RUNNING")?;
    daemon.remove_sleeper("sick")?;
    daemon.remove_sleeper("well")
}

fn events(host: &Host) -> Result<()> {
    let daemon = Daemon::with_image(host, ShimOf::Debian)?;
    let log = daemon.follow_events()?;
    // The subscription stands when the first event arrives; until then one is sent again and again.
    wait_until("the subscription", || {
        daemon.publish("other", "/test/ready").ok()?;
        std::fs::read_to_string(&log).ok()?.contains("/test/ready").then_some(())
    })?;
    daemon.ctr(&["run", "--rm", daemon::IMAGE, "one", "true"])?;
    daemon.publish("other", "/test/published")?;
    let seen = wait_until("the last event", || {
        let text = std::fs::read_to_string(&log).ok()?;
        text.contains("/test/published").then_some(text)
    })?;
    let order = [
        "/snapshot/prepare",
        "/containers/create",
        "/tasks/create",
        "/tasks/start",
        "/tasks/exit",
        "/tasks/delete",
        "/containers/delete",
        "/test/published",
    ];
    let places: Vec<Option<usize>> = order.iter().map(|topic| seen.find(topic)).collect();
    ensure!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} in\n{seen}");
    Ok(())
}

fn namespaces(host: &Host) -> Result<()> {
    let daemon = Daemon::with_image(host, ShimOf::Debian)?;
    daemon.ctr(&["namespaces", "create", "extra", "colour=red"])?;
    let listed = daemon.ctr(&["namespaces", "ls"])?;
    ensure!(
        listed.contains("extra") && listed.contains("colour=red") && listed.contains(&daemon.namespace()),
        "{listed}"
    );
    let refused = daemon.run_ctr(&["namespaces", "rm", &daemon.namespace()])?;
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(words.contains("must be empty, but it still has images, blobs, snapshots"), "{words}");
    daemon.ctr(&["namespaces", "rm", "extra"])?;
    ensure!(!daemon.ctr(&["namespaces", "ls", "-q"])?.contains("extra"));
    let again = daemon.run_ctr(&["namespaces", "create", &daemon.namespace()])?;
    ensure!(String::from_utf8_lossy(&again.stderr).contains("already exists"), "{again:?}");
    Ok(())
}

fn diff(host: &Host) -> Result<()> {
    let daemon = Daemon::with_image(host, ShimOf::Debian)?;
    daemon.ctr(&["run", daemon::IMAGE, "one", "sh", "-c", "echo new > /added; rm /etc/group"])?;
    let parent = daemon.ctr(&["snapshots", "info", "one"])?;
    let parent: serde_json::Value = serde_json::from_str(&parent)?;
    let parent = parent["Parent"].as_str().unwrap_or_default().to_owned();
    let layer = daemon.run_ctr(&["snapshots", "diff", &parent, "one"])?;
    ensure!(layer.status.success(), "{layer:?}");
    let file = host.path("layer.tar.gz");
    std::fs::write(&file, layer.stdout)?;
    let names = host.command("tar", &["-tzf", &file.to_string_lossy()])?;
    ensure!(names.lines().any(|name| name == "added") && names.lines().any(|name| name == "etc/.wh.group"), "{names}");
    ensure!(!names.contains("busybox"), "only the difference: {names}");
    daemon.ctr(&["containers", "rm", "one"])?;
    Ok(())
}

fn root_label(host: &Host) -> Result<()> {
    let daemon = Daemon::with_image(host, ShimOf::Debian)?;
    let listed = daemon.ctr(&["images", "ls"])?;
    let digest = listed.split_whitespace().find(|word| word.starts_with("sha256:")).unwrap_or_default();
    daemon.ctr(&["content", "label", digest, "containerd.io/gc.root=yes"])?;
    daemon.ctr(&["images", "rm", "--sync", daemon::IMAGE])?;
    // The manifest, and what its labels refer to: configuration, layer, and the snapshot of it.
    ensure!(daemon.ctr(&["content", "ls", "-q"])?.lines().count() == 3);
    ensure!(daemon.ctr(&["snapshots", "ls"])?.lines().count() == 2);
    daemon.ctr(&["content", "label", digest, "containerd.io/gc.root="])?;
    daemon.ctr(&["leases", "create", "--id", "mine"])?;
    ensure!(daemon.ctr(&["leases", "ls", "-q"])? == "mine\n");
    // A collection that nobody waits for spares what is new; this one is waited for.
    ensure!(daemon.ctr(&["content", "ls", "-q"])?.lines().count() == 3);
    daemon.ctr(&["leases", "rm", "--sync", "mine"])?;
    ensure!(daemon.ctr(&["content", "ls", "-q"])?.is_empty());
    Ok(())
}

fn dockerd_of_debian(host: &Host) -> Result<()> {
    let mut daemon = Daemon::start(host, ShimOf::Debian)?;
    let dockerd = Dockerd::start(host, &daemon)?;
    dockerd.import()?;
    let run = ["run", "--network", "none"];
    ensure!(dockerd.docker(&[&run[..], &["--rm", "busybox", "echo", "hello"]].concat())? == "hello\n");
    dockerd.docker(&[&run[..], &["-d", "--name", "long", "busybox", "sleep", "100000"]].concat())?;
    ensure!(dockerd.docker(&["exec", "long", "echo", "added"])? == "added\n");
    let pid = dockerd.docker(&["inspect", "--format", "{{.State.Pid}}", "long"])?;
    daemon.kill()?;
    daemon.restart()?;
    wait_until("dockerd to find it again", || dockerd.docker(&["exec", "long", "echo", "again"]).ok())?;
    ensure!(dockerd.docker(&["inspect", "--format", "{{.State.Pid}}", "long"])? == pid);
    dockerd.docker(&["kill", "long"])?;
    let state = || dockerd.docker(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "long"]);
    wait_until("the exit", || state().is_ok_and(|state| state == "exited 137\n").then_some(()))?;
    dockerd.docker(&["start", "long"])?;
    dockerd.docker(&["rm", "--force", "long"])?;
    dockerd.end()?;
    ensure!(daemon.names_in("state/io.containerd.runtime.v2.task/moby").is_empty());
    Ok(())
}

fn dockerd_controls(host: &Host) -> Result<()> {
    let daemon = Daemon::start(host, ShimOf::Ours)?;
    let dockerd = Dockerd::start(host, &daemon)?;
    dockerd.import()?;
    let run = ["run", "--network", "none", "-d", "--name", "one", "-m", "64m", "busybox", "sleep", "100000"];
    dockerd.docker(&run)?;
    let format = "{{.Name}} {{.MemUsage}} {{.PIDs}}";
    let line = dockerd.docker(&["stats", "--no-stream", "--format", format, "one"])?;
    ensure!(line.starts_with("one ") && line.ends_with(" / 64MiB 1\n") && !line.contains(" 0B /"), "{line:?}");
    dockerd.docker(&["update", "-m", "96m", "--memory-swap", "96m", "--pids-limit", "55", "one"])?;
    let line = dockerd.docker(&["stats", "--no-stream", "--format", format, "one"])?;
    ensure!(line.ends_with(" / 96MiB 1\n"), "{line:?}");
    ensure!(dockerd.docker(&["top", "one"])?.contains("sleep 100000"));
    dockerd.docker(&["pause", "one"])?;
    ensure!(dockerd.docker(&["inspect", "--format", "{{.State.Status}}", "one"])? == "paused\n");
    dockerd.docker(&["unpause", "one"])?;
    ensure!(dockerd.docker(&["exec", "one", "echo", "on"])? == "on\n");
    dockerd.docker(&["rm", "--force", "one"])?;
    let hungry = "x=a; while true; do x=$x$x$x$x; done";
    let eater = [
        "run",
        "--network",
        "none",
        "-d",
        "--name",
        "eater",
        "-m",
        "8m",
        "--memory-swap",
        "8m",
        "busybox",
        "sh",
        "-c",
        hungry,
    ];
    dockerd.docker(&eater)?;
    let state = || dockerd.docker(&["inspect", "--format", "{{.State.OOMKilled}} {{.State.ExitCode}}", "eater"]);
    wait_until("the end for want of memory", || state().is_ok_and(|state| state == "true 137\n").then_some(()))?;
    dockerd.docker(&["rm", "eater"])?;
    dockerd.end()
}

fn one_daemon(host: &Host) -> Result<()> {
    let daemon = Daemon::start(host, ShimOf::Debian)?;
    let second = daemon.command().output()?;
    ensure!(!second.status.success());
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    ensure!(words.contains("in use by another process"), "{words}");
    ensure!(daemon.ctr(&["version"])?.contains("Server:"));
    Ok(())
}
