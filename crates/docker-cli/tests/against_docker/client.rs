//! Runs one command line by one of the two clients.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

use crate::case::Case;
use crate::daemon::Daemon;
use crate::outcome::{self, Outcome};
use crate::terminal;
use crate::{AS_CLIENT, DOCKER, DOCKER_VERSION};

/// Files that the lines name.
const FILES: &[(&str, &str)] = &[
    ("env", "A=1\n# comment\n\n  B= two words \nFROM_OUTSIDE\nNOT_SET_ANYWHERE\nQ=\"x\"\n"),
    ("env-wrong", "GOOD=1\nbad name=2\n"),
    ("env-nameless", "=x\n"),
    ("env-bom", "\u{feff}A=1\r\nB=2\r\n"),
    ("labels", "com.example.a=1\n#no\ncom.example.b\n"),
    ("seccomp.json", "{\n  \"defaultAction\": \"SCMP_ACT_ALLOW\",\n  \"z\": [1.50, \"a<b\"]\n}\n"),
    ("seccomp.broken", "{"),
    ("here/file", "content\n"),
    ("here/sub/other", "more\n"),
    ("config/config.json", "{}"),
    (
        "config/contexts/meta/3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3/meta.json",
        r#"{"Name":"two","Metadata":{"Description":"two words"},"Endpoints":{"docker":{"Host":"tcp://127.0.0.1:1","SkipTLSVerify":false}}}"#,
    ),
    (
        "config/contexts/tls/3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3/docker/ca.pem",
        "not really a certificate",
    ),
    ("archive.tar", "not really an archive"),
    ("taken.cid", "x"),
];

/// Two processes in one folder would see each other's files.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Why there is no comparison; nothing when there can be.
pub fn missing() -> Option<String> {
    let version = Command::new(DOCKER).arg("--version").output().ok();
    let text = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    match text {
        None => Some("there is no docker on the PATH".to_owned()),
        Some(text) if !text.starts_with(DOCKER_VERSION) => Some(format!("docker is another one: {}", text.trim())),
        Some(_) => None,
    }
}

pub fn run_ours(case: &Case) -> Outcome {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(AS_CLIENT, "1");
    run(case, command)
}

pub fn run_theirs(case: &Case) -> Outcome {
    run(case, Command::new(DOCKER))
}

fn run(case: &Case, mut command: Command) -> Outcome {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let root = folder();
    let work = root.join("work");
    for (name, content) in FILES {
        let path = work.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    std::os::unix::fs::symlink("file", work.join("here/link")).unwrap();
    let before = outcome::files(&work);
    let socket = root.join("docker.sock");
    let daemon = Daemon::start(&socket, case.answers);
    command
        .args(case.words())
        .current_dir(&work)
        .env("HOME", &work)
        .env("DOCKER_CONFIG", work.join("config"))
        .env("DOCKER_HOST", format!("unix://{}", socket.display()))
        .env("FROM_OUTSIDE", "outer")
        .env("TZ", "UTC")
        .env("DOCKER_CLI_HINTS", "0");
    let output = match case.terminal {
        Some(typed) => terminal::run(&command, typed),
        None => with_pipes(command, case.stdin),
    };
    let requests = daemon.stop();
    let after = outcome::files(&work);
    fs::remove_dir_all(&root).unwrap();
    Outcome::new(&output, &requests, &before, &after)
}

fn with_pipes(mut command: Command, stdin: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A client that reads nothing may be gone already.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

/// What the folder of this process is called.
pub fn name() -> String {
    format!("docker-cli-{:07}", std::process::id())
}

/// The same for both clients and every line; empty again.
fn folder() -> PathBuf {
    // In a short place, since a socket's path has at most 108 bytes, and of one length, since tables show it.
    let root = std::env::temp_dir().join(name());
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(&root).unwrap();
    root
}
