//! The client's configuration: `config.json` in `DOCKER_CONFIG` or `~/.docker`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine as _;
use engine_api::auth::{AuthConfig, Secret};
use ids::Reference;
use serde::Deserialize;

/// Largest configuration that is read.
const MAX_CONFIG: u64 = 4 << 20;
/// Under this name credentials for Docker Hub are stored.
pub const HUB_KEY: &str = "https://index.docker.io/v1/";

/// What of the file concerns this client; the rest is left to others.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Config {
    auths: BTreeMap<String, AuthConfig>,
    creds_store: String,
    cred_helpers: BTreeMap<String, String>,
    pub detach_keys: String,
    pub ps_format: String,
    pub images_format: String,
    pub networks_format: String,
    /// More folders with plugins.
    #[serde(rename = "cliPluginsExtraDirs")]
    pub plugin_folders: Vec<PathBuf>,
    #[serde(skip)]
    pub folder: PathBuf,
}

impl Config {
    /// From a folder; a missing file is an empty configuration, a broken one is said on standard error.
    pub fn load(folder: PathBuf) -> Self {
        let path = folder.join("config.json");
        let read = || -> Result<Option<Self>, String> {
            let size = match std::fs::metadata(&path) {
                Ok(metadata) => metadata.len(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error.to_string()),
            };
            if size > MAX_CONFIG {
                return Err("the file is too large".to_owned());
            }
            let text = std::fs::read(&path).map_err(|error| error.to_string())?;
            if text.iter().all(u8::is_ascii_whitespace) {
                return Ok(None);
            }
            serde_json::from_slice(&text).map(Some).map_err(|error| error.to_string())
        };
        let mut config = match read() {
            Ok(config) => config.unwrap_or_default(),
            Err(reason) => {
                eprintln!("WARNING: Error loading config file: {}: {reason}", path.display());
                Self::default()
            }
        };
        config.folder = folder;
        config
    }

    /// Credentials for the registry of an image; empty ones when none are stored.
    pub fn auth_for(&self, image: &str) -> AuthConfig {
        let Ok(reference) = Reference::parse_familiar(image) else { return AuthConfig::default() };
        let key = match reference.domain() {
            "docker.io" => HUB_KEY,
            domain => domain,
        };
        let helper = self.cred_helpers.get(key).map_or(self.creds_store.as_str(), String::as_str);
        if !helper.is_empty() {
            return ask_helper(helper, key).unwrap_or_default();
        }
        self.stored(key).unwrap_or_default()
    }

    fn stored(&self, key: &str) -> Option<AuthConfig> {
        let same_host = |stored: &str| host_of(stored) == host_of(key);
        let found = self.auths.get_key_value(key).or_else(|| self.auths.iter().find(|(stored, _)| same_host(stored)));
        let (stored, auth) = found?;
        let mut auth = auth.clone();
        if let Some((username, password)) = decode(auth.auth.expose()) {
            auth.username = username;
            auth.password = Secret::new(password);
            auth.auth = Secret::default();
        }
        auth.server_address.clone_from(stored);
        Some(auth)
    }
}

/// `host:port` of a stored key, which may be a URL.
fn host_of(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    bare.split('/').next().unwrap_or(bare)
}

/// `user:password` in base64.
fn decode(auth: &str) -> Option<(String, String)> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(auth).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((username.to_owned(), password.trim_matches('\0').to_owned()))
}

/// Asks `docker-credential-NAME get`; the key goes in, JSON comes out.
fn ask_helper(name: &str, key: &str) -> Option<AuthConfig> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        username: String,
        secret: Secret,
    }
    if name.contains('/') {
        return None;
    }
    let mut child = Command::new(format!("docker-credential-{name}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(key.as_bytes()).ok()?;
    let output = child.wait_with_output().ok().filter(|output| output.status.success())?;
    let answer: Answer = serde_json::from_slice(&output.stdout).ok()?;
    let mut auth = AuthConfig { server_address: key.to_owned(), ..AuthConfig::default() };
    if answer.username == "<token>" {
        auth.identity_token = answer.secret;
    } else {
        auth.username = answer.username;
        auth.password = answer.secret;
    }
    Some(auth)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Config {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        Config::load(folder.path().to_owned())
    }

    #[test]
    fn credentials_are_found_by_registry() {
        let config = load(
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"aHViOnB3"},"https://r.example:5000":{"auth":"dTpwOjE="}},"unknown":1}"#,
        );
        let hub = config.auth_for("alpine");
        assert_eq!((hub.username.as_str(), hub.password.expose()), ("hub", "pw"));
        let other = config.auth_for("r.example:5000/a/b:c");
        assert_eq!((other.username.as_str(), other.password.expose()), ("u", "p:1"));
        assert_eq!(config.auth_for("elsewhere.example/a"), AuthConfig::default());
    }

    #[test]
    fn a_missing_or_empty_file_is_an_empty_configuration() {
        assert_eq!(load("").detach_keys, "");
        assert_eq!(Config::load("/nonexistent".into()).ps_format, "");
        assert_eq!(load("{broken").ps_format, "");
    }
}
