//! Debian's docker-registry on the test's own loopback.

use std::cell::Cell;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use ids::Digest;
use serde_json::{Value, json};

use crate::engine::kill;
use crate::host::{Host, wait_until};

/// A loopback port of the test's own namespace.
const ADDRESS: &str = "127.0.0.1:5000";

/// The one user of a registry that asks who it is.
pub const USER: &str = "ship";
pub const PASSWORD: &str = "open sesame";
/// The password as htpasswd(1) keeps it, with the fewest rounds of bcrypt.
const HASH: &str = "$2b$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW";

pub struct Registry {
    /// As images' names have it.
    pub address: String,
    configuration: PathBuf,
    storage: PathBuf,
    pid: Cell<u32>,
}

/// How a registry is spoken to, and who may.
#[derive(Debug, Clone, Default)]
pub struct RegistrySettings {
    /// A name for loopback, and a port; plain loopback if empty.
    pub address: String,
    /// Certificate and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// A section of the configuration.
    pub authentication: String,
}

impl RegistrySettings {
    /// For [`USER`] alone, by name and password.
    pub fn for_user(host: &Host) -> Result<Self> {
        let users = host.path("registry.users");
        fs::write(&users, format!("{USER}:{HASH}\n"))?;
        let section = format!("auth:\n  htpasswd:\n    realm: harbour\n    path: {}\n", users.display());
        Ok(Self { authentication: section, ..Self::default() })
    }
}

impl Registry {
    pub(crate) fn start(host: &Host, settings: &RegistrySettings) -> Result<Self> {
        let address = if settings.address.is_empty() { ADDRESS } else { &settings.address };
        let port = address.rsplit(':').next().unwrap_or_default();
        let tls = settings.tls.as_ref().map(|(certificate, key)| {
            format!("  tls:\n    certificate: {}\n    key: {}\n", certificate.display(), key.display())
        });
        let storage = host.path("registry");
        let config = format!(
            "version: 0.1\nlog:\n  level: warn\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n{}{}",
            storage.display(),
            tls.unwrap_or_default(),
            settings.authentication
        );
        let configuration = host.path(&format!("registry-{port}.yml"));
        fs::write(&configuration, config)?;
        let registry = Self { address: address.to_owned(), configuration, storage, pid: Cell::new(0) };
        registry.start_again(host)?;
        Ok(registry)
    }

    /// Starts it and waits until it listens.
    pub fn start_again(&self, host: &Host) -> Result<()> {
        let mut command = Command::new("docker-registry");
        self.pid.set(host.spawn("registry", command.arg("serve").arg(&self.configuration))?);
        let port = self.address.rsplit(':').next().unwrap_or_default();
        wait_until("the registry", || TcpStream::connect(format!("127.0.0.1:{port}")).ok()).map(drop)
    }

    /// `kill -9`; returns when it is gone.
    pub fn kill(&self) -> Result<()> {
        kill(self.pid.get())
    }

    /// `127.0.0.1:5000/name`.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Puts an image into its storage as if it had been pushed. The files are its layers, plain or packed as the media
    /// types say, with the digests of their plain bytes; they are moved.
    pub fn place(&self, repository: &str, tag: &str, layers: &[PlacedLayer<'_>]) -> Result<()> {
        let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.diff_id).collect();
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }, "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config =
            self.place_bytes(repository, "application/vnd.oci.image.config.v1+json", config.to_string().as_bytes())?;
        let mut descriptors = Vec::new();
        for layer in layers {
            let size = fs::metadata(layer.file)?.len();
            let target = self.blob_path(&layer.digest);
            fs::create_dir_all(target.parent().unwrap_or(&target))?;
            fs::rename(layer.file, &target)?;
            self.link(repository, &format!("_layers/sha256/{}", layer.digest.hex()), &layer.digest)?;
            descriptors.push(json!({"mediaType": layer.media_type, "digest": layer.digest, "size": size}));
        }
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest =
            json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": descriptors}).to_string();
        self.place_bytes(repository, kind, manifest.as_bytes())?;
        let digest = Digest::of(&manifest);
        for place in [
            format!("revisions/sha256/{}", digest.hex()),
            format!("tags/{tag}/current"),
            format!("tags/{tag}/index/sha256/{}", digest.hex()),
        ] {
            self.link(repository, &format!("_manifests/{place}"), &digest)?;
        }
        Ok(())
    }

    fn place_bytes(&self, repository: &str, kind: &str, bytes: &[u8]) -> Result<Value> {
        let digest = Digest::of(bytes);
        let target = self.blob_path(&digest);
        fs::create_dir_all(target.parent().unwrap_or(&target))?;
        fs::write(&target, bytes)?;
        self.link(repository, &format!("_layers/sha256/{}", digest.hex()), &digest)?;
        Ok(json!({"mediaType": kind, "digest": digest, "size": bytes.len()}))
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.storage.join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(&hex).join("data")
    }

    fn link(&self, repository: &str, place: &str, digest: &Digest) -> Result<()> {
        let folder = self.storage.join("docker/registry/v2/repositories").join(repository).join(place);
        fs::create_dir_all(&folder)?;
        Ok(fs::write(folder.join("link"), digest.to_string())?)
    }
}

/// A layer to be put into a registry's storage.
pub struct PlacedLayer<'a> {
    pub file: &'a Path,
    pub media_type: &'static str,
    pub digest: Digest,
    pub diff_id: Digest,
}
