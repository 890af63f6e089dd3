//! The same lines with a person at a terminal: bars that move, colours, questions.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::case::{Answer, Case, at_terminal};

/// Nothing is waited for longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the client on a terminal of 80 columns and 24 rows. What is typed waits for the text before it; everything that
/// is shown counts as standard output.
pub fn run(command: &Command, typed: &[(&str, &str)]) -> Output {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let side = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut wrapped = Command::new("setsid");
    wrapped.arg("--ctty").arg("--wait").arg(command.get_program()).args(command.get_args());
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm");
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    wrapped.stdin(Stdio::from(side.try_clone().unwrap())).stdout(Stdio::from(side.try_clone().unwrap()));
    let mut child = wrapped.stderr(Stdio::from(side)).spawn().unwrap();
    drop(wrapped);
    let mut master = File::from(master);
    let pieces = read(master.try_clone().unwrap());
    let (mut shown, mut looked) = (Vec::new(), 0);
    let mut status = None;
    for (wanted, keys) in typed {
        while status.is_none() && !String::from_utf8_lossy(&shown[looked..]).contains(wanted) {
            match pieces.recv_timeout(PATIENCE) {
                Ok(piece) => shown.extend(piece),
                Err(_) => {
                    child.kill().unwrap();
                    status = Some(ExitStatus::from_raw(9));
                }
            }
        }
        looked = shown.len();
        let _ = master.write_all(keys.as_bytes());
    }
    while let Ok(piece) = pieces.recv_timeout(PATIENCE) {
        shown.extend(piece);
    }
    let ended = child.wait().unwrap();
    Output { status: status.unwrap_or(ended), stdout: shown, stderr: Vec::new() }
}

/// What is shown, until nobody can show anything any more.
fn read(mut from: File) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

const PULL: &str = r#"{"status":"Pulling from library/alpine","id":"3.20"}
{"status":"Pulling fs layer","progressDetail":{},"id":"a1"}
{"status":"Pulling fs layer","progressDetail":{},"id":"b2"}
{"status":"Waiting","progressDetail":{},"id":"b2"}
{"status":"Downloading","progressDetail":{"current":500,"total":1000},"id":"a1"}
{"status":"Download complete","progressDetail":{},"id":"a1"}
{"status":"Extracting","progressDetail":{"current":1000,"total":1000},"id":"a1"}
{"status":"Pull complete","progressDetail":{},"id":"a1"}
{"status":"Pull complete","progressDetail":{},"id":"b2"}
{"status":"Digest: sha256:1"}
{"status":"Status: Downloaded newer image for alpine:3.20"}
"#;
const PUSH: &str = r#"{"status":"The push refers to repository [docker.io/library/alpine]"}
{"status":"Preparing","progressDetail":{},"id":"a1"}
{"status":"Pushing","progressDetail":{"current":51200},"id":"a1"}
{"status":"Pushed","progressDetail":{},"id":"a1"}
{"status":"3.20: digest: sha256:1 size: 528"}
"#;
const ERROR: &str = r#"{"status":"Pulling from library/alpine","id":"3.20"}
{"status":"Pulling fs layer","progressDetail":{},"id":"a1"}
{"errorDetail":{"message":"it broke"},"error":"it broke"}
"#;
const LIST: &str = r#"[{"Id":"0123456789abcdef","Names":["/web"],"Image":"nginx","Command":"nginx -g daemon","Created":1700000000,"Ports":[],"State":"running","Status":"Up 2 hours"}]"#;

#[rustfmt::skip]
pub const CASES: &[Case] = &[
    at_terminal("pull alpine:3.20", &[("POST /images/create", Answer::Lines(PULL))], &[]),
    at_terminal("pull -q alpine:3.20", &[("POST /images/create", Answer::Lines(PULL))], &[]),
    at_terminal("pull alpine:3.20", &[("POST /images/create", Answer::Lines(ERROR))], &[]),
    at_terminal("push alpine:3.20", &[("POST /images/docker.io/library/alpine/push", Answer::Lines(PUSH))], &[]),
    at_terminal("ps --format 'table {{.ID}}\\t{{.Names}}\\t{{.Status}}'", &[("GET /containers/json", Answer::Json(200, LIST))], &[]),
    at_terminal("container prune", &[("POST /containers/prune", Answer::Json(200, r#"{"ContainersDeleted":["a"],"SpaceReclaimed":5000}"#))], &[("[y/N] ", "y\n")]),
    at_terminal("container prune", &[], &[("[y/N] ", "n\n")]),
    at_terminal("network prune", &[], &[("[y/N] ", "\n")]),
    at_terminal("login -u user registry.example.com", &[("POST /auth", Answer::Json(200, r#"{"Status":"Login Succeeded"}"#))], &[("Password: ", "secret\n")]),
    at_terminal("login registry.example.com", &[("POST /auth", Answer::Json(200, r#"{"Status":"Login Succeeded"}"#))], &[("Username: ", "user\n"), ("Password: ", "secret\n")]),
    at_terminal("login -u user", &[("POST /auth", Answer::Json(401, r#"{"message":"incorrect username or password"}"#))], &[("Password: ", "secret\n")]),
    at_terminal("container ls --help", &[], &[]),
    at_terminal("ps --bad", &[], &[]),
    at_terminal("save alpine", &[], &[]),
    at_terminal("export web", &[], &[]),
];
