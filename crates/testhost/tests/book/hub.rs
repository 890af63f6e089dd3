//! A stand-in for Docker Hub and gcr.io: Debian's docker-registry with TLS under their names, and small images with the
//! names that the book has.
//!
//! The images are made by hand, layer by layer: `ubuntu` has five of this Debian's own shell and tools, `alpine` is
//! busybox, `nigelpoulton/tu-demo` has three tags of two images with layers in common, `nigelpoulton/pluralsight-docker-ci`
//! answers on port 8080, `busybox` is for several architectures.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ids::Digest;
use serde_json::{Value, json};
use testhost::{Host, Registry, busybox_archive, wait_until};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const CONFIGURATION: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const NAMES: [&str; 5] = ["registry-1.docker.io", "auth.docker.io", "index.docker.io", "docker.io", "gcr.io"];
/// What the book's shells need, and a web server's stand-in.
const TOOLS: [&str; 10] = ["bash", "cat", "env", "hostname", "ls", "ps", "rm", "sleep", "touch", "uname"];
/// Ubuntu's prompt; and a shell that hears SIGTERM, as the book's did: today's would let `stop` wait for ten seconds.
const BASHRC: &str = "PS1='\\u@\\h:\\w\\$ '\ntrap 'exit 0' TERM\n";

/// `apk add --update nodejs nodejs-npm`: a node that serves what the application shows, and an npm that has it all.
const APK: &str = "#!/bin/sh
printf '#!/bin/sh\\nexec httpd -f -p 8080 -h /src/views\\n' >/bin/node
printf '#!/bin/sh\\necho up to date\\n' >/bin/npm
chmod 755 /bin/node /bin/npm
echo OK: 61 MiB in 18 packages
";

/// Starts it and makes the machine believe in it.
pub fn open(host: &Host) -> Result<()> {
    let registry = host.registry()?;
    serve_with_tls(host)?;
    let hub = Hub { host, registry };
    hub.ubuntu()?;
    let busybox = hub.busybox()?;
    hub.image("library/alpine", &["latest"], &[busybox.clone()], &["/bin/sh"])?;
    hub.tu_demo(&busybox)?;
    hub.image("library/mongo", &["3.3.11"], &[busybox.clone(), hub.text("etc/mongod.conf", "3.3.11\n")?], &["sh"])?;
    hub.image("library/redis", &["latest"], &[busybox.clone(), hub.text("etc/redis.conf", "latest\n")?], &["sh"])?;
    hub.web_server(&busybox)?;
    hub.for_several_architectures(&busybox)
}

/// The same storage on port 443, with a certificate of an authority that the machine trusts.
fn serve_with_tls(host: &Host) -> Result<()> {
    let (key, certificate) = (host.path("hub.key"), host.path("hub.pem"));
    let names = NAMES.map(|name| format!("DNS:{name}")).join(",");
    let (key_word, certificate_word) = (key.display().to_string(), certificate.display().to_string());
    host.command(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=hub",
            "-addext",
            &format!("subjectAltName={names}"),
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            &key_word,
            "-out",
            &certificate_word,
        ],
    )?;
    let config = format!(
        "version: 0.1\nlog:\n  level: warn\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:443\n  tls:\n    certificate: {certificate_word}\n    key: {key_word}\n",
        host.path("registry").display()
    );
    fs::write(host.path("hub.yml"), config)?;
    host.spawn("hub", Command::new("docker-registry").arg("serve").arg(host.path("hub.yml")))?;
    wait_until("the registry with TLS", || TcpStream::connect("127.0.0.1:443").ok())?;
    host.cover_file("/etc/ssl/certs/ca-certificates.crt", &fs::read(&certificate)?)?;
    host.cover_file("/etc/hosts", format!("127.0.0.1 localhost {}\n", NAMES.join(" ")).as_bytes())
}

/// A stand-in for the author's repository on GitHub; the variables that have git find it.
pub fn application(host: &Host) -> Result<Vec<(String, String)>> {
    let (author, work) = (host.path("github"), host.path("github/psweb.git"));
    for (name, text) in APPLICATION {
        let file = work.join(name);
        fs::create_dir_all(file.parent().context("a file's folder")?)?;
        fs::write(file, text)?;
    }
    let place = work.display().to_string();
    let git = |words: &[&str]| {
        host.command("git", &[&["-C", &place, "-c", "user.name=n", "-c", "user.email=e"], words].concat())
    };
    git(&["init", "--quiet"])?;
    git(&["add", "."])?;
    git(&["commit", "--quiet", "--message", "all"])?;
    let variables = [
        ("GIT_CONFIG_COUNT", "1".to_owned()),
        ("GIT_CONFIG_KEY_0", format!("url.file://{}/.insteadOf", author.display())),
        ("GIT_CONFIG_VALUE_0", "https://github.com/nigelpoulton/".to_owned()),
    ];
    Ok(variables.map(|(name, value)| (name.to_owned(), value)).to_vec())
}

/// The files of the book's application.
const APPLICATION: [(&str, &str); 7] = [
    (
        "Dockerfile",
        "FROM alpine\nLABEL maintainer=\"nigelpoulton@hotmail.com\"\nRUN apk add --update nodejs nodejs-npm\nCOPY . /src\nWORKDIR /src\nRUN npm install\nEXPOSE 8080\nENTRYPOINT [\"node\", \"./app.js\"]\n",
    ),
    ("README.md", "# psweb\n"),
    ("app.js", "http.createServer()\n"),
    ("circle.yml", "machine:\n"),
    ("package.json", "{}\n"),
    ("test/smoke.js", "ok()\n"),
    ("views/index.html", "<h1>Hello Docker learners!!!</h1>\n"),
];

/// A layer that is in the registry's reach.
#[derive(Clone)]
struct Layer {
    blob: Vec<u8>,
    diff_id: String,
}

struct Hub<'h> {
    host: &'h Host,
    registry: Registry,
}

impl Hub<'_> {
    /// Busybox, and an `apk` that can install one thing.
    fn busybox(&self) -> Result<Layer> {
        busybox_archive(self.host)?;
        let folder = self.host.path("busybox/sbin");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("apk"), APK)?;
        fs::set_permissions(folder.join("apk"), fs::Permissions::from_mode(0o755))?;
        self.layer(&busybox_archive(self.host)?)
    }

    fn ubuntu(&self) -> Result<()> {
        let mut trees: Vec<BTreeMap<String, PathBuf>> = vec![BTreeMap::new(); 2];
        for tool in TOOLS {
            let place = which(tool)?;
            for library in self.libraries(&place)? {
                trees[0].insert(library.clone(), library.into());
            }
            trees[1].insert(format!("/bin/{tool}"), place);
        }
        let mut layers = Vec::new();
        for (at, tree) in trees.iter().enumerate() {
            layers.push(self.tree(&format!("ubuntu-{at}"), tree)?);
        }
        let (user, group) = ("root:x:0:0:root:/root:/bin/bash\n", "root:x:0:\n");
        layers.push(self.texts(&[("etc/passwd", user), ("etc/group", group)])?);
        layers.push(self.text("etc/bash.bashrc", BASHRC)?);
        layers.push(self.text("tmp/.keep", "")?);
        self.image("library/ubuntu", &["latest"], &layers, &["/bin/bash"])
    }

    /// `latest` and `v1` are one image, `v2` has one layer more.
    fn tu_demo(&self, busybox: &Layer) -> Result<()> {
        let mut layers = vec![busybox.clone(), self.text("src/app.js", "first\n")?];
        self.image("nigelpoulton/tu-demo", &["latest", "v1"], &layers, &["sh"])?;
        layers.push(self.text("src/app.js", "second\n")?);
        self.image("nigelpoulton/tu-demo", &["v2"], &layers, &["sh"])
    }

    fn web_server(&self, busybox: &Layer) -> Result<()> {
        let folder = self.host.path("web");
        fs::create_dir_all(folder.join("bin"))?;
        fs::create_dir_all(folder.join("src"))?;
        fs::write(folder.join("src/index.html"), "<h1>Hello Docker learners!!!</h1>\n")?;
        fs::write(folder.join("src/app.js"), "http.createServer()\n")?;
        fs::write(folder.join("bin/node"), "#!/bin/sh\nexec httpd -f -p 8080 -h /src\n")?;
        fs::set_permissions(folder.join("bin/node"), fs::Permissions::from_mode(0o755))?;
        let layers = [busybox.clone(), self.layer(&archive(&folder)?)?];
        let command = ["/bin/sh", "-c", "cd /src && node ./app.js"];
        self.image("nigelpoulton/pluralsight-docker-ci", &["latest"], &layers, &command)
    }

    fn for_several_architectures(&self, busybox: &Layer) -> Result<()> {
        let repository = "library/busybox";
        let mut manifests = Vec::new();
        for architecture in ["amd64", "arm64", "ppc64le"] {
            let manifest = self.manifest(repository, architecture, &[busybox.clone()], &["sh"])?;
            let digest = Digest::of(&manifest).to_string();
            self.put_manifest(repository, &digest, MANIFEST, &manifest)?;
            manifests.push(json!({
                "mediaType": MANIFEST, "digest": digest, "size": manifest.len(),
                "platform": {"architecture": architecture, "os": "linux"},
            }));
        }
        let list = json!({"schemaVersion": 2, "mediaType": MANIFEST_LIST, "manifests": manifests});
        self.put_manifest(repository, "latest", MANIFEST_LIST, &serde_json::to_vec(&list)?)
    }

    /// What the dynamic linker loads for this program, and the linker.
    fn libraries(&self, program: &Path) -> Result<Vec<String>> {
        let listed = self.host.command("ldd", &[&program.display().to_string()])?;
        let words = listed.split_whitespace();
        Ok(words.filter(|word| word.starts_with('/')).map(str::to_owned).collect())
    }

    /// A layer with these files at these places.
    fn tree(&self, name: &str, files: &BTreeMap<String, PathBuf>) -> Result<Layer> {
        let folder = self.host.path(name);
        for (place, file) in files {
            let place = folder.join(place.trim_start_matches('/'));
            fs::create_dir_all(place.parent().context("a file's folder")?)?;
            fs::copy(file, &place).with_context(|| file.display().to_string())?;
        }
        self.layer(&archive(&folder)?)
    }

    /// A layer with one text.
    fn text(&self, place: &str, text: &str) -> Result<Layer> {
        self.texts(&[(place, text)])
    }

    fn texts(&self, texts: &[(&str, &str)]) -> Result<Layer> {
        let folder = self.host.path(&format!("text-{}", Digest::of(format!("{texts:?}")).hex()));
        for (place, text) in texts {
            let file = folder.join(place);
            fs::create_dir_all(file.parent().context("a file's folder")?)?;
            fs::write(file, text)?;
        }
        self.layer(&archive(&folder)?)
    }

    fn layer(&self, plain: &[u8]) -> Result<Layer> {
        let diff_id = Digest::of(plain).to_string();
        let file = self.host.path("layer.tar");
        fs::write(&file, plain)?;
        let output = Command::new("gzip").args(["-n", "-1", "-c"]).arg(&file).output()?;
        ensure!(output.status.success(), "gzip: {}", String::from_utf8_lossy(&output.stderr));
        Ok(Layer { blob: output.stdout, diff_id })
    }

    fn image(&self, repository: &str, tags: &[&str], layers: &[Layer], command: &[&str]) -> Result<()> {
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let manifest = self.manifest(repository, architecture, layers, command)?;
        tags.iter().try_for_each(|tag| self.put_manifest(repository, tag, MANIFEST, &manifest))
    }

    fn manifest(&self, repository: &str, architecture: &str, layers: &[Layer], command: &[&str]) -> Result<Vec<u8>> {
        let created = created(repository);
        let history = layers.iter().enumerate().map(|(at, _)| {
            json!({
                "created": created, "created_by": format!("/bin/sh -c #(nop) ADD file:{at} in /"),
            })
        });
        let mut history: Vec<Value> = history.collect();
        history.push(json!({
            "created": created, "empty_layer": true,
            "created_by": format!("/bin/sh -c #(nop)  CMD {}", json!(command)),
        }));
        let configuration = serde_json::to_vec(&json!({
            "architecture": architecture,
            "os": "linux",
            "created": created,
            "config": {"Cmd": command, "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>()},
            "history": history,
        }))?;
        let config = self.put_blob(repository, CONFIGURATION, &configuration)?;
        let blobs = layers.iter().map(|layer| self.put_blob(repository, LAYER, &layer.blob));
        let blobs = blobs.collect::<Result<Vec<Value>>>()?;
        Ok(serde_json::to_vec(&json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": blobs,
        }))?)
    }

    /// Uploads in one piece; the descriptor.
    fn put_blob(&self, repository: &str, media_type: &str, bytes: &[u8]) -> Result<Value> {
        let digest = Digest::of(bytes).to_string();
        let opened = self.request("POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"")?;
        let place = opened.lines().find_map(|line| line.strip_prefix("Location: ")).context("an upload's place")?;
        let path = place.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..])).unwrap_or(place);
        let done = self.request("PUT", &format!("{path}&digest={digest}"), "application/octet-stream", bytes)?;
        ensure!(done.starts_with("HTTP/1.1 201"), "{done}");
        Ok(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
    }

    fn put_manifest(&self, repository: &str, reference: &str, media_type: &str, manifest: &[u8]) -> Result<()> {
        let done = self.request("PUT", &format!("/v2/{repository}/manifests/{reference}"), media_type, manifest)?;
        ensure!(done.starts_with("HTTP/1.1 201"), "{done}");
        Ok(())
    }

    fn request(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> Result<String> {
        let mut stream = TcpStream::connect(&self.registry.address)?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            self.registry.address,
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).replace('\r', ""))
    }
}

/// Lists of images have the newest first: Ubuntu's, as in the book.
fn created(repository: &str) -> &'static str {
    if repository == "library/ubuntu" { "2024-05-02T03:04:05Z" } else { "2024-01-02T03:04:05Z" }
}

fn archive(folder: &Path) -> Result<Vec<u8>> {
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(folder).args(["--owner=0", "--group=0", "--sort=name", "--mtime=@1700000000", "-c", "."]);
    let output = tar.output()?;
    ensure!(output.status.success(), "tar: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

fn which(program: &str) -> Result<PathBuf> {
    let found =
        ["/bin", "/usr/bin"].into_iter().map(|folder| Path::new(folder).join(program)).find(|path| path.exists());
    found.with_context(|| format!("this machine has no {program}"))
}
