//! The protocol of Docker's credential helpers: the action is the argument, JSON or a registry's key comes in, JSON or an
//! error in one line goes out, and the exit code says which.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::ExitCode;

use credential_store::{Entry, Secret, Store, StoreError};
use serde::{Deserialize, Serialize};

/// Largest request that is read.
const MAX_REQUEST: u64 = 1 << 20;
/// Word for word what clients look for: with these they ask no further, others they show.
const NOT_FOUND: &str = "credentials not found in native keychain";
const NO_SERVER: &str = "no credentials server URL";
const NO_USERNAME: &str = "no credentials username";

/// What needs the store.
pub const ACTIONS: [&str; 4] = ["get", "store", "erase", "list"];

/// What is printed, and whether it went well.
pub struct Outcome {
    pub text: String,
    pub code: ExitCode,
}

impl Outcome {
    pub fn done(text: String) -> Self {
        Self { text, code: ExitCode::SUCCESS }
    }

    pub fn failed(reason: impl Into<String>) -> Self {
        let mut text: String = reason.into();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        Self { text, code: ExitCode::FAILURE }
    }
}

/// What goes in and comes out.
#[derive(Serialize, Deserialize)]
struct Credentials {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: Secret,
}

pub fn version() -> String {
    format!("docker-credential-longshore (longshore) v{}\n", env!("CARGO_PKG_VERSION"))
}

pub fn usage() -> String {
    "Usage: docker-credential-longshore <store|get|erase|list|version>\n".to_owned()
}

/// One of [`ACTIONS`].
pub fn perform(action: &str, store: &Store, input: &mut impl Read) -> Outcome {
    let answer = match action {
        "list" => list(store),
        action => match request(input) {
            Err(reason) => Err(reason),
            Ok(text) => match action {
                "get" => get(store, &text),
                "store" => put(store, &text),
                _ => erase(store, &text),
            },
        },
    };
    answer.map_or_else(Outcome::failed, Outcome::done)
}

fn request(input: &mut impl Read) -> Result<String, String> {
    let mut text = String::new();
    input.take(MAX_REQUEST + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_REQUEST {
        return Err(format!("the request is larger than {MAX_REQUEST} bytes"));
    }
    Ok(text)
}

/// The key of a registry, alone on its line.
fn server_of(text: &str) -> Result<&str, String> {
    let server = text.trim();
    if server.is_empty() { Err(NO_SERVER.to_owned()) } else { Ok(server) }
}

fn get(store: &Store, text: &str) -> Result<String, String> {
    let server = server_of(text)?;
    let entry = store.get(server).map_err(told)?.ok_or(NOT_FOUND)?;
    let found = Credentials { server_url: server.to_owned(), username: entry.username, secret: entry.secret };
    line(&found)
}

fn put(store: &Store, text: &str) -> Result<String, String> {
    let Credentials { server_url, username, secret } =
        serde_json::from_str(text).map_err(|error| format!("cannot read the credentials: {error}"))?;
    if server_url.is_empty() {
        return Err(NO_SERVER.to_owned());
    }
    if username.is_empty() {
        return Err(NO_USERNAME.to_owned());
    }
    store.put(&server_url, Entry { username, secret }).map_err(told)?;
    Ok(String::new())
}

fn erase(store: &Store, text: &str) -> Result<String, String> {
    store.erase(server_of(text)?).map_err(told)?;
    Ok(String::new())
}

fn list(store: &Store) -> Result<String, String> {
    let users: BTreeMap<String, String> = store.list().map_err(told)?;
    line(&users)
}

fn line(value: &impl Serialize) -> Result<String, String> {
    let mut text = serde_json::to_string(value).map_err(|error| error.to_string())?;
    text.push('\n');
    Ok(text)
}

fn told(error: StoreError) -> String {
    errors::chain(&error)
}
