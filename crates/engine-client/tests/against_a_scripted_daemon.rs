//! The client against a daemon that answers byte for byte what a test writes down.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::JoinHandle;

use engine_api::ApiVersion;
use engine_client::{Client, Error, Host, Request, VersionChoice};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PING: &str = "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nOstype: linux\r\nContent-Length: 0\r\n\r\n";

/// Listens on a socket of its own and runs one script on one connection; the script answers what it has read.
struct Daemon {
    _folder: TempDir,
    path: PathBuf,
    script: JoinHandle<Vec<String>>,
}

impl Daemon {
    fn start(script: impl FnOnce(&UnixListener) -> Vec<String> + Send + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let script = std::thread::spawn(move || script(&listener));
        Self { _folder: folder, path, script }
    }

    fn client(&self, choice: VersionChoice) -> Client {
        Client::new(Host::Unix(self.path.clone()), choice, "test")
    }
}

fn pinned() -> VersionChoice {
    VersionChoice::Pinned(ApiVersion::MAX)
}

fn read_head(stream: &mut UnixStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn first_line(head: &str) -> String {
    head.lines().next().unwrap_or_default().to_owned()
}

/// One connection, one request after the other.
fn answer(answers: &[&str]) -> Daemon {
    let answers: Vec<String> = answers.iter().map(|text| (*text).to_owned()).collect();
    Daemon::start(move |listener| {
        let (mut stream, _) = listener.accept().unwrap();
        let mut seen = Vec::new();
        for text in answers {
            seen.push(first_line(&read_head(&mut stream)));
            stream.write_all(text.as_bytes()).unwrap();
        }
        seen
    })
}

#[tokio::test]
async fn a_daemon_as_new_as_we_are_is_not_asked_for_its_version() {
    let told = "HTTP/1.1 200 OK\r\nApi-Version: 1.60\r\nContent-Length: 2\r\n\r\n[]";
    let daemon = answer(&[told, told]);
    let client = daemon.client(VersionChoice::Negotiate);
    for _ in 0..2 {
        let list: Vec<String> = client.call(Request::get("/images/json").with("all", "1")).await.unwrap();
        assert!(list.is_empty());
    }
    assert_eq!(client.version().await.unwrap(), ApiVersion::MAX);
    drop(client);
    let path = format!("/v{}/images/json?all=1 HTTP/1.1", ApiVersion::MAX);
    assert_eq!(daemon.script.join().unwrap(), [format!("GET {path}"), format!("GET {path}")]);
}

#[tokio::test]
async fn an_older_daemon_is_asked_once_and_gets_the_request_again() {
    for words in [
        "client version 1.51 is too new. Maximum supported API version is 1.41",
        "client is newer than server (client API version: 1.51, server API version: 1.22)",
    ] {
        let refusal = format!("{{\"message\":\"{words}\"}}");
        let refusal = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n{refusal}", refusal.len());
        let done = "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";
        let daemon = answer(&[&refusal, PING, done, done]);
        let client = daemon.client(VersionChoice::Negotiate);
        for _ in 0..2 {
            client.send(Request::post("/containers/a/start")).await.unwrap();
        }
        drop(client);
        let first = format!("POST /v{}/containers/a/start HTTP/1.1", ApiVersion::MAX);
        let agreed = "POST /v1.41/containers/a/start HTTP/1.1";
        assert_eq!(daemon.script.join().unwrap(), [&first, "HEAD /_ping HTTP/1.1", agreed, agreed]);
    }
}

#[tokio::test]
async fn what_cannot_be_sent_again_waits_for_the_version() {
    let daemon = answer(&[PING, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]);
    let client = daemon.client(VersionChoice::Negotiate);
    client.header(Request::head("/containers/a/archive"), "x").await.unwrap();
    drop(client);
    let seen = daemon.script.join().unwrap();
    assert_eq!(seen, ["HEAD /_ping HTTP/1.1", "HEAD /v1.41/containers/a/archive HTTP/1.1"]);
}

#[tokio::test]
async fn a_refusal_has_the_daemons_words() {
    let daemon =
        answer(&["HTTP/1.1 404 Not Found\r\nContent-Length: 36\r\n\r\n{\"message\":\"No such container: abc\"}"]);
    let error = daemon.client(pinned()).send(Request::post("/containers/abc/start")).await.unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(error.to_string(), "Error response from daemon: No such container: abc");
}

#[tokio::test]
async fn a_refusal_without_json_is_shown_as_it_came() {
    let daemon = answer(&["HTTP/1.1 502 Bad Gateway\r\nContent-Length: 9\r\n\r\nupstream\n"]);
    let error = daemon.client(pinned()).bytes(Request::get("/info")).await.unwrap_err();
    assert!(matches!(&error, Error::Daemon { status: 502, message } if message == "upstream"));
}

#[tokio::test]
async fn nobody_listening_is_said_in_dockers_words() {
    let client = Client::new(Host::parse("unix:///nonexistent/d.sock").unwrap(), VersionChoice::Negotiate, "test");
    let error = client.bytes(Request::get("/info")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Cannot connect to the Docker daemon at unix:///nonexistent/d.sock. Is the docker daemon running?"
    );
}

#[tokio::test]
async fn json_lines_come_apart_whatever_the_chunks() {
    let daemon = answer(&[
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"a\":1}\r\n4\r\n\r\n{\"\r\n5\r\nb\":2}\r\n0\r\n\r\n",
    ]);
    let mut lines = daemon.client(pinned()).stream(Request::get("/events")).await.unwrap().lines();
    let mut seen = Vec::new();
    while let Some(value) = lines.next::<serde_json::Value>().await.unwrap() {
        seen.push(value.to_string());
    }
    assert_eq!(seen, [r#"{"a":1}"#, r#"{"b":2}"#]);
}

#[tokio::test]
async fn a_line_that_is_no_json_is_an_error() {
    let daemon = answer(&["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\noops"]);
    let mut lines = daemon.client(pinned()).stream(Request::get("/events")).await.unwrap().lines();
    assert!(matches!(lines.next::<serde_json::Value>().await, Err(Error::Decode(_))));
}

#[tokio::test]
async fn a_hijacked_stream_keeps_early_bytes_and_its_ends_close_apart() {
    let daemon = Daemon::start(|listener| {
        let (mut stream, _) = listener.accept().unwrap();
        let head = read_head(&mut stream);
        stream
            .write_all(
                b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly",
            )
            .unwrap();
        // The client's half close is the end of what is read here; the other direction still works.
        let mut input = String::new();
        stream.read_to_string(&mut input).unwrap();
        stream.write_all(b" late").unwrap();
        vec![head.to_lowercase(), input]
    });
    let duplex = daemon.client(pinned()).hijack(Request::post("/containers/x/attach")).await.unwrap();
    assert!(duplex.says_multiplexed());
    let (mut read, mut write) = duplex.split();
    write.write_all(b"typed").await.unwrap();
    write.shutdown().await.unwrap();
    let mut output = String::new();
    read.read_to_string(&mut output).await.unwrap();
    assert_eq!(output, "early late");
    let seen = daemon.script.join().unwrap();
    assert!(seen[0].contains("upgrade: tcp") && seen[0].contains("connection: upgrade"));
    assert_eq!(seen[1], "typed");
}

#[tokio::test]
async fn a_daemon_that_does_not_upgrade_is_told_so() {
    let daemon = answer(&["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]);
    let error = daemon.client(pinned()).hijack(Request::post("/exec/x/start")).await.unwrap_err();
    assert_eq!(error.to_string(), "unable to upgrade to tcp, received 200");
}
