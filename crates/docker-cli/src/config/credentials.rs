//! Programs that keep credentials: `docker-credential-NAME get|store|erase|list`, JSON in and out.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use engine_api::auth::{AuthConfig, Secret};
use serde::{Deserialize, Serialize};

use crate::text::quote;

/// In the place of a user's name when the secret is an identity token.
const TOKEN_USER: &str = "<token>";
/// Of `docker-credential-longshore`, which comes with this client.
pub const OWN: &str = "longshore";
/// Largest answer of such a program.
const MAX_ANSWER: u64 = 1 << 20;

/// What goes in and comes out.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Entry {
    #[serde(rename = "ServerURL")]
    server_url: String,
    username: String,
    secret: Secret,
}

/// The credentials of a registry, if the program has some.
pub fn get(helper: &str, key: &str) -> Option<AuthConfig> {
    let output = call(helper, "get", key.as_bytes()).ok()?;
    let entry: Entry = serde_json::from_slice(&output).ok()?;
    let mut auth = AuthConfig { server_address: key.to_owned(), ..AuthConfig::default() };
    if entry.username == TOKEN_USER {
        auth.identity_token = entry.secret;
    } else {
        auth.username = entry.username;
        auth.password = entry.secret;
    }
    Some(auth)
}

/// All that the program has, by registry.
pub fn all(helper: &str) -> BTreeMap<String, AuthConfig> {
    let listed = call(helper, "list", b"").ok();
    let users: BTreeMap<String, String> =
        listed.and_then(|output| serde_json::from_slice(&output).ok()).unwrap_or_default();
    users.into_keys().filter_map(|key| get(helper, &key).map(|auth| (key, auth))).collect()
}

/// The program that keeps credentials where nobody said which: Docker's choice if it is installed, else our own.
pub fn detect(path: Option<&OsStr>) -> Option<&'static str> {
    let of_docker = if is_on_path(path, "pass") { "pass" } else { "secretservice" };
    [of_docker, OWN].into_iter().find(|helper| is_on_path(path, &format!("docker-credential-{helper}")))
}

fn is_on_path(path: Option<&OsStr>, program: &str) -> bool {
    let is_executable = |folder: std::path::PathBuf| {
        std::fs::metadata(folder.join(program))
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    path.is_some_and(|path| std::env::split_paths(path).filter(|folder| folder.is_absolute()).any(is_executable))
}

/// Has the program keep them.
pub fn store(helper: &str, auth: &AuthConfig) -> Result<(), String> {
    let has_token = !auth.identity_token.is_empty();
    let entry = Entry {
        server_url: auth.server_address.clone(),
        username: if has_token { TOKEN_USER.to_owned() } else { auth.username.clone() },
        secret: if has_token { auth.identity_token.clone() } else { auth.password.clone() },
    };
    let text = serde_json::to_vec(&entry).map_err(|error| error.to_string())?;
    let stored = call(helper, "store", &text).map(drop);
    stored.map_err(|(error, out)| format!("error storing credentials - err: {error}, out: `{out}`"))
}

/// Has the program forget them. One that never knew them is as good.
pub fn erase(helper: &str, key: &str) {
    let _ = call(helper, "erase", key.as_bytes());
}

/// Runs the program; its output, or why it failed and what it said.
fn call(helper: &str, verb: &str, input: &[u8]) -> Result<Vec<u8>, (String, String)> {
    let program = format!("docker-credential-{helper}");
    if helper.contains('/') {
        return Err((format!("exec: {}: executable file not found in $PATH", quote(&program)), String::new()));
    }
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            (format!("exec: {}: executable file not found in $PATH", quote(&program)), String::new())
        }
        _ => (error.to_string(), String::new()),
    };
    let mut child = Command::new(&program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(failed)?;
    if let Some(mut pipe) = child.stdin.take() {
        // A program that does not read says with its exit what it thinks.
        let _ = pipe.write_all(input);
    }
    let mut output = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        pipe.take(MAX_ANSWER).read_to_end(&mut output).map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    if status.success() {
        return Ok(output);
    }
    let end = status.code().map_or_else(|| "ended by a signal".to_owned(), |code| format!("exit status {code}"));
    Err((end, String::from_utf8_lossy(&output).trim().to_owned()))
}
