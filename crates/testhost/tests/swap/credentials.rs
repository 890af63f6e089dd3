//! A login by our `docker`, kept by our own credential helper, found by other people's clients; and theirs by ours.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testhost::{Docker, Host, PASSWORD, Ran, Running, USER};

use crate::CLIENT_28;
use crate::by_python::PYTHON;

/// A home folder whose configuration all clients read, and a PATH with our programs.
struct Home<'h> {
    host: &'h Host,
    path: String,
}

impl Home<'_> {
    fn command(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(words).env("PATH", &self.path).env("HOME", self.host.path(""));
        command.env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME").env_remove("XDG_RUNTIME_DIR");
        command
    }

    fn try_run(&self, program: &str, words: &[&str], input: &str) -> Result<Ran> {
        let mut running = Running::start(self.command(program, words))?;
        running.write_and_close(input.as_bytes())?;
        running.wait()
    }

    fn run(&self, program: &str, words: &[&str]) -> Result<String> {
        let ran = self.try_run(program, words, "")?;
        ensure!(ran.code == 0, "{program} {}: exit {}\n{}{}", words.join(" "), ran.code, ran.stdout, ran.stderr);
        Ok(ran.stdout.trim_end().to_owned())
    }

    /// A docker client that reads this home's configuration.
    fn try_docker(&self, docker: &Docker, words: &[&str], input: &str) -> Result<Ran> {
        let words = [&["--host", &docker.host][..], words].concat();
        self.try_run(&docker.program.display().to_string(), &words, input)
    }

    fn docker(&self, docker: &Docker, words: &[&str], input: &str) -> Result<Ran> {
        let ran = self.try_docker(docker, words, input)?;
        ensure!(ran.code == 0, "{} {words:?}: {ran:?}", docker.program.display());
        Ok(ran)
    }
}

pub fn logins_are_found_by_all(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let registry = host.closed_registry()?;
    let path = format!("{}:{}", host.programs().display(), std::env::var("PATH")?);
    let home = Home { host, path };
    let ours = engine.docker.clone();
    let of_docker = Docker { program: CLIENT_28.into(), ..ours.clone() };
    let image = registry.image("box:1");
    engine.import_busybox(&image)?;
    let refused = home.try_docker(&ours, &["push", &image], "")?;
    ensure!(refused.stderr.contains("no basic auth credentials"), "{refused:?}");

    let login = ["login", "-u", USER, "--password-stdin", &registry.address];
    let wrong = home.try_docker(&ours, &login, "guessed")?;
    ensure!(wrong.code == 1 && !host.path(".docker/config.json").exists(), "{wrong:?}");
    let told = home.docker(&ours, &login, PASSWORD)?;
    ensure!(told.stdout == "Login Succeeded\n" && told.stderr.is_empty(), "{told:?}");
    let config = fs::read_to_string(host.path(".docker/config.json"))?;
    let written: Value = serde_json::from_str(&config)?;
    ensure!(written["credHelpers"] == json!({ &registry.address: "longshore" }), "{config}");
    ensure!(written["credsStore"] == "longshore" && written["auths"] == json!({ &registry.address: {} }), "{config}");
    let sealed = fs::read(host.path(".local/share/longshore/credentials"))?;
    ensure!(!sealed.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes()));

    home.docker(&ours, &["push", "-q", &image], "")?;
    for docker in [&ours, &of_docker] {
        engine.docker.run(&["rmi", &image])?;
        home.docker(docker, &["pull", "-q", &image], "")?;
    }
    let location = format!("docker://{image}");
    home.run("skopeo", &["inspect", "--tls-verify=false", &location])?;
    let file = host.path(".docker/config.json").display().to_string();
    ensure!(home.run("podman", &["login", "--get-login", "--authfile", &file, &registry.address])? == USER);
    host.cover("/run/containers")?;
    host.cover("/var/lib/containers")?;
    let storage = ["--root", &host.path("pod").display().to_string(), "--storage-driver", "vfs"].map(str::to_owned);
    let mut pull: Vec<&str> = storage.iter().map(String::as_str).collect();
    let runroot = host.path("pod-run").display().to_string();
    pull.extend(["--runroot", &runroot, "pull", "--quiet", "--tls-verify=false", &image]);
    home.run("podman", &pull)?;
    let script = format!(
        "import docker\nclient = docker.DockerClient('{}')\nfor line in client.api.push('{image}', stream=True, decode=True):\n    assert 'error' not in line, line\n",
        ours.host
    );
    home.run(PYTHON, &["-c", &script])?;

    // What Docker's client stores, ours finds; and a logout is one for all.
    home.docker(&of_docker, &["logout", &registry.address], "")?;
    let refused = home.try_docker(&ours, &["push", "-q", &image], "")?;
    ensure!(refused.code == 1 && refused.stderr.contains("no basic auth credentials"), "{refused:?}");
    home.docker(&of_docker, &login, PASSWORD)?;
    home.docker(&ours, &["push", "-q", &image], "")?;
    home.docker(&ours, &["logout", &registry.address], "")?;
    ensure!(home.try_run("skopeo", &["inspect", "--tls-verify=false", &location], "")?.code != 0);
    ensure!(home.run("docker-credential-longshore", &["list"])? == "{}");
    Ok(())
}

/// Who has credentials in the file already keeps them there.
pub fn files_stay_files(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let registry = host.closed_registry()?;
    let path = format!("{}:{}", host.programs().display(), std::env::var("PATH")?);
    let home = Home { host, path };
    fs::create_dir(host.path(".docker"))?;
    fs::write(host.path(".docker/config.json"), r#"{"auths": {"elsewhere.example": {"auth": "dTpw"}}}"#)?;
    let login = ["login", "-u", USER, "--password-stdin", &registry.address];
    let told = home.docker(&engine.docker, &login, PASSWORD)?;
    ensure!(told.stderr.contains("Your credentials are stored unencrypted in"), "{told:?}");
    let config = fs::read_to_string(host.path(".docker/config.json"))?;
    let written: Value = serde_json::from_str(&config)?;
    ensure!(written.get("credsStore").is_none(), "{config}");
    ensure!(
        written["auths"][&registry.address]["auth"].is_string()
            && written["auths"]["elsewhere.example"]["auth"] == "dTpw"
    );
    Ok(())
}
