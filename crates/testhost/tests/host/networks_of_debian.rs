//! Debian in containers: packages come from a mirror that another machine serves, and what they bring serves the world.

use std::path::Path;

use anyhow::{Result, ensure};
use testhost::{Docker, HOST_ADDRESS, Host, Outside, wait_until};

use crate::probes::NameServer;

/// Made by scripts/debian and scripts/debian-mirror.
pub const DEBIAN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/debian.tar");
pub const MIRROR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/debian-mirror/debian/Packages");
const NAME: &str = "deb.debian.org";
const OUTSIDE: &str = "192.0.2.2";

pub fn packages(host: &Host) -> Result<()> {
    let outside = Outside::join(host)?;
    // The host's own name server, as containers of the default bridge have it.
    host.cover_file("/etc/resolv.conf", format!("nameserver {OUTSIDE}\n").as_bytes())?;
    let names = NameServer::start(outside.pid(), NAME, [192, 0, 2, 2])?;
    let root = Path::new(MIRROR).ancestors().nth(2).unwrap_or(Path::new("/")).display().to_string();
    outside.spawn("mirror", &["busybox", "httpd", "-f", "-p", "80", "-h", &root])?;
    let engine = host.engine("e")?;
    let docker = &engine.docker;
    docker.run(&["import", DEBIAN, "debian"])?;

    let sources = format!("echo 'deb [trusted=yes] http://{NAME}/debian ./' > /etc/apt/sources.list");
    let update = format!("rm -f /etc/apt/sources.list.d/*; {sources}; apt-get update");
    let told = docker.run(&["run", "--rm", "debian", "sh", "-c", &update])?;
    ensure!(told.contains(&format!("http://{NAME}/debian ./ Packages")), "{told}");
    ensure!(names.count(NAME) > 0, "the name was not asked for");

    // nginx on the default bridge: built over it, and served to the world.
    build(docker, "nginx", &update, r#"["nginx", "-g", "daemon off;"]"#)?;
    docker.run(&["run", "-d", "--name", "web", "-p", "8080:80", "nginx"])?;
    let url = format!("http://{HOST_ADDRESS}:8080/");
    let page = || outside.command(&["curl", "-sf", "--max-time", "5", "--noproxy", "*", &url]).ok();
    ensure!(wait_until("nginx's page", page)?.contains("Welcome to nginx!"));

    // redis on a network of its own: for the world by its port, for its neighbours by its name.
    build(docker, "redis-server", &update, r#"["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no"]"#)?;
    docker.run(&["network", "create", "back"])?;
    docker.run(&["run", "-d", "--name", "store", "--network", "back", "-p", "6379:6379", "redis-server"])?;
    let ask = format!("printf 'SET colour green\\r\\nQUIT\\r\\n' | busybox nc -w 5 {HOST_ADDRESS} 6379");
    let answered = || outside.command(&["sh", "-c", &ask]).ok().filter(|answer| answer.contains("+OK"));
    wait_until("redis's answer", answered)?;
    docker.run(&["run", "-d", "--name", "client", "--network", "back", "redis-server", "sleep", "1000"])?;
    let read = docker.run(&["exec", "client", "redis-cli", "-h", "store", "GET", "colour"])?;
    ensure!(read == "green", "{read}");
    for (from, to) in [("client", "store"), ("store", "client")] {
        let found = docker.run(&["exec", from, "getent", "hosts", to])?;
        let address = docker.run(&["inspect", "-f", "{{.NetworkSettings.Networks.back.IPAddress}}", to])?;
        ensure!(found.starts_with(&format!("{address} ")), "{from} finds {to} at {found}");
    }
    let found = docker.run(&["exec", "client", "getent", "ahostsv4", NAME])?;
    ensure!(found.contains(OUTSIDE), "{found}");

    // CVE-2024-29018: what has no way out has none by way of the names either.
    docker.run(&["network", "create", "--internal", "closed"])?;
    let secret = format!("secret.{NAME}");
    let asked = docker.try_run(&["run", "--rm", "--network", "closed", "debian", "getent", "hosts", &secret])?;
    ensure!(asked.code == 2 && names.count(&secret) == 0, "{asked:?}, {}", names.count(&secret));
    docker.try_run(&["run", "--rm", "--network", "back", "debian", "getent", "hosts", &secret])?;
    ensure!(names.count(&secret) > 0, "an open network asks the world");

    docker.run(&["rm", "-f", "web", "store", "client"])?;
    docker.run(&["network", "rm", "back", "closed"])?;
    names.end()
}

fn build(docker: &Docker, package: &str, update: &str, command: &str) -> Result<()> {
    let install = format!("apt-get install -y --no-install-recommends {package}");
    let file = format!("FROM debian\nENV DEBIAN_FRONTEND=noninteractive\nRUN {update} && {install}\nCMD {command}\n");
    docker.run_with(&["build", "-q", "-t", package, "-"], file.as_bytes())?;
    Ok(())
}
