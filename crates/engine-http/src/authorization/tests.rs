use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use http::Request;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::reply;

/// A plugin that answers by this rule and remembers what it was asked.
struct Fake {
    folder: TempDir,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
}

fn fake(name: &str, rule: fn(&str, &Value) -> String) -> Fake {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join(format!("{name}.sock"))).unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::UnixListener::from_std(listener).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            let (method, body) = loop {
                let mut piece = vec![0; 64 * 1024];
                let length = stream.read(&mut piece).await.unwrap();
                bytes.extend_from_slice(&piece[..length]);
                if let Some(found) = complete(&bytes) {
                    break found;
                }
            };
            let answer = if method == "Plugin.Activate" {
                r#"{"Implements":["authz"]}"#.to_owned()
            } else {
                let question: Value = serde_json::from_slice(&body).unwrap();
                let answer = rule(&method, &question);
                record.lock().unwrap().push((method, question));
                answer
            };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
            stream.write_all(format!("{head}{answer}").as_bytes()).await.unwrap();
        }
    });
    Fake { folder, seen }
}

fn complete(bytes: &[u8]) -> Option<(String, Vec<u8>)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let method = String::from_utf8_lossy(bytes).split(' ').nth(1)?.trim_start_matches('/').to_owned();
    (bytes.len() >= end + length).then(|| (method, bytes[end..end + length].to_vec()))
}

fn places(folder: &Path) -> Plugins {
    Plugins { sockets: folder.to_path_buf(), specs: Vec::new(), patience: Duration::from_millis(100) }
}

async fn with(fake: &Fake, name: &str) -> Authorization {
    let authorization = Authorization::new(places(fake.folder.path()));
    authorization.set(&[name.to_owned(), name.to_owned()]).await.unwrap();
    authorization
}

fn request(path: &str, kind: &str, body: Vec<u8>) -> (Parts, RequestBody) {
    let request = Request::post(path)
        .header("Content-Type", kind)
        .header("Content-Length", "0")
        .header("X-Registry-Auth", "secret")
        .body(())
        .unwrap();
    (request.into_parts().0, boxed(Full::new(Bytes::from(body))))
}

fn text_of(value: &Value) -> String {
    String::from_utf8(STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn both_the_request_and_the_answer_are_shown_whole() {
    let fake = fake("yes", |_, _| r#"{"Allow":true}"#.to_owned());
    let authorization = with(&fake, "yes").await;
    let (parts, body) =
        request("/v1.51/containers/create?name=x", "application/json; charset=utf-8", br#"{"a":1}"#.to_vec());
    let peer = Peer { certificates: vec![vec![1, 2, 3]], common_name: Some("ann".to_owned()) };
    let (allowed, body) = authorization.ask(&parts, body, &peer).await.unwrap();
    // The route reads what the plugin saw.
    assert_eq!(body.collect().await.unwrap().to_bytes(), r#"{"a":1}"#);
    let reply = allowed.unwrap().show(reply::ok(&json!({"Id": "c"}))).await.unwrap();
    assert_eq!(reply.into_body().collect().await.unwrap().to_bytes(), "{\"Id\":\"c\"}\n");

    let seen = fake.seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 2, "a plugin named twice is asked once");
    let (method, asked) = &seen[0];
    assert_eq!(method, ON_REQUEST);
    assert_eq!(asked["RequestUri"], "/v1.51/containers/create?name=x");
    assert_eq!((asked["User"].as_str(), asked["UserAuthNMethod"].as_str()), (Some("ann"), Some("TLS")));
    // Although the header said that there is none: CVE-2024-41110.
    assert_eq!(text_of(&asked["RequestBody"]), r#"{"a":1}"#);
    assert_eq!(asked["RequestHeaders"]["Content-Type"], "application/json; charset=utf-8");
    assert_eq!(asked["RequestHeaders"].get("X-Registry-Auth"), None);
    assert!(text_of(&asked["RequestPeerCertificates"][0]).starts_with("-----BEGIN CERTIFICATE-----\nAQID\n"));
    let (method, answered) = &seen[1];
    assert_eq!((method.as_str(), &answered["ResponseStatusCode"]), (ON_RESPONSE, &json!(200)));
    assert_eq!(text_of(&answered["ResponseBody"]), "{\"Id\":\"c\"}\n");
}

#[tokio::test]
async fn no_is_no_in_docker_s_words() {
    let fake = fake("strict", |method, _| {
        if method == ON_REQUEST { r#"{"Allow":true}"#.to_owned() } else { r#"{"Msg":"not for you"}"#.to_owned() }
    });
    let authorization = with(&fake, "strict").await;
    let (parts, body) = request("/info", "", Vec::new());
    let (allowed, _) = authorization.ask(&parts, body, &Peer::default()).await.unwrap();
    let failure = allowed.unwrap().show(reply::ok(&json!({}))).await.unwrap_err();
    assert_eq!(failure.status, StatusCode::FORBIDDEN);
    assert_eq!(failure.message, "authorization denied by plugin strict: not for you");
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_and_the_plugin_not_asked() {
    let fake = fake("yes", |_, _| r#"{"Allow":true}"#.to_owned());
    let authorization = with(&fake, "yes").await;
    let (parts, body) = request("/containers/create", "application/json", vec![b' '; MAX_BODY + 1]);
    let failure = authorization.ask(&parts, body, &Peer::default()).await.err().unwrap();
    assert_eq!(failure.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(failure.message.starts_with("request body too large for authorization plugin"));
    assert!(fake.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn passwords_are_kept_from_plugins() {
    let fake = fake("yes", |_, _| r#"{"Allow":true}"#.to_owned());
    let authorization = with(&fake, "yes").await;
    let (parts, body) = request("/v1.44/auth", "application/json", br#"{"password":"p"}"#.to_vec());
    authorization.ask(&parts, body, &Peer::default()).await.unwrap();
    assert_eq!(fake.seen.lock().unwrap()[0].1.get("RequestBody"), None);
}

#[tokio::test]
async fn a_plugin_that_fails_refuses() {
    for (answer, words) in [
        ("{}", "authorization denied by plugin odd: "),
        ("nonsense", "plugin odd failed with error: AuthZPlugin.AuthZReq: the plugin's answer cannot be read"),
        (r#"{"Allow":true,"Err":"broken"}"#, "plugin odd failed with error: broken"),
    ] {
        // A rule holds no state, so that each answer has one of its own.
        let rule = match answer {
            "{}" => |_: &str, _: &Value| "{}".to_owned(),
            "nonsense" => |_: &str, _: &Value| "nonsense".to_owned(),
            _ => |_: &str, _: &Value| r#"{"Allow":true,"Err":"broken"}"#.to_owned(),
        };
        let fake = fake("odd", rule);
        let authorization = with(&fake, "odd").await;
        let (parts, body) = request("/info", "", Vec::new());
        let failure = authorization.ask(&parts, body, &Peer::default()).await.err().unwrap();
        assert!(failure.message.starts_with(words), "{}", failure.message);
    }
    let missing = Authorization::new(places(Path::new("/nowhere"))).set(&["x".to_owned()]).await.unwrap_err();
    assert_eq!(missing.to_string(), "plugin \"x\" not found");
}
