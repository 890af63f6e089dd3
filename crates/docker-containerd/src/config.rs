//! The configuration file: containerd's version 2, as far as it means something here. Other keys are let be, so that a
//! file written for containerd can stay as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The largest configuration file that is read.
const MAX_BYTES: u64 = 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    pub version: u32,
    /// What survives a reboot.
    pub root: PathBuf,
    /// What may be gone after one.
    pub state: PathBuf,
    /// oom_score_adj of the daemon, 0 for none of its own.
    pub oom_score: i32,
    pub grpc: Grpc,
    pub ttrpc: Ttrpc,
    pub debug: Debug,
    pub longshore: Longshore,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grpc {
    pub address: String,
    pub uid: u32,
    pub gid: u32,
}

/// The socket that shims send their events to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ttrpc {
    /// Empty: the gRPC socket's path with `.ttrpc` behind.
    pub address: String,
    pub uid: u32,
    pub gid: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Debug {
    pub level: String,
}

/// What containerd does not know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Longshore {
    /// Runtime name → program of its shim.
    pub shims: BTreeMap<String, PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the configuration {} is larger than {MAX_BYTES} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("cannot understand the configuration {}", path.display())]
    Parse { path: PathBuf, source: toml::de::Error },
    #[error("the configuration {} has version {version}, this program knows 1 to 3", path.display())]
    Version { path: PathBuf, version: u32 },
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: 2,
            root: PathBuf::from("/var/lib/containerd"),
            state: PathBuf::from("/run/containerd"),
            oom_score: 0,
            grpc: Grpc::default(),
            ttrpc: Ttrpc::default(),
            debug: Debug::default(),
            longshore: Longshore::default(),
        }
    }
}

impl Default for Grpc {
    fn default() -> Self {
        Self { address: "/run/containerd/containerd.sock".to_owned(), uid: 0, gid: 0 }
    }
}

impl Config {
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(read)?.len() > MAX_BYTES {
            return Err(ConfigError::TooLarge { path: path.to_owned() });
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        let config: Self =
            toml::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source })?;
        // Docker's daemon writes version 0 into the file it makes for its containerd.
        if config.version > 3 {
            return Err(ConfigError::Version { path: path.to_owned(), version: config.version });
        }
        Ok(config)
    }

    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// Where shims send their events to.
    pub fn ttrpc_address(&self) -> String {
        if self.ttrpc.address.is_empty() { format!("{}.ttrpc", self.grpc.address) } else { self.ttrpc.address.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).expect("write");
        Config::read(&path)
    }

    #[test]
    fn a_file_of_containerds_is_understood_and_foreign_keys_are_let_be() {
        let config = read(
            r#"
            version = 2
            root = "/r"
            oom_score = -500
            disabled_plugins = ["cri"]
            [grpc]
            address = "/s"
            max_recv_message_size = 16777216
            [plugins."io.containerd.grpc.v1.cri"]
            sandbox_image = "x"
            [longshore.shims]
            "io.containerd.runc.v2" = "/usr/bin/containerd-shim-runc-v2"
            "#,
        )
        .expect("config");
        assert_eq!((config.root.as_path(), config.oom_score), (Path::new("/r"), -500));
        assert_eq!(config.ttrpc_address(), "/s.ttrpc");
        assert_eq!(config.state, Path::new("/run/containerd"));
        assert_eq!(config.longshore.shims.len(), 1);
    }

    #[test]
    fn what_is_printed_reads_the_same() {
        let config = Config::default();
        assert_eq!(read(&config.to_toml().expect("toml")).expect("config"), config);
    }

    #[test]
    fn a_broken_or_newer_file_is_refused() {
        assert!(matches!(read("root ="), Err(ConfigError::Parse { .. })));
        assert!(matches!(read("version = 9"), Err(ConfigError::Version { .. })));
        assert!(matches!(Config::read(Path::new("/no/such/file")), Err(ConfigError::Read { .. })));
    }
}
