//! The daemon's edge: its sockets, its configuration, its end.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, WaitOptions};
use testhost::{Engine, Host, wait_until};

/// How long an end without a request under way may take.
const SOON: Duration = Duration::from_secs(3);
/// Clients that say nothing.
const SILENT: usize = 4000;
/// What one of them may cost the daemon.
const BYTES_A_CLIENT: u64 = 8 * 1024;

fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("pid")?;
    Ok(rustix::process::kill_process(pid, signal)?)
}

/// SIGTERM, and how long it took.
fn end(engine: &Engine) -> Result<Duration> {
    let begun = Instant::now();
    signal(engine.dockerd_pid(), Signal::TERM)?;
    let pid = i32::try_from(engine.dockerd_pid()).ok().and_then(Pid::from_raw).context("pid")?;
    wait_until("the daemon's end", || {
        // Ours to reap.
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
        rustix::process::test_kill_process(pid).is_err().then_some(())
    })?;
    Ok(begun.elapsed())
}

/// A plain request over TCP; everything that came back.
fn over_tcp(address: &str, path: &str) -> Result<String> {
    let mut stream = std::net::TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

pub fn sockets(host: &Host) -> Result<()> {
    let second = host.path("second.sock");
    let arguments = ["-H", &format!("unix://{}", second.display()), "-H", "tcp://127.0.0.1:4243", "--group", "root"];
    let engine = host.engine_with("e", &arguments)?;
    for socket in [engine.socket(), second.clone()] {
        use std::os::unix::fs::MetadataExt;
        let found = fs::metadata(&socket)?;
        ensure!(found.mode() & 0o777 == 0o660 && found.gid() == 0, "{:o}", found.mode());
        ensure!(testhost::request(&socket, "GET", "/_ping", b"")?.body == "OK");
    }
    ensure!(over_tcp("127.0.0.1:4243", "/_ping")?.ends_with("OK"));
    let info = engine.request("GET", "/info", b"")?.body;
    ensure!(info.contains("API is accessible on http://127.0.0.1:4243 without encryption."), "{info}");
    // A second daemon must not take the sockets away.
    let mut other = Command::new(host.programs().join("dockerd"));
    other.args(["--data-root", &host.path("o").display().to_string()]);
    other.args(["--exec-root", &host.path("or").display().to_string()]);
    other.args(["--pidfile", &host.path("op").display().to_string(), "-H", &engine.docker.host]);
    let refused = other.output()?;
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && words.contains("another daemon serves on it"), "{words}");
    ensure!(engine.request("GET", "/_ping", b"")?.status == 200);
    end(&engine)?;
    ensure!(!engine.socket().exists() && !second.exists());
    // What a killed daemon leaves is no obstacle.
    engine.start_again()?;
    engine.kill_dockerd()?;
    ensure!(engine.socket().exists());
    engine.start_again()
}

fn certificates(host: &Host) -> Result<()> {
    let path = |name: &str| host.path(name).display().to_string();
    let openssl = |arguments: &[&str]| host.command("openssl", arguments);
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    for authority in ["ca", "other"] {
        let subject = format!("/CN={authority}");
        let (private, public) = (path(&format!("{authority}.key")), path(&format!("{authority}.pem")));
        let make = ["req", "-x509", "-days", "2", "-subj", &subject, "-keyout", &private, "-out", &public];
        openssl(&[&make[..], &key].concat())?;
    }
    fs::write(host.path("san"), "subjectAltName=IP:127.0.0.1\n")?;
    for (name, authority) in [("server", "ca"), ("client", "ca"), ("stranger", "other")] {
        let (private, request) = (path(&format!("{name}.key")), path(&format!("{name}.csr")));
        let subject = format!("/O=An Organisation/CN={name}");
        openssl(&[&["req", "-subj", &subject, "-keyout", &private, "-out", &request][..], &key].concat())?;
        let (ca, ca_key) = (path(&format!("{authority}.pem")), path(&format!("{authority}.key")));
        let (out, names) = (path(&format!("{name}.pem")), path("san"));
        let sign = ["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial"];
        openssl(&[&sign[..], &["-days", "2", "-extfile", &names, "-out", &out]].concat())?;
    }
    Ok(())
}

pub fn tls(host: &Host) -> Result<()> {
    certificates(host)?;
    let path = |name: &str| host.path(name).display().to_string();
    let (ca, certificate, key) = (path("ca.pem"), path("server.pem"), path("server.key"));
    let arguments =
        ["--tlsverify", "--tlscacert", &ca, "--tlscert", &certificate, "--tlskey", &key, "-H", "tcp://127.0.0.1:4244"];
    let engine = host.engine_with("e", &arguments)?;
    let curl = |who: &[&str]| {
        let words = ["-sS", "--cacert", &ca, "https://127.0.0.1:4244/_ping"];
        Command::new("curl").args(words).args(who).output()
    };
    let (good, good_key) = (path("client.pem"), path("client.key"));
    let known = curl(&["--cert", &good, "--key", &good_key])?;
    ensure!(known.stdout == b"OK", "{}", String::from_utf8_lossy(&known.stderr));
    let (bad, bad_key) = (path("stranger.pem"), path("stranger.key"));
    for who in [&[][..], &["--cert", &bad, "--key", &bad_key]] {
        let refused = curl(who)?;
        ensure!(!refused.status.success() && refused.stdout.is_empty(), "{who:?} got in");
    }
    // Docker's own client, with the certificate that it is given.
    let client = engine.docker_of_docker();
    let words = ["--tlsverify", "--tlscacert", &ca, "--tlscert", &good, "--tlskey", &good_key];
    let mut command = Command::new(&client.program);
    command.args(["-H", "tcp://127.0.0.1:4244"]).args(words).args(["version", "--format", "{{.Server.APIVersion}}"]);
    let output = command.output()?;
    ensure!(output.stdout.starts_with(b"1.51"), "{}", String::from_utf8_lossy(&output.stderr));
    ensure!(engine.request("GET", "/info", b"")?.body.find("API is accessible").is_none());
    Ok(())
}

/// What systemd does: the socket as descriptor 3, a socket to hear of readiness.
pub fn activation(host: &Host) -> Result<()> {
    let (socket, heard) = (host.path("activated.sock"), host.path("notify"));
    let listener = UnixListener::bind(&socket)?;
    let manager = UnixDatagram::bind(&heard)?;
    manager.set_read_timeout(Some(Duration::from_secs(20)))?;
    let inherited = rustix::io::dup(&listener)?;
    let script = format!(
        "exec 3<&{0} {0}<&-; export LISTEN_PID=$$ LISTEN_FDS=1 NOTIFY_SOCKET={1}; exec {2} -H fd:// --data-root {3} \
         --exec-root {4} --pidfile {5}",
        inherited.as_raw_fd(),
        heard.display(),
        host.programs().join("dockerd").display(),
        host.path("a-data").display(),
        host.path("a-run").display(),
        host.path("a.pid").display()
    );
    // The client is there before the daemon is.
    let early = std::thread::spawn(move || testhost::request(&socket, "GET", "/_ping", b""));
    let pid = host.spawn("dockerd-activated", Command::new("/bin/bash").args(["-c", &script]))?;
    let hear = || -> Result<String> {
        let mut bytes = [0; 64];
        let length = manager.recv(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
    };
    ensure!(hear()? == "READY=1");
    let answer = early.join().map_err(|_| anyhow::anyhow!("the client panicked"))??;
    ensure!(answer.body == "OK");
    signal(pid, Signal::TERM)?;
    ensure!(hear()? == "STOPPING=1");
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("pid")?;
    wait_until("the daemon's end", || rustix::process::waitpid(Some(pid), WaitOptions::NOHANG).ok().flatten())?;
    // Nobody is on its bridge, so it goes; the rules stay until the next daemon, which makes them anew.
    let links = host.command("ip", &["-o", "link", "show", "type", "bridge"])?;
    ensure!(links.is_empty(), "{links}");
    host.command("nft", &["flush", "ruleset"])?;
    Ok(())
}

fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

pub fn silent_clients(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    // Warm: what the first requests need is there.
    for _ in 0..20 {
        engine.request("GET", "/info", b"")?;
    }
    let before = resident(engine.dockerd_pid())?;
    let mut silent = Vec::with_capacity(SILENT);
    for _ in 0..SILENT {
        silent.push(UnixStream::connect(engine.socket())?);
    }
    // In line behind them all, and answered at once.
    let begun = Instant::now();
    ensure!(engine.request("GET", "/_ping", b"")?.status == 200);
    ensure!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let grown = resident(engine.dockerd_pid())?.saturating_sub(before);
    ensure!(grown < BYTES_A_CLIENT * SILENT as u64, "{grown} bytes for {SILENT} clients");
    ensure!(end(&engine)? < SOON);
    Ok(())
}

pub fn shutdown(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let mut events = engine.docker.start(&["events", "--since", "1m"])?;
    engine.docker.run(&["run", "-d", "--name", "box", &image, "sh", "-c", "while :; do sleep 1; done"])?;
    events.expect("container start")?;
    let attached = engine.docker.start(&["attach", "box"])?;
    let waiting = engine.docker.start(&["wait", "box"])?;
    let logs = engine.docker.start(&["logs", "-f", "box"])?;
    wait_until("the streams", || (engine.request("GET", "/info", b"").ok()?.status == 200).then_some(()))?;
    let took = end(&engine)?;
    ensure!(took < SOON, "{took:?}");
    for client in [events, attached, waiting, logs] {
        // Each client is told by the end of its stream.
        client.wait()?;
    }
    engine.start_again()?;
    ensure!(engine.docker.run(&["ps", "-q"])?.lines().count() == 1, "the container did not run on");
    engine.docker.run(&["rm", "-f", "box"])?;
    Ok(())
}

pub fn live_restore_off(host: &Host) -> Result<()> {
    let engine = host.engine_with("e", &["--live-restore=false"])?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let trap = "trap 'echo got it; exit 7' USR1; while :; do sleep 0.1; done";
    docker.run(&["run", "-d", "--name", "own", "--stop-signal", "USR1", &image, "sh", "-c", trap])?;
    let stubborn = "trap '' TERM; while :; do sleep 0.1; done";
    docker.run(&["run", "-d", "--name", "stubborn", "--stop-timeout", "1", &image, "sh", "-c", stubborn])?;
    docker.run(&["run", "-d", "--name", "wanted", "--restart", "unless-stopped", &image, "sh", "-c", trap])?;
    wait_until("the trap", || (docker.run(&["top", "own"]).ok()?.lines().count() > 2).then_some(()))?;
    end(&engine)?;
    engine.start_again()?;
    let state = |name: &str| docker.run(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name]);
    ensure!(state("own")?.trim() == "exited 7", "{}", state("own")?);
    ensure!(docker.run(&["logs", "own"])?.contains("got it"));
    ensure!(state("stubborn")?.trim() == "exited 137", "{}", state("stubborn")?);
    wait_until("the restart policy", || state("wanted").ok()?.starts_with("running").then_some(()))?;
    docker.run(&["rm", "-f", "own", "stubborn", "wanted"])?;
    Ok(())
}

pub fn reload(host: &Host) -> Result<()> {
    let file = host.path("daemon.json");
    fs::write(&file, r#"{"labels": ["a=1"]}"#)?;
    let engine = host.engine_with("e", &["--config-file", &file.display().to_string()])?;
    let label =
        || -> Result<String> { engine.docker.run(&["info", "--format", "{{json .Labels}} {{.LiveRestoreEnabled}}"]) };
    ensure!(label()?.trim() == r#"["a=1"] true"#, "{}", label()?);
    let mut events = engine.docker.start(&["events", "--since", "1m", "--filter", "type=daemon"])?;
    fs::write(&file, r#"{"labels": ["b=2"], "live-restore": false, "runtimes": {"mine": {"path": "/bin/true"}}}"#)?;
    signal(engine.dockerd_pid(), Signal::HUP)?;
    events.expect("daemon reload")?;
    events.expect(r#"labels=["b=2"], live-restore=false"#)?;
    ensure!(label()?.trim() == r#"["b=2"] false"#, "{}", label()?);
    ensure!(engine.request("GET", "/info", b"")?.body.contains(r#""mine":{"path":"/bin/true"}"#));
    // A mistake changes nothing.
    fs::write(&file, r#"{"labels": ["c=3"], "colour": 1}"#)?;
    signal(engine.dockerd_pid(), Signal::HUP)?;
    let log = host.path("dockerd-e.log");
    wait_until("the error", || fs::read_to_string(&log).ok()?.contains("Error reloading configuration").then_some(()))?;
    ensure!(label()?.trim() == r#"["b=2"] false"#, "{}", label()?);
    events.signal(Signal::INT)?;
    events.wait()?;
    Ok(())
}

pub fn configuration(host: &Host) -> Result<()> {
    let file = host.path("daemon.json");
    let path = file.display().to_string();
    let ask = |words: &[&str], json: &str| -> Result<(bool, String)> {
        fs::write(&file, json)?;
        let mut command = Command::new(host.programs().join("dockerd"));
        let output = command.args(words).args(["--config-file", &path]).output()?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).replace(&path, "FILE")))
    };
    ensure!(ask(&["--validate"], r#"{"debug": true}"#)? == (true, "configuration OK\n".to_owned()));
    let (good, words) = ask(&["--validate"], r#"{"colour": 1}"#)?;
    let expected = "unable to configure the Docker daemon with file FILE: the following directives don't match any \
                    configuration option: colour\n";
    ensure!(!good && words == expected, "{words}");
    let (good, words) = ask(&["--debug", "--validate"], r#"{"debug": true}"#)?;
    let expected = "unable to configure the Docker daemon with file FILE: the following directives are specified both as a \
                    flag and in the configuration file: debug: (from flag: true, from file: true)\n";
    ensure!(!good && words == expected, "{words}");
    Ok(())
}

pub fn metrics(host: &Host) -> Result<()> {
    let engine = host.engine_with("e", &["--metrics-addr", "127.0.0.1:9324"])?;
    let image = engine.import_busybox("busybox")?;
    engine.docker.run(&["run", "--rm", &image, "true"])?;
    let text = over_tcp("127.0.0.1:9324", "/metrics")?;
    for line in [
        "engine_daemon_container_actions_seconds_count{action=\"start\"} 1\n",
        "engine_daemon_container_states_containers{state=\"running\"} 0\n",
        "# TYPE engine_daemon_engine_info gauge\n",
        "process_open_fds ",
    ] {
        ensure!(text.contains(line), "{line}\n{text}");
    }
    ensure!(over_tcp("127.0.0.1:9324", "/info")?.starts_with("HTTP/1.1 404 "));
    Ok(())
}
