//! Plays a case at one engine and writes down what came back, masked.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::case::{Body, Case, Request, Step};
use super::engines::{IMAGES, Place};
use super::exchange::{Answer, Sent, exchange};
use super::mask::Mask;
use super::tar_listing;
use crate::host::wait_until;
use crate::running::Running;

/// The longest that a line of the shell may take, in seconds.
const LINE_LIMIT_S: &str = "30";

/// What a case's steps gave.
pub struct Transcript {
    pub case: String,
    /// The API version; empty for command lines.
    pub version: String,
    pub steps: Vec<Outcome>,
}

/// What one step gave.
pub struct Outcome {
    pub step: String,
    /// Method and path of a request, as sent.
    pub request: Option<(String, String)>,
    /// By name: `status`, `type`, `body`; `code`, `stdout`, `stderr`.
    pub parts: Vec<(&'static str, Part)>,
}

#[derive(Debug, Clone)]
pub enum Part {
    Json(Value),
    Text(String),
}

impl Outcome {
    /// A step that could not be played to its end.
    fn failed(step: String, error: &anyhow::Error) -> Self {
        Self { step, request: None, parts: vec![("failed", Part::Text(format!("{error:#}")))] }
    }
}

pub struct Player {
    place: Place,
    version: String,
    /// A folder with the client under the name `docker`.
    programs: Option<PathBuf>,
    client: PathBuf,
}

impl Player {
    pub fn requests(place: &Place, version: &str) -> Self {
        Self { place: place.clone(), version: version.to_owned(), programs: None, client: place.client.clone() }
    }

    /// Lines of the shell with this client.
    pub fn commands(place: &Place, client: &Path) -> Self {
        Self { client: client.to_owned(), ..Self::requests(place, "") }
    }

    pub fn play_all(mut self, cases: &[&Case]) -> Result<Vec<Transcript>> {
        let programs = self.place.scratch.join(format!("bin-{}", self.client.to_string_lossy().replace('/', "-")));
        fs::create_dir_all(&programs)?;
        let _ = fs::remove_file(programs.join("docker"));
        symlink(&self.client, programs.join("docker"))?;
        self.programs = Some(programs);
        cases.iter().map(|case| self.play(case).with_context(|| format!("case {}", case.name))).collect()
    }

    fn play(&self, case: &Case) -> Result<Transcript> {
        let folder = self.place.scratch.join("case");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let roots = [
            (&folder, "<folder>"),
            (&self.place.scratch, "<scratch>"),
            (&self.place.data_root, "<data root>"),
            (&self.place.exec_root, "<exec root>"),
            (&self.place.socket, "<socket>"),
        ];
        let mask = Mask::new(roots.map(|(path, shown)| (path.display().to_string(), shown)).to_vec())?;
        let mut stage = Stage { player: self, folder, mask, last_id: String::new(), began: now()? };
        let mut steps = Vec::new();
        for step in &case.steps {
            match stage.step(step) {
                Ok(outcome) => steps.extend(outcome),
                Err(error) => steps.push(Outcome::failed(step.to_string(), &error)),
            }
        }
        if let Err(error) = self.sweep() {
            steps.push(Outcome::failed("cleaning up".to_owned(), &error));
        }
        Ok(Transcript { case: case.name.clone(), version: self.version.clone(), steps })
    }

    fn ask(&self, method: &str, path: &str) -> Result<Answer> {
        exchange(&self.place.socket, &Sent { method, path, content_type: None, upgrade: false, body: b"" })
    }

    fn list(&self, path: &str) -> Result<Value> {
        Ok(serde_json::from_slice(&self.ask("GET", path)?.body).unwrap_or_default())
    }

    /// Nothing of a case stays: the next one begins with the same names.
    fn sweep(&self) -> Result<()> {
        let mut stale = Vec::new();
        let each = |list: Value| list.as_array().cloned().unwrap_or_default().into_iter();
        for container in each(self.list("/v1.41/containers/json?all=1")?) {
            stale.push(format!("/v1.41/containers/{}?force=1&v=1", container["Id"].as_str().unwrap_or_default()));
        }
        for network in each(self.list("/v1.41/networks?filters=%7B%22type%22:%5B%22custom%22%5D%7D")?) {
            stale.push(format!("/v1.41/networks/{}", network["Id"].as_str().unwrap_or_default()));
        }
        for volume in each(self.list("/v1.41/volumes")?["Volumes"].take()) {
            stale.push(format!("/v1.41/volumes/{}?force=1", volume["Name"].as_str().unwrap_or_default()));
        }
        for image in each(self.list("/v1.41/images/json")?) {
            let names = image["RepoTags"].as_array().cloned().unwrap_or_default();
            let ours = |name: &Value| name.as_str().is_some_and(|name| IMAGES.contains(&name));
            if !names.iter().any(ours) {
                stale.push(format!("/v1.41/images/{}?force=1", image["Id"].as_str().unwrap_or_default()));
            }
            for name in names.iter().filter(|name| names.len() > 1 && !ours(name)) {
                stale.push(format!("/v1.41/images/{}?force=1", name.as_str().unwrap_or_default()));
            }
        }
        for path in stale {
            let answer = self.ask("DELETE", &path)?;
            let text = String::from_utf8_lossy(&answer.body);
            anyhow::ensure!(answer.status < 300 || answer.status == 404, "DELETE {path}: {text}");
        }
        Ok(())
    }
}

/// Nanoseconds since 1970.
fn now() -> Result<u128> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())
}

/// A case while it is played.
struct Stage<'p> {
    player: &'p Player,
    folder: PathBuf,
    mask: Mask,
    last_id: String,
    began: u128,
}

impl Stage<'_> {
    fn step(&mut self, step: &Step) -> Result<Option<Outcome>> {
        let shown = step.to_string();
        match step {
            Step::Request(request) => self.request(shown, request).map(Some),
            Step::Shell(line) => self.shell(shown, line).map(Some),
            Step::Until { container, state } => {
                self.until(container, state)?;
                Ok(Some(Outcome { step: shown, request: None, parts: Vec::new() }))
            }
            Step::Events => {
                let time = |ns: u128| format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
                let path = format!("/events?since={}&until={}", time(self.began), time(now()?));
                let request =
                    Request { method: "GET".into(), path, upgrade: false, content_type: None, body: Body::None };
                self.request(shown, &request).map(Some)
            }
        }
    }

    fn request(&mut self, step: String, request: &Request) -> Result<Outcome> {
        let path = request.path.replace("{ID}", &self.last_id);
        let has_version = path.strip_prefix("/v").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let version = if self.player.version.is_empty() { "1.41" } else { &self.player.version };
        let path = encode(&if has_version { path } else { format!("/v{version}{path}") });
        let body = match &request.body {
            Body::None => Vec::new(),
            Body::Text(text) => text.replace("{ID}", &self.last_id).into_bytes(),
            Body::File(file) => fs::read(self.folder.join(file)).with_context(|| file.clone())?,
        };
        let sent = Sent {
            method: &request.method,
            path: &path,
            content_type: request.content_type.as_deref(),
            upgrade: request.upgrade,
            body: &body,
        };
        let answer = exchange(&self.player.place.socket, &sent)?;
        let content_type = answer.header("content-type").unwrap_or_default().to_owned();
        let mut parts =
            vec![("status", Part::Text(answer.status.to_string())), ("type", Part::Text(content_type.clone()))];
        if let Some(stat) = answer.header("x-docker-container-path-stat") {
            parts.push(("stat", Part::Json(self.mask.json(path_stat(stat)?))));
        }
        if let Some(value) = answer.header("location") {
            parts.push(("location", Part::Text(value.to_owned())));
        }
        parts.push(("body", self.body(&content_type, &answer.body)?));
        Ok(Outcome { step, request: Some((request.method.clone(), path)), parts })
    }

    fn body(&mut self, content_type: &str, body: &[u8]) -> Result<Part> {
        if content_type.starts_with("application/json")
            && let Some(json) = values(body)
        {
            if let Some(id) = json["Id"].as_str().or(json["ID"].as_str()) {
                self.last_id = id.to_owned();
            }
            return Ok(Part::Json(self.mask.json(sorted(json))));
        }
        if body.get(257..262) == Some(b"ustar") {
            return Ok(Part::Text(self.mask.text(&tar_listing::list(body)?)));
        }
        let text = match frames(body) {
            Some(text) => text,
            None => String::from_utf8_lossy(body).into_owned(),
        };
        Ok(Part::Text(self.mask.text(&text)))
    }

    fn shell(&mut self, step: String, line: &str) -> Result<Outcome> {
        let place = &self.player.place;
        let mut command = Command::new("timeout");
        command.args([LINE_LIMIT_S, "sh", "-c", &line.replace("{ID}", &self.last_id)]).current_dir(&self.folder);
        let path = std::env::var("PATH").unwrap_or_default();
        let programs = self.player.programs.as_ref().context("the client's folder")?;
        command.env("PATH", format!("{}:{path}", programs.display())).env("HOME", &self.folder);
        command.env("DOCKER_HOST", format!("unix://{}", place.socket.display()));
        command.env("DOCKER_CONFIG", self.folder.join(".docker")).env("LC_ALL", "C").env("TZ", "UTC");
        for name in ["DOCKER_CONTEXT", "DOCKER_API_VERSION", "COLUMNS", "NO_COLOR"] {
            command.env_remove(name);
        }
        let ran = Running::start(command)?.wait()?;
        let last = ran.stdout.trim();
        if last.len() == 64 && last.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            self.last_id = last.to_owned();
        }
        let parts = vec![
            ("code", Part::Text(ran.code.to_string())),
            ("stdout", self.printed(&ran.stdout)),
            ("stderr", Part::Text(self.mask.text(&ran.stderr))),
        ];
        Ok(Outcome { step, request: None, parts })
    }

    /// What a command prints as JSON is compared as such.
    fn printed(&self, text: &str) -> Part {
        let looks_so = text.starts_with(['{', '[']);
        match serde_json::from_str(text) {
            Ok(json) if looks_so => Part::Json(self.mask.json(json)),
            _ => Part::Text(self.mask.text(text)),
        }
    }

    fn until(&self, container: &str, state: &str) -> Result<()> {
        let path = format!("/v1.41/containers/{container}/json");
        let looked = || {
            let inspected = self.player.list(&path).ok()?;
            let State { status, health } = State::of(&inspected);
            (status == state || health == state).then_some(())
        };
        wait_until(&format!("{container} to be {state}"), looked)
    }
}

struct State<'a> {
    status: &'a str,
    health: &'a str,
}

impl<'a> State<'a> {
    fn of(inspected: &'a Value) -> Self {
        let state = &inspected["State"];
        let text = |value: &'a Value| value.as_str().unwrap_or_default();
        Self { status: text(&state["Status"]), health: text(&state["Health"]["Status"]) }
    }
}

/// What a request line must not hold; a percent sign is the case's own.
fn encode(path: &str) -> String {
    path.chars()
        .map(|c| if "\"{}[]<>^".contains(c) { format!("%{:02X}", u32::from(c)) } else { c.to_string() })
        .collect()
}

/// A file's properties: JSON in base64.
fn path_stat(header: &str) -> Result<Value> {
    let json = BASE64.decode(header).context("a file's properties")?;
    serde_json::from_slice(&json).context("a file's properties")
}

/// What comes in no order is put in one: networks and volumes by name, changed files by path, a container's mounts by place and its
/// ports, in a list, by number.
fn sorted(mut value: Value) -> Value {
    let of_each = |items: &mut Vec<Value>, has: &str, by: &str| {
        if items.iter().all(|item| !item[has].is_null()) {
            items.sort_by_key(|item| item[by].to_string());
        }
    };
    if let Some(mounts) = value.get_mut("Mounts").and_then(Value::as_array_mut) {
        of_each(mounts, "Destination", "Destination");
    }
    if let Some(volumes) = value.get_mut("Volumes").and_then(Value::as_array_mut) {
        of_each(volumes, "Mountpoint", "Name");
    }
    let Some(items) = value.as_array_mut() else { return value };
    for ports in items.iter_mut().filter_map(|item| item.get_mut("Ports")?.as_array_mut()) {
        ports.sort_by_key(|port| port["PrivatePort"].as_u64());
    }
    of_each(items, "IPAM", "Name");
    of_each(items, "Kind", "Path");
    value
}

/// One value, or an array of them where there are several.
fn values(body: &[u8]) -> Option<Value> {
    let stream = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    let mut values: Vec<Value> = stream.collect::<Result<_, _>>().ok()?;
    match values.len() {
        0 => None,
        1 => values.pop(),
        _ => Some(Value::Array(values)),
    }
}

/// Docker's multiplexed frames, each stream's text by itself.
fn frames(mut body: &[u8]) -> Option<String> {
    let mut streams = [String::new(), String::new(), String::new(), String::new()];
    if body.is_empty() {
        return None;
    }
    while let Some((head, rest)) = body.split_at_checked(8) {
        let [stream @ 0..=3, 0, 0, 0, a, b, c, d] = *head else { return None };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let (text, rest) = rest.split_at_checked(length)?;
        streams[usize::from(stream)].push_str(&String::from_utf8_lossy(text));
        body = rest;
    }
    if !body.is_empty() {
        return None;
    }
    let named = ["stdin", "stdout", "stderr", "system"].into_iter().zip(streams);
    Some(named.filter(|(_, text)| !text.is_empty()).map(|(name, text)| format!("[{name}] {text}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_from_plain_output() {
        let framed = b"\x01\0\0\0\0\0\0\x03out\x02\0\0\0\0\0\0\x04err\n";
        assert_eq!(frames(framed).as_deref(), Some("[stdout] out[stderr] err\n"));
        assert_eq!((frames(b"plain output"), frames(b"")), (None, None));
    }

    #[test]
    fn lines_of_json_are_one_array() {
        assert_eq!(values(b"{\"a\":1}\r\n{\"a\":2}\r\n").unwrap()[1]["a"], 2);
        assert_eq!(values(b"[1]").unwrap()[0], 1);
        assert!(values(b"{\"a\"").is_none());
    }
}
