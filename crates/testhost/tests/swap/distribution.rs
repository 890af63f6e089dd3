//! Our engine and other people's tools at one registry with TLS, by password and by token: what either writes the other
//! reads, and the digests are the same on both sides.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ids::Digest;
use serde_json::Value;
use testhost::{
    Docker, Engine, Host, LAYOUT_TAG, PASSWORD, Ran, Registry, RegistrySettings, Running, USER, oci_layout, wait_until,
};

/// A name for loopback, so that nobody takes the registry for an insecure one.
const NAME: &str = "registry.test";
const ADDRESS: &str = "registry.test:5443";
const TOKEN_PORT: &str = "5444";
const SERVICE: &str = "registry.test";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/swap/token_server.py");

/// How the registry wants to know who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    Password,
    Token,
}

/// The tools, each with a home of its own and no login but the one on its command line.
struct Tools<'h> {
    host: &'h Host,
    credentials: String,
}

impl Tools<'_> {
    fn run(&self, program: &str, words: &[&str]) -> Result<String> {
        let mut command = Command::new(program);
        command.args(words).env("HOME", self.host.path("tools")).env("XDG_RUNTIME_DIR", self.host.path("tools"));
        let Ran { code, stdout, stderr } = Running::start(command)?.wait()?;
        ensure!(code == 0, "{program} {}: exit {code}\n{stdout}{stderr}", words.join(" "));
        Ok(stdout)
    }

    /// podman on roots of its own.
    fn podman(&self, words: &[&str]) -> Result<String> {
        let place = |name: &str| self.host.path(&format!("podman-{name}")).to_string_lossy().into_owned();
        let (root, run, tmp) = (place("root"), place("run"), place("tmp"));
        let globals = ["--root", &root, "--runroot", &run, "--tmpdir", &tmp, "--storage-driver", "vfs"];
        Ok(self.run("podman", &[&globals[..], words].concat())?.trim_end().to_owned())
    }

    /// The manifest as the registry gives it, to the last byte.
    fn manifest(&self, image: &str) -> Result<String> {
        self.run("skopeo", &["inspect", "--creds", &self.credentials, "--raw", &format!("docker://{image}")])
    }
}

/// A registry behind TLS, which every program on this host trusts.
fn open(host: &Host, guard: Guard) -> Result<Registry> {
    let (certificate, key) = (host.path("registry.pem"), host.path("registry.key"));
    let words = [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=registry.test",
        "-addext",
        "subjectAltName=DNS:registry.test",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-keyout",
        &key.to_string_lossy(),
        "-out",
        &certificate.to_string_lossy(),
    ];
    host.command("openssl", &words)?;
    host.cover_file("/etc/hosts", format!("127.0.0.1 localhost {NAME}\n").as_bytes())?;
    // Docker's folder of certificates, which skopeo and podman read as well.
    host.cover("/etc/docker")?;
    let folder = PathBuf::from("/etc/docker/certs.d").join(ADDRESS);
    fs::create_dir_all(&folder)?;
    fs::copy(&certificate, folder.join("ca.crt"))?;
    let authentication = match guard {
        Guard::Password => RegistrySettings::for_user(host)?.authentication,
        Guard::Token => {
            let mut server = Command::new("/usr/bin/python3");
            server.args(["-B", SCRIPT]).arg(TOKEN_PORT).args([&certificate, &key]).args([USER, PASSWORD, SERVICE]);
            host.spawn("token-server", &mut server)?;
            wait_until("the token server", || TcpStream::connect(format!("127.0.0.1:{TOKEN_PORT}")).ok())?;
            format!(
                "auth:\n  token:\n    realm: https://{NAME}:{TOKEN_PORT}/token\n    service: {SERVICE}\n    issuer: harbour\n    rootcertbundle: {}\n",
                certificate.display()
            )
        }
    };
    let settings = RegistrySettings { address: ADDRESS.to_owned(), tls: Some((certificate, key)), authentication };
    host.registry_with(&settings)
}

pub fn round_trips(host: &Host, guard: Guard) -> Result<()> {
    let registry = open(host, guard)?;
    // The token server's own certificate is an authority of the machine's: no folder names its port.
    host.cover_file("/etc/ssl/certs/ca-certificates.crt", &fs::read(host.path("registry.pem"))?)?;
    for folder in ["/run/containers", "/run/libpod", "/var/lib/containers"] {
        host.cover(folder)?;
    }
    let engine = host.engine("e")?;
    let tools = Tools { host, credentials: format!("{USER}:{PASSWORD}") };
    log_in(&engine, &registry)?;
    ours_is_read(host, &engine, &registry, &tools)?;
    theirs_is_read(host, &engine.docker, &registry, &tools)?;
    engine.docker.run(&["logout", ADDRESS])?;
    let refused = engine.docker.try_run(&["pull", &registry.image("ours:1")])?;
    ensure!(refused.code == 1 && refused.stderr.lines().count() == 1, "{refused:?}");
    Ok(())
}

fn log_in(engine: &Engine, registry: &Registry) -> Result<()> {
    let image = registry.image("ours:1");
    engine.import_busybox(&image)?;
    let refused = engine.docker.try_run(&["push", &image])?;
    ensure!(refused.code == 1, "{refused:?}");
    let login = ["login", "-u", USER, "--password-stdin", ADDRESS];
    let wrong = engine.docker.try_run_with(&login, b"guessed")?;
    ensure!(wrong.code == 1 && !wrong.stdout.contains("Succeeded"), "{wrong:?}");
    let told = engine.docker.run_with(&login, PASSWORD.as_bytes())?;
    ensure!(told.contains("Login Succeeded"), "{told}");
    Ok(())
}

/// What we push and save, by skopeo, podman and umoci.
fn ours_is_read(host: &Host, engine: &Engine, registry: &Registry, tools: &Tools<'_>) -> Result<()> {
    let (docker, image) = (&engine.docker, registry.image("ours:1"));
    let pushed = docker.run(&["push", &image])?;
    let raw = tools.manifest(&image)?;
    let (digest, manifest) = (Digest::of(&raw).to_string(), serde_json::from_str::<Value>(&raw)?);
    ensure!(pushed.contains(&format!("digest: {digest} size: {}", raw.len())), "{digest} in {pushed}");
    let id = docker.run(&["images", "-q", "--no-trunc", &image])?;
    ensure!(manifest["config"]["digest"] == id.as_str(), "{manifest}");
    // podman has the same manifest and the same configuration.
    tools.podman(&["pull", "--quiet", "--creds", &tools.credentials, &image])?;
    let seen = tools.podman(&["image", "inspect", "--format", "{{.Digest}} sha256:{{.Id}}", &image])?;
    ensure!(seen == format!("{digest} {id}"), "podman has {seen}, we pushed {digest} {id}");
    // skopeo's copy keeps the digest, and umoci unpacks what is in it.
    let layout = host.path("copied").display().to_string();
    let source = format!("docker://{image}");
    tools
        .run("skopeo", &["copy", "--quiet", "--src-creds", &tools.credentials, &source, &format!("oci:{layout}:1")])?;
    ensure!(tools.run("skopeo", &["inspect", "--raw", &format!("oci:{layout}:1")])? == raw);
    tools.run("umoci", &["unpack", "--image", &format!("{layout}:1"), &host.path("bundle").display().to_string()])?;
    ensure!(fs::read(host.path("bundle/rootfs/bin/busybox"))? == fs::read("/bin/busybox")?);
    // The archive that we save has them, too.
    let saved = host.path("saved.tar").display().to_string();
    docker.run(&["save", "-o", &saved, &image])?;
    ensure!(
        Digest::of(tools.run("skopeo", &["inspect", "--raw", &format!("oci-archive:{saved}")])?).to_string() == digest
    );
    tools.podman(&["rmi", "--all", "--force"])?;
    tools.podman(&["load", "--quiet", "--input", &saved])?;
    ensure!(tools.podman(&["image", "inspect", "--format", "sha256:{{.Id}}", &image])? == id);
    Ok(())
}

/// What skopeo, podman and umoci write, by us.
fn theirs_is_read(host: &Host, docker: &Docker, registry: &Registry, tools: &Tools<'_>) -> Result<()> {
    let layout = oci_layout(host)?.display().to_string();
    let reference = format!("{layout}:{LAYOUT_TAG}");
    tools.run("umoci", &["config", "--image", &reference, "--tag", "umoci", "--config.cmd", "date"])?;
    for (repository, source, format) in [
        ("oci", format!("oci:{reference}"), "oci"),
        ("schema2", format!("oci:{reference}"), "v2s2"),
        ("umoci", format!("oci:{layout}:umoci"), "oci"),
    ] {
        let image = registry.image(&format!("{repository}:1"));
        let target = format!("docker://{image}");
        let copy = ["copy", "--quiet", "--dest-creds", &tools.credentials, "--format", format, &source, &target];
        tools.run("skopeo", &copy)?;
        is_pulled(host, docker, tools, &image)?;
    }
    let image = registry.image("podman:1");
    let id = tools.podman(&["pull", "--quiet", "--creds", &tools.credentials, &registry.image("schema2:1")])?;
    tools.podman(&["push", "--quiet", "--creds", &tools.credentials, &id, &format!("docker://{image}")])?;
    is_pulled(host, docker, tools, &image)?;
    // Archives of theirs, in both forms.
    for form in ["docker-archive", "oci-archive"] {
        let file = host.path(&format!("{form}.tar")).display().to_string();
        tools.podman(&["save", "--quiet", "--format", form, "--output", &file, &registry.image("schema2:1")])?;
        let loaded = docker.run(&["load", "-i", &file])?;
        ensure!(loaded == format!("Loaded image: {}", registry.image("schema2:1")), "{form}: {loaded}");
        let own = docker.run(&["images", "-q", "--no-trunc", &registry.image("schema2:1")])?;
        // In the OCI's form podman writes another configuration than the one of Docker's form that it has.
        let theirs = if form == "oci-archive" {
            let manifest = tools.run("skopeo", &["inspect", "--raw", &format!("oci-archive:{file}")])?;
            serde_json::from_str::<Value>(&manifest)?["config"]["digest"].as_str().unwrap_or_default().to_owned()
        } else {
            tools.podman(&["image", "inspect", "--format", "sha256:{{.Id}}", &registry.image("schema2:1")])?
        };
        ensure!(own == theirs, "{form}: {own} and {theirs}");
        docker.run(&["rmi", &registry.image("schema2:1")])?;
    }
    Ok(())
}

/// Pulled with the digest that the registry has, run, pushed back under another name and saved: the digest stays.
fn is_pulled(host: &Host, docker: &Docker, tools: &Tools<'_>, image: &str) -> Result<()> {
    let raw = tools.manifest(image)?;
    let digest = Digest::of(&raw).to_string();
    let pulled = docker.run(&["pull", image])?;
    ensure!(pulled.contains(&format!("Digest: {digest}")), "{digest} in {pulled}");
    let manifest: Value = serde_json::from_str(&raw)?;
    let id = docker.run(&["images", "-q", "--no-trunc", image])?;
    ensure!(manifest["config"]["digest"] == id.as_str(), "{image}: {id}");
    ensure!(docker.run(&["run", "--rm", image, "sh", "-c", "echo $COLOUR"])? == "red", "{image}");
    let again = format!("{}-again:1", image.strip_suffix(":1").context("a tag")?);
    docker.run(&["tag", image, &again])?;
    docker.run(&["push", "-q", &again])?;
    ensure!(tools.manifest(&again)? == raw, "{again}: what came back is another manifest");
    let file = host.path("again.tar").display().to_string();
    docker.run(&["save", "-o", &file, &again])?;
    docker.run(&["rmi", image, &again])?;
    docker.run(&["load", "-i", &file])?;
    ensure!(docker.run(&["image", "inspect", "--format", "{{.Descriptor.Digest}}", &again])? == digest);
    docker.run(&["rmi", &again])?;
    Ok(())
}
