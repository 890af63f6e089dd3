//! Authorization plugins: nothing passes them unseen.

use std::sync::{Arc, Mutex};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testhost::{Host, raw_request};

use crate::plugin_socket;

/// Allows everything but creation with the word `forbidden` in the body, and answers that have `secret` in theirs.
fn plugin(name: &str) -> Result<Arc<Mutex<Vec<Value>>>> {
    let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
    let record = Arc::clone(&seen);
    plugin_socket::serve(name, move |method, question| {
        if method == "Plugin.Activate" {
            return json!({"Implements": ["authz"]});
        }
        let mut question = question.clone();
        question["Method"] = json!(method);
        let verdict = judge(&question);
        record.lock().expect("no panic holds it").push(question);
        verdict
    })?;
    Ok(seen)
}

fn judge(question: &Value) -> Value {
    let text = |key: &str| decode(question[key].as_str().unwrap_or_default());
    if text("RequestBody").contains("forbidden") {
        return json!({"Allow": false, "Msg": "the body is forbidden"});
    }
    if text("ResponseBody").contains("secret") {
        return json!({"Allow": false, "Msg": "the answer is secret"});
    }
    json!({"Allow": true})
}

fn decode(text: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = (0_u32, 0);
    let mut bytes = Vec::new();
    for letter in text.bytes().filter_map(|byte| ALPHABET.iter().position(|letter| *letter == byte)) {
        bits = (bits.0 << 6 | letter as u32, bits.1 + 6);
        if bits.1 >= 8 {
            bits.1 -= 8;
            bytes.push((bits.0 >> bits.1) as u8);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub fn plugins(host: &Host) -> Result<()> {
    plugin_socket::make_folder(host)?;
    let seen = plugin("guard")?;
    let engine = host.engine_with("e", &["--authorization-plugin", "guard"])?;
    let image = engine.import_busybox("busybox")?;
    ensure!(engine.docker.run(&["run", "--rm", &image, "echo", "hi"])?.trim() == "hi");

    let create = |body: &str| engine.request("POST", "/containers/create?name=x", body.as_bytes());
    let refused = create(r#"{"Image":"busybox","Cmd":["forbidden"]}"#)?;
    ensure!(refused.status == 403, "{refused:?}");
    ensure!(refused.message() == "authorization denied by plugin guard: the body is forbidden", "{refused:?}");

    // CVE-2024-41110: a length of zero in front of a body.
    let body = r#"{"Image":"busybox","Cmd":["forbidden"]}"#;
    let smuggled = format!(
        "POST /containers/create?name=x HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let answer = raw_request(&engine.socket(), smuggled.as_bytes())?;
    ensure!(answer.status == 403 || answer.status == 400, "{answer:?}");

    // CVE-2026-34040: a body too large to show.
    let large = format!(r#"{{"Image":"busybox","Cmd":["forbidden"],"Labels":{{"x":"{}"}}}}"#, "x".repeat(5 << 20));
    let answer = create(&large)?;
    ensure!(answer.status == 413, "{}", answer.status);

    // A body under another name is not read as JSON.
    let plain = format!(
        "POST /containers/create?name=x HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    ensure!(raw_request(&engine.socket(), plain.as_bytes())?.status == 400);
    ensure!(engine.request("GET", "/containers/json?all=1", b"")?.body.trim() == "[]");

    // Answers are shown before they are sent.
    engine.docker.run(&["create", "--name", "cc", "--label", "secret=1", &image])?;
    let answer = engine.request("GET", "/containers/cc/json", b"")?;
    ensure!(answer.message() == "authorization denied by plugin guard: the answer is secret", "{answer:?}");
    engine.docker.run(&["rm", "cc"])?;
    let methods: Vec<String> =
        seen.lock().expect("no panic holds it").iter().map(|q| q["Method"].to_string()).collect();
    ensure!(methods.iter().any(|method| method.contains("AuthZRes")), "{methods:?}");

    // Without its plugin the daemon lets nothing through, and does not start.
    plugin_socket::remove("guard")?;
    let mut other = std::process::Command::new(host.programs().join("dockerd"));
    other.args(["--data-root", &host.path("o").display().to_string()]);
    other.args(["--exec-root", &host.path("or").display().to_string()]);
    other.args(["--pidfile", &host.path("op").display().to_string()]);
    other.args(["-H", &format!("unix://{}", host.path("o.sock").display()), "--authorization-plugin", "missing"]);
    let output = other.output()?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = "failed to start daemon: failed to validate authorization plugin: plugin \"missing\" not found";
    ensure!(!output.status.success() && words.contains(expected), "{words}");
    host.command("umount", &["-l", "/run/docker"])?;
    let refused = engine.request("GET", "/info", b"")?;
    ensure!(refused.status == 500 && refused.message().starts_with("plugin guard failed with error: "), "{refused:?}");
    Ok(())
}
