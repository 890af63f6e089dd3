//! The socket of a plugin of Docker's that a test is itself.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use anyhow::Result;
use serde_json::Value;
use testhost::Host;

/// Where Docker looks for plugins.
const FOLDER: &str = "/run/docker/plugins";

/// An empty folder of plugins, for this test host only.
pub fn make_folder(host: &Host) -> Result<()> {
    fs::create_dir_all("/run/docker")?;
    host.command("mount", &["-t", "tmpfs", "tmpfs", "/run/docker"])?;
    Ok(fs::create_dir_all(FOLDER)?)
}

/// Answers methods with their arguments, one request after the other, until the test ends.
pub fn serve(name: &str, answer: impl Fn(&str, &Value) -> Value + Send + 'static) -> Result<()> {
    let listener = UnixListener::bind(Path::new(FOLDER).join(format!("{name}.sock")))?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            exchange(&stream, &answer);
        }
    });
    Ok(())
}

/// The plugin is gone; who is connected is not told.
pub fn remove(name: &str) -> Result<()> {
    Ok(fs::remove_file(Path::new(FOLDER).join(format!("{name}.sock")))?)
}

fn exchange(mut stream: &UnixStream, answer: &impl Fn(&str, &Value) -> Value) {
    let mut reader = BufReader::new(stream);
    let (mut method, mut length, mut line) = (String::new(), 0, String::new());
    while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
        if let Some(path) = line.strip_prefix("POST /") {
            path.split(' ').next().unwrap_or_default().clone_into(&mut method);
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    let mut body = vec![0; length];
    // Who asked may be dead already.
    if method.is_empty() || reader.read_exact(&mut body).is_err() {
        return;
    }
    let text = answer(&method, &serde_json::from_slice(&body).unwrap_or_default()).to_string();
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len());
}
