//! The engine as its users meet it: a terminal, images from a registry, names and ports, processes, bad input. Where the
//! words are the same, once with our client and once with Docker's own.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use testhost::{Docker, Engine, Host, Needs, Outside, Terminal, Test, run, test, wait_until};

const BUSYBOX: &[Needs] = &[Needs::Path("/bin/busybox")];
const REGISTRY: &[Needs] = &[Needs::Path("/bin/busybox"), Needs::Program("docker-registry", "docker-registry")];

const TESTS: &[Test] = &[
    test("a_terminal_is_left_by_its_keys_and_joined_again", BUSYBOX, a_terminal_is_left_and_joined),
    test("logs_are_followed_to_the_container_s_end", BUSYBOX, logs_are_followed),
    test("an_image_travels_to_a_registry_and_back", REGISTRY, an_image_travels),
    test("a_tampered_layer_fails_the_pull_and_leaves_nothing", REGISTRY, a_tampered_layer_fails),
    test("names_resolve_and_ports_answer", BUSYBOX, names_and_ports),
    test("the_host_shows_the_programs_and_the_shim_is_the_parent", BUSYBOX, the_programs_show),
    test("a_killed_shim_is_reported_as_137", BUSYBOX, a_killed_shim),
    test("bad_requests_get_docker_s_answers", BUSYBOX, bad_requests),
];

fn main() -> ExitCode {
    run(TESTS)
}

/// Ours, and Docker's newest on this machine.
fn clients(engine: &Engine) -> [Docker; 2] {
    [engine.docker.clone(), engine.docker_of_docker()]
}

fn a_terminal_is_left_and_joined(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    for docker in clients(&engine) {
        let mut terminal = Terminal::start(&docker.command(&["run", "-it", "--name", "shell", &image, "sh"]))?;
        terminal.type_keys("echo host=$(hostname) pid=$$ few=$(( $(ls -d /proc/[0-9]* | wc -l) < 9 ))\n")?;
        let id = docker_id(&docker, "shell")?;
        terminal.expect(&format!("host={} pid=1 few=1\r\n", &id[..12]))?;
        terminal.type_keys("\x10\x11")?;
        ensure!(terminal.wait()? == 0, "{}", terminal.screen());
        ensure!(docker.run(&["inspect", "-f", "{{.State.Running}}", "shell"])? == "true");

        let mut second = Terminal::start(&docker.command(&["exec", "-it", "shell", "sh"]))?;
        second.type_keys("tty && echo second-$((40 + 2)); exit 4\n")?;
        second.expect("second-42")?;
        ensure!(second.wait()? == 4);

        let mut again = Terminal::start(&docker.command(&["attach", "shell"]))?;
        again.resize(101, 33)?;
        again.type_keys("until stty size | grep '33 101'; do sleep 0.01; done; exit 3\n")?;
        again.expect("33 101\r\n")?;
        ensure!(again.wait()? == 3, "{}", again.screen());
        docker.run(&["rm", "shell"])?;
    }
    Ok(())
}

fn docker_id(docker: &Docker, name: &str) -> Result<String> {
    wait_until("the container", || docker.run(&["inspect", "-f", "{{.Id}}", name]).ok().filter(|id| id.len() == 64))
}

fn logs_are_followed(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    for docker in clients(&engine) {
        let script = "for i in $(seq 5); do echo line $i; done; until test -e /go; do sleep 0.01; done; echo last";
        docker.run(&["run", "-d", "--name", "talker", &image, "sh", "-c", script])?;
        let mut follower = docker.start(&["logs", "-f", "talker"])?;
        follower.expect("line 5\n")?;
        docker.run(&["exec", "talker", "touch", "/go"])?;
        follower.expect("last\n")?;
        ensure!(follower.wait()?.code == 0);
        ensure!(docker.run(&["logs", "--tail", "2", "talker"])? == "line 5\nlast");
        let stamped = docker.run(&["logs", "--timestamps", "--tail", "1", "talker"])?;
        let (time, line) = stamped.split_once(' ').context("a time before the line")?;
        ensure!(line == "last" && time.ends_with('Z') && time.contains('T'), "{stamped}");
        docker.run(&["rm", "talker"])?;
    }
    Ok(())
}

fn an_image_travels(host: &Host) -> Result<()> {
    let (engine, registry) = (host.engine("e")?, host.registry()?);
    for (number, docker) in clients(&engine).iter().enumerate() {
        let name = registry.image(&format!("box{number}:v1"));
        let id = engine.import_busybox(&name).and_then(|name| docker.run(&["inspect", "-f", "{{.Id}}", &name]))?;
        let pushed = docker.run(&["push", &name])?;
        ensure!(
            pushed.contains(&format!("The push refers to repository [{}]", registry.image(&format!("box{number}")))),
            "{pushed}"
        );
        let digest = pushed.split_whitespace().find(|word| word.starts_with("sha256:")).context("a digest")?;
        let untagged = docker.run(&["rmi", &name])?;
        ensure!(untagged.contains(&format!("Untagged: {name}")) && untagged.contains("Deleted: sha256:"), "{untagged}");
        let pulled = docker.run(&["pull", &name])?;
        for wanted in
            ["Pulling from box", "Pull complete", &format!("Digest: {digest}"), "Status: Downloaded newer image for"]
        {
            ensure!(pulled.contains(wanted), "{wanted} in {pulled}");
        }
        ensure!(docker.run(&["pull", &name])?.contains("Status: Image is up to date for"));
        ensure!(docker.run(&["inspect", "-f", "{{.Id}}", &name])? == id);
        docker.run(&["create", "--name", "user", &name])?;
        let refused = docker.try_run(&["rmi", &name])?;
        let wanted = format!("conflict: unable to remove repository reference \"{name}\" (must force) - container");
        ensure!(refused.code == 1 && refused.stderr.contains(&wanted), "{refused:?}");
        docker.run(&["rm", "user"])?;
        docker.run(&["rmi", &name])?;
    }
    Ok(())
}

/// A byte of every blob that is no JSON is turned round in the registry's own folder.
fn a_tampered_layer_fails(host: &Host) -> Result<()> {
    let (engine, registry) = (host.engine("e")?, host.registry()?);
    let docker = &engine.docker;
    let name = engine.import_busybox(&registry.image("box:v1"))?;
    docker.run(&["push", &name])?;
    docker.run(&["rmi", &name])?;
    let found =
        host.command("find", &[&host.path("registry").display().to_string(), "-path", "*/blobs/*", "-name", "data"])?;
    for path in found.lines() {
        let mut bytes = fs::read(path)?;
        if bytes.first() != Some(&b'{') {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes)?;
        }
    }
    let failed = docker.try_run(&["pull", &name])?;
    ensure!(failed.code == 1, "{failed:?}");
    ensure!(docker.run(&["images", "-aq"])?.is_empty());
    let snapshots = host.command(
        "find",
        &[&engine.data_root().display().to_string(), "-path", "*/snapshots/*/fs/*", "-name", "busybox"],
    )?;
    ensure!(snapshots.is_empty(), "{snapshots}");
    Ok(())
}

fn names_and_ports(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let outside = Outside::join(host)?;
    for docker in clients(&engine) {
        docker.run(&["network", "create", "sea"])?;
        let serve = "mkdir /www; echo page > /www/index.html; exec httpd -f -p 80 -h /www";
        docker.run(&["run", "-d", "--name", "web", "--network", "sea", "-p", "8080:80", &image, "sh", "-c", serve])?;
        let look = ["run", "--rm", "--network", "sea", &image, "wget", "-qO-", "http://web/"];
        wait_until("the page by name", || docker.run(&look).ok().filter(|page| page == "page"))?;
        ensure!(host.command("busybox", &["wget", "-qO-", "http://127.0.0.1:8080/"])? == "page\n");
        let url = format!("http://{}:8080/", testhost::HOST_ADDRESS);
        ensure!(outside.command(&["busybox", "wget", "-qO-", &url])? == "page\n");
        let ports = docker.run(&["ps", "--format", "{{.Ports}}"])?;
        ensure!(ports.contains("0.0.0.0:8080->80/tcp"), "{ports}");
        let taken = docker.try_run(&["run", "--rm", "-p", "8080:80", &image, "true"])?;
        ensure!(taken.code == 125 && taken.stderr.contains("port is already allocated"), "{taken:?}");
        let stranger = docker.try_run(&["run", "--rm", &image, "wget", "-T", "1", "-qO-", "http://web/"])?;
        ensure!(stranger.code != 0, "the default bridge knows no names");
        docker.run(&["rm", "-f", "web"])?;
        docker.run(&["network", "rm", "sea"])?;
    }
    Ok(())
}

fn the_programs_show(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let id = engine.docker.run(&["run", "-d", "-p", "8080:80", &image, "sleep", "1000"])?;
    let init = engine.docker.run(&["inspect", "-f", "{{.State.Pid}}", &id])?;
    let name_of = |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm")).map(|name| name.trim().to_owned());
    ensure!(name_of(&init)? == "sleep");
    let status = fs::read_to_string(format!("/proc/{init}/status"))?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).context("a parent")?;
    // The kernel cuts a name at 15 characters.
    ensure!(name_of(parent)? == "docker-containe");
    let shim = fs::read_to_string(format!("/proc/{parent}/cmdline"))?;
    ensure!(shim.contains("docker-containerd-shim") && shim.contains(&id), "{shim}");
    let own = engine.exec_root().display().to_string();
    let processes = host.command("ps", &["-ww", "-eo", "args"])?;
    let ours: Vec<&str> = processes.lines().filter(|line| line.contains(&own)).collect();
    for program in ["dockerd ", "docker-containerd ", "docker-containerd-shim ", "docker-netd "] {
        ensure!(ours.iter().any(|line| line.contains(program)), "no {program} in {ours:?}");
    }
    ensure!(!ours.iter().any(|line| line.contains("docker-runc")), "{ours:?}");
    engine.docker.run(&["rm", "-f", &id])?;
    Ok(())
}

fn a_killed_shim(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    for daemon_is_dead in [false, true] {
        let id = docker.run(&["run", "-d", "--name", "orphan", &image, "sleep", "1000"])?;
        let init = docker.run(&["inspect", "-f", "{{.State.Pid}}", &id])?;
        let status = fs::read_to_string(format!("/proc/{init}/status"))?;
        let shim = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).context("a parent")?.parse()?;
        if daemon_is_dead {
            engine.kill_dockerd()?;
            engine.kill_containerd()?;
        }
        testhost::kill_process(shim)?;
        if daemon_is_dead {
            engine.start_again()?;
        }
        let state = || docker.run(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", &id]).ok();
        wait_until("the report", || state().filter(|state| state == "exited 137"))?;
        wait_until("the end of the process", || {
            (!fs::exists(format!("/proc/{init}/root")).unwrap_or(true)).then_some(())
        })?;
        docker.run(&["rm", "orphan"])?;
    }
    Ok(())
}

fn bad_requests(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let cases = [
        ("GET", "/v1.51/nothing", "", 404, "page not found"),
        ("GET", "/v1.99/info", "", 400, "client version 1.99 is too new. Maximum supported API version is 1.51"),
        (
            "GET",
            "/v1.12/info",
            "",
            400,
            "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version",
        ),
        ("GET", "/containers/nobody/json", "", 404, "No such container: nobody"),
        ("POST", "/containers/nobody/start", "", 404, "No such container: nobody"),
        ("POST", "/containers/create", "{\"Image\":\"nothing\"}", 404, "No such image: nothing:latest"),
        ("GET", "/images/nothing/json", "", 404, "No such image: nothing:latest"),
        (
            "POST",
            "/images/create?fromImage=UPPER",
            "",
            400,
            "invalid reference format: repository name (UPPER) must be lowercase",
        ),
        ("GET", "/networks/nothing", "", 404, "network nothing not found"),
    ];
    for (method, path, body, status, message) in cases {
        let reply = engine.request(method, path, body.as_bytes())?;
        ensure!(reply.status == status, "{method} {path}: {} {}", reply.status, reply.message());
        ensure!(reply.message() == message, "{method} {path}: {}", reply.message());
    }
    let huge = format!("{{\"Image\":\"{}\"}}", "x".repeat(5 << 20));
    ensure!(engine.request("POST", "/containers/create", huge.as_bytes())?.status == 400);
    ensure!(engine.request("POST", "/containers/create", b"{\"Image\":")?.status == 400);
    ensure!(engine.request("POST", "/containers/create", "[".repeat(100_000).as_bytes())?.status == 400);
    ensure!(engine.docker.run(&["ps", "-aq"])?.is_empty());
    Ok(())
}
