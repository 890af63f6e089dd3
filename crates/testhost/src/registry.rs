//! Debian's docker-registry on the test's own loopback.

use std::fs;
use std::net::TcpStream;
use std::process::Command;

use anyhow::Result;

use crate::host::{Host, wait_until};

/// A loopback port of the test's own namespace.
const ADDRESS: &str = "127.0.0.1:5000";

pub struct Registry {
    pub address: String,
}

impl Registry {
    pub(crate) fn start(host: &Host) -> Result<Self> {
        let config = format!(
            "version: 0.1\nlog:\n  level: warn\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: {ADDRESS}\n",
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
