//! Every image command of Docker's client 28 on our dockerd, and the same command lines of our `docker` on Debian's Docker.

use std::fs;
use std::net::TcpStream;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testhost::{Docker, Host, Ran, Registry, busybox_archive, wait_until};

use crate::CLIENT_28;
use crate::dockerd::Dockerd;

const SITE: &str = "127.0.0.1:8097";

/// What an engine knows of platforms of images: Debian's is from before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knows {
    Platforms,
    NoPlatforms,
}

pub fn docker_28_on_ours(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let docker = Docker { program: CLIENT_28.into(), ..engine.docker.clone() };
    Session::new(host, docker, Knows::Platforms)?.play()
}

pub fn ours_on_debian(host: &Host) -> Result<()> {
    let dockerd = Dockerd::start(host, &[])?;
    let docker = Docker { program: host.programs().join("docker"), ..dockerd.docker.clone() };
    Session::new(host, docker, Knows::NoPlatforms)?.play()
}

struct Session<'h> {
    host: &'h Host,
    docker: Docker,
    registry: Registry,
    knows: Knows,
}

impl<'h> Session<'h> {
    fn new(host: &'h Host, docker: Docker, knows: Knows) -> Result<Self> {
        let registry = host.registry()?;
        let folder = host.path("site");
        fs::create_dir_all(folder.join("v1"))?;
        fs::write(folder.join("root.tar"), busybox_archive(host)?)?;
        fs::write(folder.join("v1/_ping"), "{}")?;
        let hits = r#"{"num_results":2,"results":[{"name":"team/web","star_count":7,"is_official":false,"description":"serves"},{"name":"web","star_count":1,"is_official":true,"description":""}]}"#;
        fs::write(folder.join("v1/search"), hits)?;
        let mut server = Command::new("/bin/busybox");
        host.spawn("site", server.args(["httpd", "-f", "-p", SITE, "-h"]).arg(&folder))?;
        wait_until("the site", || TcpStream::connect(SITE).ok())?;
        Ok(Self { host, docker, registry, knows })
    }

    fn play(&self) -> Result<()> {
        self.imports().context("import")?;
        self.lists().context("ls")?;
        self.told().context("inspect and history")?;
        self.registries().context("push and pull")?;
        self.archives().context("save and load")?;
        self.containers().context("commit and export")?;
        self.manifests().context("manifest")?;
        self.accounts().context("login, logout and search")?;
        self.removals().context("rmi, prune and df")
    }

    fn run(&self, words: &[&str]) -> Result<String> {
        self.docker.run(words)
    }

    /// Fails with code 1 and these words.
    fn refused(&self, words: &[&str], expected: &str) -> Result<()> {
        let Ran { code, stderr, .. } = self.docker.try_run(words)?;
        ensure!(code == 1 && stderr.contains(expected), "{words:?}: {code}, {stderr}");
        Ok(())
    }

    fn file(&self, name: &str) -> String {
        self.host.path(name).display().to_string()
    }

    fn imports(&self) -> Result<()> {
        let archive = busybox_archive(self.host)?;
        fs::write(self.host.path("root.tar"), &archive)?;
        let changed = ["--change", "CMD [\"sh\"]", "-c", "LABEL kind=box", "-m", "by hand"];
        let id = self.run(&[&["import"], &changed[..], &[&self.file("root.tar"), "box:1"]].concat())?;
        ensure!(id.starts_with("sha256:") && id.len() == 71, "{id}");
        ensure!(
            self.run(&["image", "inspect", "--format", "{{.Id}} {{.Config.Cmd}} {{.Comment}}", "box:1"])?
                == format!("{id} [sh] by hand")
        );
        self.docker.run_with(&["image", "import", "-", "piped:1"], &archive)?;
        let told = self.run(&["import", &format!("http://{SITE}/root.tar"), "fetched:1"])?;
        ensure!(told.contains("sha256:"), "{told}");
        self.refused(&["import", &format!("http://{SITE}/none"), "none:1"], "404")?;
        self.refused(&["import", &self.file("none.tar")], "no such file or directory")
    }

    fn lists(&self) -> Result<()> {
        self.run(&["tag", "box:1", "box:2"])?;
        self.run(&["image", "tag", "box:1", "team/box:latest"])?;
        self.refused(&["tag", "none", "x"], "No such image: none:latest")?;
        let named = |words: &[&str]| -> Result<Vec<String>> {
            let format = ["--format", "{{.Repository}}:{{.Tag}}"];
            let listed = self.run(&[&["images"], words, &format[..]].concat())?;
            let mut lines: Vec<String> = listed.lines().map(str::to_owned).collect();
            lines.sort();
            Ok(lines)
        };
        ensure!(named(&[])? == ["box:1", "box:2", "fetched:1", "piped:1", "team/box:latest"], "{:?}", named(&[])?);
        ensure!(named(&["box"])? == ["box:1", "box:2"]);
        ensure!(named(&["--filter", "reference=team/*"])? == ["team/box:latest"]);
        ensure!(named(&["--filter", "label=kind=box"])? == ["box:1", "box:2", "team/box:latest"]);
        ensure!(named(&["--filter", "since=box:1"])?.contains(&"fetched:1".to_owned()));
        ensure!(named(&["--filter", "before=fetched:1"])?.contains(&"box:1".to_owned()));
        ensure!(named(&["--filter", "dangling=true"])?.is_empty());
        let id = self.run(&["images", "-q", "--no-trunc", "box:1"])?;
        ensure!(self.run(&["images", "-q", "box:1"])? == id[7..19]);
        let table = self.run(&["image", "ls", "-a", "--digests", "--no-trunc"])?;
        ensure!(table.starts_with("REPOSITORY") && table.contains("DIGEST") && table.contains(&id), "{table}");
        for line in self.run(&["images", "--format", "json"])?.lines() {
            let image: Value = serde_json::from_str(line)?;
            ensure!(image["Repository"].is_string() && image["Size"].is_string(), "{line}");
        }
        if self.knows == Knows::Platforms {
            let tree = self.run(&["image", "ls", "--tree"])?;
            ensure!(tree.contains("box:1") && tree.contains(&id[7..19]), "{tree}");
        }
        Ok(())
    }

    fn told(&self) -> Result<()> {
        let both: Value = serde_json::from_str(&self.run(&["image", "inspect", "box:1", "piped:1"])?)?;
        ensure!(both.as_array().map(Vec::len) == Some(2) && both[0]["RootFS"]["Layers"].is_array(), "{both}");
        ensure!(
            self.run(&["inspect", "--type", "image", "--format", "{{json .RepoTags}}", "box:1"])?
                .contains("team/box:latest")
        );
        self.refused(&["image", "inspect", "none"], "No such image: none")?;
        let history = self.run(&["history", "--no-trunc", "box:1"])?;
        ensure!(history.starts_with("IMAGE") && history.contains("by hand"), "{history}");
        ensure!(self.run(&["image", "history", "-q", "box:1"])?.lines().count() == 1);
        ensure!(self.run(&["history", "-H=false", "--format", "{{.Comment}}", "box:1"])? == "by hand");
        if self.knows == Knows::Platforms {
            let platform = self.run(&["image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", "box:1"])?;
            self.run(&["image", "inspect", "--platform", &platform, "box:1"])?;
            self.run(&["history", "--platform", &platform, "box:1"])?;
            self.refused(
                &["image", "inspect", "--platform", "linux/s390x", "box:1"],
                "does not provide the specified platform",
            )?;
        }
        Ok(())
    }

    fn registries(&self) -> Result<()> {
        let image = |name: &str| self.registry.image(name);
        for tag in ["1", "2", "3"] {
            self.run(&["tag", "box:1", &image(&format!("box:{tag}"))])?;
        }
        let pushed = self.run(&["push", &image("box:1")])?;
        let digest = pushed.split("1: digest: ").nth(1).and_then(|rest| rest.split(' ').next()).context("digest")?;
        ensure!(self.run(&["image", "push", "-a", &image("box")])?.matches("digest: ").count() == 3);
        ensure!(self.run(&["push", "-q", &image("box:2")])? == image("box:2"));
        self.refused(&["push", &image("none:1")], "An image does not exist locally with the tag")?;
        self.run(&["rmi", &image("box:1"), &image("box:2"), &image("box:3")])?;
        let by_digest = format!("{}@{digest}", image("box"));
        ensure!(self.run(&["pull", &by_digest])?.contains(&format!("Digest: {digest}")));
        self.run(&["rmi", &by_digest])?;
        ensure!(self.run(&["pull", "-q", &image("box:1")])? == image("box:1"));
        ensure!(self.run(&["pull", &image("box:1")])?.contains("Status: Image is up to date for"));
        let all = self.run(&["image", "pull", "-a", &image("box")])?;
        ensure!(
            ["1: Pulling from box", "2: Pulling from box", "3: Pulling from box"].iter().all(|line| all.contains(line)),
            "{all}"
        );
        let platform = self.run(&["image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", "box:1"])?;
        self.run(&["pull", "--platform", &platform, &image("box:2")])?;
        self.refused(&["pull", &image("none:1")], "not found")?;
        self.refused(&["pull", &image("box:none")], "manifest unknown")?;
        self.refused(&["pull", "-a", &image("box:1")], "tag can't be used with --all-tags/-a")?;
        self.refused(&["pull", "Upper"], "must be lowercase")
    }

    fn archives(&self) -> Result<()> {
        let before = self.run(&["images", "-q", "--no-trunc", "box:1"])?;
        self.run(&["save", "-o", &self.file("one.tar"), "box:1"])?;
        let piped = self.file("piped.tar");
        let mut save = self.docker.command(&["image", "save", "box:1", "piped:1"]);
        ensure!(save.stdout(fs::File::create(&piped)?).status()?.success());
        self.run(&[
            "rmi",
            "-f",
            "box:1",
            "box:2",
            "team/box",
            "piped:1",
            &self.registry.image("box:1"),
            &self.registry.image("box:2"),
            &self.registry.image("box:3"),
        ])?;
        ensure!(self.run(&["load", "-i", &self.file("one.tar")])? == "Loaded image: box:1");
        ensure!(self.run(&["images", "-q", "--no-trunc", "box:1"])? == before, "the id is another one");
        let loaded = self.docker.run_with(&["image", "load"], &fs::read(&piped)?)?;
        ensure!(loaded.contains("Loaded image: box:1") && loaded.contains("Loaded image: piped:1"), "{loaded}");
        self.run(&["load", "-q", "-i", &piped])?;
        self.refused(&["save", "none"], "No such image: none")?;
        self.refused(&["load", "-i", &self.file("none.tar")], "no such file or directory")?;
        if self.knows == Knows::Platforms {
            let platform = self.run(&["image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", "box:1"])?;
            self.run(&["save", "--platform", &platform, "-o", &self.file("platform.tar"), "box:1"])?;
            self.run(&["load", "--platform", &platform, "-i", &self.file("platform.tar")])?;
        }
        Ok(())
    }

    fn containers(&self) -> Result<()> {
        let none = ["--network", "none"];
        self.run(&[&["run", "--name", "maker"], &none[..], &["box:1", "sh", "-c", "echo made > /made"]].concat())?;
        ensure!(self.run(&["diff", "maker"])?.lines().any(|line| line == "A /made"));
        let id = self.run(&["commit", "-m", "made", "-a", "somebody", "-c", "ENV A=b", "maker", "made:1"])?;
        ensure!(
            self.run(&["inspect", "--format", "{{.Author}} {{.Comment}} {{.Config.Env}}", &id])?
                .contains("somebody made")
        );
        let read = [&["run", "--rm"], &none[..], &["made:1", "cat", "/made"]].concat();
        ensure!(self.run(&read)? == "made");
        self.run(&["export", "-o", &self.file("exported.tar"), "maker"])?;
        self.run(&["import", &self.file("exported.tar"), "exported:1"])?;
        self.refused(&["rmi", "box:1"], "(must force)")?;
        self.run(&["rm", "maker"]).map(drop)
    }

    fn manifests(&self) -> Result<()> {
        let (part, list) = (self.registry.image("box:1"), self.registry.image("list:1"));
        let created = self.run(&["manifest", "create", "--insecure", &list, &part])?;
        ensure!(created == format!("Created manifest list {list}"), "{created}");
        self.run(&["manifest", "annotate", "--os", "linux", "--arch", "arm64", "--variant", "v8", &list, &part])?;
        let shown: Value = serde_json::from_str(&self.run(&["manifest", "inspect", &list])?)?;
        ensure!(shown["manifests"][0]["platform"]["variant"] == "v8", "{shown}");
        let pushed = self.run(&["manifest", "push", "--insecure", "--purge", &list])?;
        ensure!(pushed.lines().last().is_some_and(|line| line.starts_with("sha256:")), "{pushed}");
        let remote: Value = serde_json::from_str(&self.run(&["manifest", "inspect", "--insecure", &list])?)?;
        ensure!(remote["manifests"][0]["platform"]["architecture"] == "arm64", "{remote}");
        self.run(&["manifest", "create", "--insecure", "--amend", &list, &part])?;
        self.run(&["manifest", "rm", &list])?;
        self.refused(&["manifest", "inspect", "--insecure", &self.registry.image("none:1")], "no such manifest")
    }

    fn accounts(&self) -> Result<()> {
        let login = ["login", "-u", "somebody", "--password-stdin", &self.registry.address];
        ensure!(self.docker.run_with(&login, b"anything")?.contains("Login Succeeded"));
        ensure!(self.run(&["logout", &self.registry.address])?.contains("Removing login credentials for"));
        let found = self.run(&["search", "--format", "{{.Name}} {{.StarCount}}", &format!("{SITE}/web")])?;
        ensure!(found.lines().any(|line| line == "team/web 7"), "{found}");
        let table =
            self.run(&["search", "--limit", "5", "--no-trunc", "--filter", "stars=3", &format!("{SITE}/web")])?;
        ensure!(table.starts_with("NAME") && table.lines().count() == 2, "{table}");
        self.refused(&["search", &format!("{}/web", self.registry.address)], "404")
    }

    fn removals(&self) -> Result<()> {
        for line in ["TYPE", "Images", "Build Cache"] {
            ensure!(self.run(&["system", "df"])?.contains(line), "{line}");
        }
        ensure!(self.run(&["system", "df", "-v"])?.contains("Images space usage:"));
        // An image whose name is taken by another one.
        self.run(&["tag", "piped:1", "exported:1"])?;
        let nameless = self.run(&["images", "-q", "--filter", "dangling=true"])?;
        ensure!(nameless.lines().count() == 1, "{nameless}");
        let pruned = self.run(&["image", "prune", "-f"])?;
        ensure!(pruned.contains("Deleted Images:") && pruned.contains("Total reclaimed space:"), "{pruned}");
        ensure!(self.run(&["images", "-q", "--filter", "dangling=true"])?.is_empty());
        let removed = self.run(&["rmi", "made:1"])?;
        ensure!(removed.contains("Untagged: made:1") && removed.contains("Deleted: sha256:"), "{removed}");
        self.run(&["rmi", "--no-prune", "exported:1"])?;
        self.refused(&["rmi", "none"], "No such image: none")?;
        self.run(&["image", "rm", "-f", "fetched:1"])?;
        self.run(&["image", "prune", "-a", "-f", "--filter", "label=kind=none"])?;
        ensure!(!self.run(&["images", "-q"])?.is_empty());
        self.run(&["system", "prune", "-a", "-f"])?;
        ensure!(self.run(&["images", "-aq"])?.is_empty(), "{}", self.run(&["images", "-a"])?);
        Ok(())
    }
}
