//! Debian's docker-registry on the test's own loopback.

use std::fs;
use std::net::TcpStream;
use std::process::Command;

use anyhow::Result;

use crate::host::{Host, wait_until};

/// A loopback port of the test's own namespace.
const ADDRESS: &str = "127.0.0.1:5000";

/// The one user of a registry that asks who it is.
pub const USER: &str = "ship";
pub const PASSWORD: &str = "open sesame";
/// The password as htpasswd(1) keeps it, with the fewest rounds of bcrypt.
const HASH: &str = "$2b$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW";

pub struct Registry {
    pub address: String,
}

impl Registry {
    pub(crate) fn start(host: &Host) -> Result<Self> {
        Self::start_with(host, "")
    }

    /// For [`USER`] alone.
    pub(crate) fn start_closed(host: &Host) -> Result<Self> {
        let users = host.path("registry.users");
        fs::write(&users, format!("{USER}:{HASH}\n"))?;
        Self::start_with(host, &format!("auth:\n  htpasswd:\n    realm: harbour\n    path: {}\n", users.display()))
    }

    /// With a further section of the configuration.
    fn start_with(host: &Host, section: &str) -> Result<Self> {
        let config = format!(
            "version: 0.1\nlog:\n  level: warn\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: {ADDRESS}\n{section}",
            host.path("registry").display()
        );
        let path = host.path("registry.yml");
        fs::write(&path, config)?;
        host.spawn("registry", Command::new("docker-registry").arg("serve").arg(&path))?;
        wait_until("the registry", || TcpStream::connect(ADDRESS).ok())?;
        Ok(Self { address: ADDRESS.to_owned() })
    }

    /// `127.0.0.1:5000/name`.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }
}
