//! Against a plugin of the test's own on a socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use plugin_client::{PluginError, Plugins};
use serde_json::{Value, json};

/// Answers each request with the next of these.
fn plugin(socket: &Path, answers: Vec<(u16, String)>) -> Receiver<(String, String)> {
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(socket).unwrap();
    let (seen, requests) = channel();
    std::thread::spawn(move || {
        for (status, answer) in answers {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(&stream);
            let mut first = String::new();
            reader.read_line(&mut first).unwrap();
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if line.trim().is_empty() {
                    break;
                }
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            seen.send((first.trim().to_owned(), String::from_utf8(body).unwrap())).unwrap();
            write!(
                &stream,
                "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
                answer.len()
            )
            .unwrap();
        }
    });
    requests
}

fn places(folder: &Path) -> Plugins {
    Plugins { sockets: folder.to_path_buf(), specs: Vec::new(), patience: Duration::from_millis(300) }
}

#[tokio::test]
async fn a_plugin_is_activated_once_and_called_with_json() {
    let folder = tempfile::tempdir().unwrap();
    let answers = vec![
        (200, r#"{"Implements":["authz"]}"#.to_owned()),
        (200, r#"{"Allow":true}"#.to_owned()),
        (500, r#"{"Err":"it broke"}"#.to_owned()),
        (200, "nonsense".to_owned()),
    ];
    let requests = plugin(&folder.path().join("p.sock"), answers);
    let plugin = places(folder.path()).find("p").unwrap();
    plugin.activate("authz").await.unwrap();
    plugin.activate("authz").await.unwrap();
    let other = plugin.activate("VolumeDriver").await.unwrap_err();
    assert!(matches!(other, PluginError::NotImplemented { .. }), "{other}");

    let answer: Value = plugin.call("A.B", &json!({"x": 1})).await.unwrap();
    assert_eq!(answer, json!({"Allow": true}));
    let refused = plugin.call::<_, Value>("A.B", &json!({})).await.unwrap_err();
    assert_eq!(refused.to_string(), "A.B: it broke");
    let unread = plugin.call::<_, Value>("A.B", &json!({})).await.unwrap_err();
    assert!(matches!(unread, PluginError::Answer { .. }), "{unread}");

    let seen: Vec<_> = requests.iter().collect();
    assert_eq!(seen[0].0, "POST /Plugin.Activate HTTP/1.1");
    assert_eq!(seen[1], ("POST /A.B HTTP/1.1".to_owned(), r#"{"x":1}"#.to_owned()));
}

#[tokio::test]
async fn a_plugin_that_is_gone_is_waited_for_and_then_told() {
    let folder = tempfile::tempdir().unwrap();
    drop(UnixListener::bind(folder.path().join("p.sock")).unwrap());
    let plugin = places(folder.path()).find("p").unwrap();
    let error = plugin.activate("authz").await.unwrap_err();
    assert!(matches!(error, PluginError::Unreachable { .. }), "{error}");
}
