//! The program as it is typed, against a daemon whose answers are written down.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Answers by `METHOD path`, without version and query; 404 for the rest. Remembers what was asked.
struct Daemon {
    folder: TempDir,
    seen: Arc<Mutex<Vec<String>>>,
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

fn ok(body: impl Into<Vec<u8>>) -> Answer {
    Answer { status: 200, body: body.into() }
}

impl Daemon {
    fn start(answers: Vec<(&'static str, Answer)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("d.sock")).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answers: Arc<HashMap<&str, Answer>> = Arc::new(answers.into_iter().collect());
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, answers) = (Arc::clone(&log), Arc::clone(&answers));
                std::thread::spawn(move || serve(stream.unwrap(), &log, &answers));
            }
        });
        Self { folder, seen }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("d.sock")
    }

    fn docker(&self, words: &[&str]) -> Output {
        self.docker_with_input(words, "")
    }

    fn docker_with_input(&self, words: &[&str], input: &str) -> Output {
        self.docker_at(&format!("unix://{}", self.socket().display()), words, input)
    }

    /// The program with this DOCKER_HOST, and with the programs of the folder `bin` before all others.
    fn docker_at(&self, host: &str, words: &[&str], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_docker"))
            .args(words)
            .env_clear()
            .env("TZ", "UTC")
            .env("HOME", self.folder.path())
            .env("PATH", format!("{}:/usr/bin:/bin", self.folder.path().join("bin").display()))
            .env("DOCKER_HOST", host)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads nothing may have ended.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// A program of the test's own, below the home folder.
    fn put_program(&self, path: &str, script: &str) -> PathBuf {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(path)).unwrap()
    }

    fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(stream: UnixStream, log: &Mutex<Vec<String>>, answers: &HashMap<&str, Answer>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).ok()? == 0 {
            return None;
        }
        let mut words = first.split_whitespace();
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let (mut length, mut upgrade) = (0, false);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let line = line.trim_end().to_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().ok()?;
            }
            upgrade |= line == "upgrade: tcp";
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let bare = target.strip_prefix("/v1.51").unwrap_or(&target);
        let entry = format!("{method} {bare} {}", String::from_utf8_lossy(&body));
        log.lock().unwrap().push(entry.trim_end().to_owned());
        let path = bare.split('?').next().unwrap_or_default();
        if path == "/_ping" {
            stream.write_all(b"HTTP/1.1 200 OK\r\nApi-Version: 1.51\r\nContent-Length: 0\r\n\r\n").ok()?;
            continue;
        }
        let missing = Answer { status: 404, body: br#"{"message":"no such thing"}"#.to_vec() };
        let answer = answers.get(format!("{method} {path}").as_str()).unwrap_or(&missing);
        if upgrade {
            let head = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
            stream.write_all(head.as_bytes()).ok()?;
            // What is typed comes back as output, behind what was written down.
            stream.write_all(&answer.body).ok()?;
            if path.contains("attach") && bare.contains("stdin=1") {
                let mut typed = String::new();
                reader.read_to_string(&mut typed).ok()?;
                stream.write_all(&frame(1, &typed)).ok()?;
            }
            return None;
        }
        let head = format!("HTTP/1.1 {} X\r\nContent-Length: {}\r\n\r\n", answer.status, answer.body.len());
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(&answer.body).ok()?;
    }
}

fn frame(kind: u8, text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&[kind, 0, 0, 0], &length[..], text.as_bytes()].concat()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn created() -> (&'static str, Answer) {
    ("POST /containers/create", Answer { status: 201, body: format!(r#"{{"Id":"{ID}","Warnings":[]}}"#).into_bytes() })
}

/// Paths of the one container, which must live as long as the program.
fn path(suffix: &str) -> &'static str {
    Box::leak(format!("POST /containers/{ID}/{suffix}").into_boxed_str())
}

#[test]
fn run_shows_both_streams_and_ends_with_the_containers_status() {
    let output = [frame(1, "out\n"), frame(2, "err\n")].concat();
    let daemon = Daemon::start(vec![
        created(),
        (path("attach"), ok(output)),
        (path("wait"), ok(r#"{"StatusCode":7}"#)),
        (path("start"), Answer { status: 204, body: Vec::new() }),
    ]);
    let result = daemon.docker(&["run", "--rm", "busybox", "sh", "-c", "x"]);
    assert_eq!(result.status.code(), Some(7));
    assert_eq!((text(&result.stdout), text(&result.stderr)), ("out\n".into(), "err\n".into()));
    let paths: Vec<String> =
        daemon.requests().iter().map(|line| line.split(['?', ' ']).nth(1).unwrap().to_owned()).collect();
    let expected = ["/containers/create", "attach", "wait", "start"];
    assert_eq!(paths.len(), expected.len());
    assert!(paths.iter().zip(expected).all(|(path, end)| path.ends_with(end)), "{paths:?}");
    assert!(daemon.requests()[2].contains("wait?condition=removed"));
}

#[test]
fn standard_input_reaches_the_container_and_its_end_too() {
    let daemon = Daemon::start(vec![
        created(),
        (path("attach"), ok("")),
        (path("wait"), ok(r#"{"StatusCode":0}"#)),
        (path("start"), Answer { status: 204, body: Vec::new() }),
    ]);
    let result = daemon.docker_with_input(&["run", "-i", "busybox", "cat"], "through and back");
    assert_eq!((result.status.code(), text(&result.stdout)), (Some(0), "through and back".into()));
}

#[test]
fn a_missing_image_is_pulled_and_a_refused_pull_is_125() {
    let progress = "{\"status\":\"Pulling from library/x\",\"id\":\"latest\"}\n{\"errorDetail\":{\"message\":\"manifest unknown\"},\"error\":\"manifest unknown\"}\n";
    let daemon = Daemon::start(vec![("POST /images/create", ok(progress))]);
    let result = daemon.docker(&["run", "x"]);
    assert_eq!(result.status.code(), Some(125));
    assert_eq!(
        text(&result.stderr),
        "Unable to find image 'x:latest' locally\nlatest: Pulling from library/x\ndocker: manifest unknown\n\nRun 'docker run --help' for more information\n"
    );
    assert!(daemon.requests().contains(&"POST /images/create?fromImage=docker.io%2Flibrary%2Fx&tag=latest".to_owned()));
}

#[test]
fn a_command_that_is_not_there_is_127() {
    let refusal = r#"{"message":"exec: \"nope\": executable file not found in $PATH: unknown"}"#;
    let daemon = Daemon::start(vec![
        created(),
        (path("attach"), ok("")),
        (path("wait"), ok(r#"{"StatusCode":127}"#)),
        (path("start"), Answer { status: 400, body: refusal.into() }),
    ]);
    let result = daemon.docker(&["run", "busybox", "nope"]);
    assert_eq!(result.status.code(), Some(127));
    assert!(
        text(&result.stderr)
            .starts_with("docker: Error response from daemon: exec: \"nope\": executable file not found")
    );
}

#[test]
fn the_request_to_create_is_whole() {
    let daemon = Daemon::start(vec![created()]);
    let result =
        daemon.docker(&["create", "-m", "1g", "-p", "8080:80", "--cap-drop", "net_raw", "busybox", "echo", "-n"]);
    assert_eq!(text(&result.stdout), format!("{ID}\n"));
    let requests = daemon.requests();
    let body = requests[0].strip_prefix("POST /containers/create ").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["Cmd"], serde_json::json!(["echo", "-n"]));
    assert_eq!(body["HostConfig"]["Memory"], 1_073_741_824_i64);
    assert_eq!(body["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"], "8080");
    assert_eq!(body["HostConfig"]["CapDrop"], serde_json::json!(["CAP_NET_RAW"]));
    assert_eq!(body["HostConfig"]["Dns"], serde_json::json!([]));
    assert_eq!(body["HostConfig"]["Binds"], serde_json::Value::Null);
    assert!(body["NetworkingConfig"]["EndpointsConfig"]["default"].is_object());
}

#[test]
fn lists_are_tables() {
    let list = format!(
        r#"[{{"Id":"{ID}","Names":["/web","/db/web"],"Image":"nginx","Command":"nginx -g daemon off; and more","Created":0,"Ports":[{{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}}],"State":"running","Status":"Up 2 hours"}}]"#
    );
    let daemon = Daemon::start(vec![("GET /containers/json", ok(list))]);
    let result = daemon.docker(&["ps", "--format", "table {{.ID}}\\t{{.Command}}\\t{{.Ports}}\\t{{.Names}}"]);
    assert_eq!(
        text(&result.stdout),
        "CONTAINER ID   COMMAND                  PORTS                  NAMES\n0123456789ab   \"nginx -g daemon off…\"   0.0.0.0:8080->80/tcp   web\n"
    );
}

#[test]
fn inspect_keeps_the_daemons_bytes_and_says_what_is_missing() {
    let daemon = Daemon::start(vec![
        ("GET /containers/a/json", ok(r#"{"Id":"a","X":"\u003c","N":1.50,"E":[]}"#)),
        ("GET /info", ok("{}")),
    ]);
    let result = daemon.docker(&["inspect", "a", "b"]);
    assert_eq!(
        text(&result.stdout),
        "[\n    {\n        \"Id\": \"a\",\n        \"X\": \"\\u003c\",\n        \"N\": 1.50,\n        \"E\": []\n    }\n]\n"
    );
    assert_eq!(text(&result.stderr), "Error: No such object: b\n");
    assert_eq!(result.status.code(), Some(1));
}

#[test]
fn the_terminal_that_is_asked_for_must_be_there() {
    let daemon = Daemon::start(vec![]);
    let result = daemon.docker(&["run", "-it", "busybox"]);
    assert_eq!((result.status.code(), text(&result.stderr)), (Some(1), "the input device is not a TTY\n".into()));
    assert!(daemon.requests().is_empty());
}

#[test]
fn an_ssh_host_is_reached_through_dial_stdio_there() {
    let daemon = Daemon::start(vec![("GET /containers/json", ok("[]")), created()]);
    let program = env!("CARGO_BIN_EXE_docker");
    let socket = daemon.socket();
    let script = format!(
        "echo \"$*\" >> {}\nexec {program} -H unix://{} system dial-stdio",
        daemon.folder.path().join("asked").display(),
        socket.display()
    );
    daemon.put_program("bin/ssh", &script);
    let result = daemon.docker_at("ssh://me@there:2222", &["ps", "-q"], "");
    assert_eq!((result.status.code(), text(&result.stderr)), (Some(0), String::new()));
    assert_eq!(daemon.read("asked"), "-o ConnectTimeout=30 -T -l me -p 2222 -- there docker system dial-stdio\n");
    let output = [frame(1, "out\n")].concat();
    let attached = Daemon::start(vec![
        created(),
        (path("attach"), ok(output)),
        (path("wait"), ok(r#"{"StatusCode":3}"#)),
        (path("start"), Answer { status: 204, body: Vec::new() }),
    ]);
    let script = format!("exec {program} -H unix://{} system dial-stdio", attached.socket().display());
    attached.put_program("bin/ssh", &script);
    let result = attached.docker_at("ssh://there", &["run", "-i", "busybox", "cat"], "typed");
    assert_eq!((result.status.code(), text(&result.stdout)), (Some(3), "out\ntyped".into()));
}

#[test]
fn what_ssh_says_of_its_failure_is_told() {
    let daemon = Daemon::start(vec![]);
    daemon.put_program("bin/ssh", "echo 'no route' >&2; exit 255");
    let result = daemon.docker_at("ssh://there", &["ps"], "");
    assert_eq!(result.status.code(), Some(1));
    assert_eq!(
        text(&result.stderr),
        "error during connect: Get \"http://docker.example.com/v1.51/containers/json\": command [ssh -o ConnectTimeout=30 -T -- there docker system dial-stdio] has exited with exit status 255, make sure the URL is valid, and Docker 18.09 or later is installed on the remote host: stderr=no route\n\n"
    );
}

#[test]
fn a_plugin_is_a_command() {
    let daemon = Daemon::start(vec![]);
    daemon.put_program(
        ".docker/cli-plugins/docker-hello",
        r#"if [ "$1" = docker-cli-plugin-metadata ]; then
  echo '{"SchemaVersion":"0.1.0","Vendor":"Acme","Version":"v1.2","ShortDescription":"Says hello"}'; exit
fi
echo "args: $*"; basename "$DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"; exit 5"#,
    );
    daemon.put_program(".docker/cli-plugins/docker-broken", "exit 3");
    let result = daemon.docker(&["-D", "hello", "a", "--flag"]);
    assert_eq!((result.status.code(), text(&result.stdout)), (Some(5), "args: -D hello a --flag\ndocker\n".into()));
    assert_eq!(text(&daemon.docker(&["help", "hello"]).stdout), "args: help hello\ndocker\n");
    assert_eq!(text(&daemon.docker(&["__complete", "hello", "x"]).stdout), "args: __complete hello x\ndocker\n");
    let page = text(&daemon.docker(&["--help"]).stdout);
    assert!(page.contains("\n  hello*      Says hello\n"), "{page}");
    assert!(page.contains("\nInvalid Plugins:\n  broken      failed to fetch metadata: exit status 3\n"), "{page}");
    let result = daemon.docker(&["broken"]);
    assert_eq!(result.status.code(), Some(1));
    assert!(text(&result.stderr).starts_with("docker: unknown command: docker broken\n"));
}

#[test]
fn a_program_keeps_the_credentials_when_the_configuration_says_so() {
    let daemon = Daemon::start(vec![("POST /auth", ok(r#"{"Status":"Login Succeeded","IdentityToken":""}"#))]);
    daemon.put_program(
        "bin/docker-credential-test",
        r#"input=$(cat); echo "$1 $input" >> "$HOME/kept"
case "$1 $input" in
  "get r.example") echo '{"ServerURL":"r.example","Username":"kept","Secret":"secret"}';;
  get*) echo "credentials not found in native keychain"; exit 1;;
esac"#,
    );
    std::fs::create_dir_all(daemon.folder.path().join(".docker")).unwrap();
    std::fs::write(daemon.folder.path().join(".docker/config.json"), r#"{"credsStore":"test"}"#).unwrap();
    let result = daemon.docker_with_input(&["login", "-u", "me", "--password-stdin", "s.example"], "pw\n");
    assert_eq!((text(&result.stdout), text(&result.stderr)), ("Login Succeeded\n".into(), String::new()));
    let result = daemon.docker(&["login", "r.example"]);
    assert_eq!(text(&result.stdout), "Login Succeeded\n");
    assert!(text(&result.stderr).starts_with("Authenticating with existing credentials... [Username: kept]\n"));
    let asked = daemon.requests();
    assert_eq!(asked[0], r#"POST /auth {"username":"me","password":"pw","serveraddress":"s.example"}"#);
    assert!(asked.iter().any(|line| line.contains(r#""username":"kept","password":"secret""#)), "{asked:?}");
    daemon.docker(&["logout", "s.example"]);
    assert_eq!(
        daemon.read("kept"),
        "store {\"ServerURL\":\"s.example\",\"Username\":\"me\",\"Secret\":\"pw\"}\nget r.example\nstore {\"ServerURL\":\"r.example\",\"Username\":\"kept\",\"Secret\":\"secret\"}\nerase s.example\nerase http://s.example\nerase https://s.example\n"
    );
    assert!(!daemon.read(".docker/config.json").contains("pw"));
}
