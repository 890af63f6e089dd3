//! The client's configuration: `config.json` in `DOCKER_CONFIG` or `~/.docker`.
//!
//! [`Config`] is what of it concerns this client, [`file`] changes it, [`credentials`] is the protocol of
//! `docker-credential-*` programs.

pub mod credentials;
pub mod file;

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use engine_api::auth::{AuthConfig, Secret};
use ids::Reference;
use serde::Deserialize;

/// Largest configuration that is read.
const MAX_CONFIG: u64 = 4 << 20;
/// Under this name credentials for Docker Hub are stored.
pub const HUB_KEY: &str = "https://index.docker.io/v1/";

/// What of the file concerns this client; the rest is left to others.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Config {
    auths: BTreeMap<String, AuthConfig>,
    creds_store: String,
    cred_helpers: BTreeMap<String, String>,
    /// Sent with every request to the daemon.
    #[serde(rename = "HttpHeaders")]
    pub headers: BTreeMap<String, String>,
    pub current_context: String,
    pub detach_keys: String,
    pub ps_format: String,
    pub images_format: String,
    pub networks_format: String,
    pub stats_format: String,
    pub volumes_format: String,
    /// `key=value`, added to the filters of every prune.
    pub prune_filters: Vec<String>,
    /// Proxies that new containers are told, by daemon or under `default`.
    pub proxies: BTreeMap<String, Proxy>,
    /// More folders with plugins.
    #[serde(rename = "cliPluginsExtraDirs")]
    pub plugin_folders: Vec<PathBuf>,
    #[serde(skip)]
    pub folder: PathBuf,
}

/// Of one daemon; empty text is unset.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Proxy {
    pub http_proxy: String,
    pub https_proxy: String,
    pub no_proxy: String,
    pub ftp_proxy: String,
    pub all_proxy: String,
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
                eprintln!("WARNING: Error parsing config file ({}): {reason}", path.display());
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
        self.credentials(key)
    }

    /// Credentials for a registry by the key they are stored under.
    pub fn credentials(&self, key: &str) -> AuthConfig {
        match self.helper(key) {
            Some(helper) => credentials::get(helper, key).unwrap_or_default(),
            None => self.stored(key).unwrap_or_default(),
        }
    }

    /// The program that keeps the credentials of this registry, if any does.
    pub fn helper(&self, key: &str) -> Option<&str> {
        let helper = self.cred_helpers.get(key).map_or(self.creds_store.as_str(), String::as_str);
        (!helper.is_empty()).then_some(helper)
    }

    /// Whether nothing says yet where credentials are kept, and none are kept.
    pub fn is_without_credentials(&self) -> bool {
        self.auths.is_empty() && self.creds_store.is_empty() && self.cred_helpers.is_empty()
    }

    /// All stored credentials, by registry, wherever they are kept: for builds, which pull what their steps name.
    pub fn all_auths(&self) -> BTreeMap<String, AuthConfig> {
        let mut all: BTreeMap<String, AuthConfig> = if self.creds_store.is_empty() {
            self.auths.keys().filter_map(|key| Some((key.clone(), self.stored(key)?))).collect()
        } else {
            credentials::all(&self.creds_store)
        };
        for (key, helper) in &self.cred_helpers {
            if let Some(auth) = credentials::get(helper, key) {
                all.insert(key.clone(), auth);
            }
        }
        all
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
    fn credentials_are_kept_by_docker_s_choice_or_by_our_own_program() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().as_os_str();
        let put = |name: &str, mode: u32| {
            std::fs::write(folder.path().join(name), "").unwrap();
            std::fs::set_permissions(folder.path().join(name), std::os::unix::fs::PermissionsExt::from_mode(mode))
                .unwrap();
        };
        assert_eq!((credentials::detect(None), credentials::detect(Some(path))), (None, None));
        put("docker-credential-longshore", 0o644);
        assert_eq!(credentials::detect(Some(path)), None);
        put("docker-credential-longshore", 0o755);
        assert_eq!(credentials::detect(Some(path)), Some("longshore"));
        put("docker-credential-pass", 0o755);
        assert_eq!(credentials::detect(Some(path)), Some("longshore"), "there is no pass that it could ask");
        put("pass", 0o755);
        assert_eq!(credentials::detect(Some(path)), Some("pass"));
        assert!(load("{}").is_without_credentials() && load(r#"{"auths":{}}"#).is_without_credentials());
        for text in [r#"{"auths":{"r":{}}}"#, r#"{"credsStore":"x"}"#, r#"{"credHelpers":{"r":"x"}}"#] {
            assert!(!load(text).is_without_credentials(), "{text}");
        }
    }

    #[test]
    fn a_missing_or_empty_file_is_an_empty_configuration() {
        assert_eq!(load("").detach_keys, "");
        assert_eq!(Config::load("/nonexistent".into()).ps_format, "");
        assert_eq!(load("{broken").ps_format, "");
    }
}
