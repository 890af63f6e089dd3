//! What came of a command line, as text that can be compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::daemon::Request;

/// Headers of requests that mean something.
const HEADERS: &[&str] = &["x-registry-auth", "content-type"];

/// How the two clients name themselves.
const VERSIONS: [&str; 2] = [concat!("28.5.2+longshore", env!("CARGO_PKG_VERSION")), "28.2.2"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// With every member of the bodies.
    requests: String,
    /// Without members that say nothing.
    short_requests: String,
    stdout: String,
    stderr: String,
    status: String,
    files: String,
}

impl Outcome {
    pub fn new(
        output: &Output,
        requests: &[Request],
        before: &BTreeMap<String, String>,
        after: &BTreeMap<String, String>,
    ) -> Self {
        let mut files = String::new();
        for (name, content) in after.iter().filter(|(name, content)| before.get(*name) != Some(content)) {
            let _ = writeln!(files, "{name}: {content}");
        }
        for name in before.keys().filter(|name| !after.contains_key(*name)) {
            let _ = writeln!(files, "{name} is gone");
        }
        Self {
            requests: requests.iter().map(|request| shown(request, sorted)).collect(),
            short_requests: settled(requests)
                .iter()
                .map(|request| shown(request, |body| meaning(sorted(body))))
                .collect(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            status: output.status.to_string(),
            files,
        }
    }

    fn sections(&self) -> [(&'static str, &str); 5] {
        [
            ("requests", &self.requests),
            ("stdout", &self.stdout),
            ("stderr", &self.stderr),
            ("status", &self.status),
            ("files", &self.files),
        ]
    }

    /// What differs, ours first; nothing when nothing does.
    pub fn difference(&self, theirs: &Self) -> Option<String> {
        let mut out = String::new();
        for ((name, ours), (_, theirs)) in self.sections().into_iter().zip(theirs.sections()) {
            let (ours, theirs) = (mask(ours), mask(theirs));
            // Docker's client asks for several things at once, in an order of chance.
            let is_same = if name == "requests" { in_order(&ours) == in_order(&theirs) } else { ours == theirs };
            if !is_same {
                let _ = writeln!(out, "[{name}]\n{}", changed_lines(&ours, &theirs));
            }
        }
        (!out.is_empty()).then_some(out)
    }

    /// Everything, without what changes from run to run.
    pub fn masked(&self) -> String {
        let mut out = String::new();
        for (name, text) in self.sections() {
            let text = mask(if name == "requests" { &self.short_requests } else { text });
            if !text.is_empty() && !(name == "status" && text == "exit status: 0") {
                let _ = writeln!(out, "[{name}]\n{}", text.trim_end_matches('\n'));
            }
        }
        out
    }
}

/// Requests of one kind that follow each other were under way at once, in an order of chance.
fn settled(requests: &[Request]) -> Vec<Request> {
    let kind = |request: &Request| {
        let path = request.target.split('?').next().unwrap_or_default().to_owned();
        let method = path.split(' ').next().unwrap_or_default().to_owned();
        (method, path.rsplit('/').next().unwrap_or_default().to_owned())
    };
    let mut settled = requests.to_vec();
    for run in settled.chunk_by_mut(|one, next| kind(one) == kind(next)) {
        run.sort_by(|one, other| one.target.cmp(&other.target));
    }
    settled
}

fn in_order(requests: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = requests.lines().collect();
    lines.sort_unstable();
    lines
}

/// Lines that only one has, ours with a minus; all lines where the same ones stand in another order.
fn changed_lines(ours: &str, theirs: &str) -> String {
    let only = |these: &str, those: &str, sign: char| -> String {
        let mut left: Vec<&str> = those.split('\n').collect();
        let mut out = String::new();
        for line in these.split('\n') {
            match left.iter().position(|other| *other == line) {
                Some(at) => drop(left.remove(at)),
                None => out.push_str(&format!("{sign} {line}|\n")),
            }
        }
        out
    };
    let lines = only(ours, theirs, '-') + &only(theirs, ours, '+');
    if lines.is_empty() { format!("- {ours}\n+ {theirs}") } else { lines }
}

fn shown(request: &Request, body: impl Fn(Value) -> Value) -> String {
    let mut out = format!("{}\n", request.target);
    for name in HEADERS.iter().filter(|name| **name != "content-type" || !request.body.is_empty()) {
        if let Some(value) = request.headers.get(*name) {
            let _ = writeln!(out, "  {name}: {value}");
        }
    }
    if request.headers.get("content-type").is_some_and(|kind| kind == "application/json") {
        match serde_json::from_slice::<Value>(&request.body) {
            Ok(value) => {
                let _ = writeln!(out, "{}", serde_json::to_string_pretty(&body(value)).unwrap());
            }
            Err(error) => {
                let _ = writeln!(out, "  not JSON: {error}");
            }
        }
    } else if request.body.get(257..262) == Some(b"ustar") {
        let mut archive = tar::Archive::new(request.body.as_slice());
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            let header = entry.header();
            let _ = writeln!(
                out,
                "  {:?} {:o} {}:{} {} {:?}",
                header.entry_type(),
                header.mode().unwrap() & 0o7777,
                header.uid().unwrap(),
                header.gid().unwrap(),
                String::from_utf8_lossy(&entry.path_bytes()),
                String::from_utf8_lossy(entry.link_name_bytes().as_deref().unwrap_or(&content)),
            );
        }
    } else if !request.body.is_empty() {
        let _ = writeln!(out, "  {:?}", String::from_utf8_lossy(&request.body));
    }
    out
}

/// Members by name, since serde_json keeps the order here; lists that Docker's client makes from Go's unordered maps too.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<String, Value> = members
                .into_iter()
                .map(|(name, value)| {
                    let mut value = sorted(value);
                    if let ("Env" | "Binds", Value::Array(items)) = (name.as_str(), &mut value) {
                        items.sort_by_key(Value::to_string);
                    }
                    (name, value)
                })
                .collect();
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// Without empty members.
fn meaning(value: Value) -> Value {
    let says_nothing = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty() || items.iter().all(|item| item.as_i64() == Some(0)),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) => false,
    };
    match value {
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| (name, meaning(value)));
            Value::Object(members.filter(|(_, value)| !says_nothing(value)).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(meaning).collect()),
        other => other,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Without the folder of the run, and each client's own version.
fn mask(text: &str) -> String {
    let text = &text.replace(VERSIONS[0], "VERSION").replace(VERSIONS[1], "VERSION");
    let folder = crate::client::name();
    let mut out = String::new();
    for word in text.split_inclusive(|c: char| c.is_whitespace() || matches!(c, '"' | '=' | ':' | '(' | ',')) {
        match word.find(&folder) {
            Some(at) => {
                out.push_str("$ROOT");
                out.push_str(&word[at + folder.len()..]);
            }
            None => out.push_str(word),
        }
    }
    out
}

/// Every file below a folder: its kind, mode and content.
pub fn files(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    walk(root, "", &mut found);
    found
}

fn walk(folder: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    use std::os::unix::fs::PermissionsExt as _;
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let metadata = fs::symlink_metadata(entry.path()).unwrap();
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_dir() {
            found.insert(name.clone(), format!("folder {mode:o}"));
            walk(&entry.path(), &format!("{name}/"), found);
        } else if metadata.is_symlink() {
            found.insert(name, format!("-> {}", fs::read_link(entry.path()).unwrap().display()));
        } else {
            let content = fs::read(entry.path()).unwrap();
            found.insert(name, format!("{mode:o} {:?}", String::from_utf8_lossy(&content)));
        }
    }
}
