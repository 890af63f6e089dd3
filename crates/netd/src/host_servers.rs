//! The host's name servers, as its resolv.conf reads at the time of the question.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::SystemTime;

use network_core::resolv_conf::ResolvConf;

/// Asked where the host names none, as in Docker.
const FALLBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)), IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4))];
const MAX_FILE_BYTES: u64 = 256 * 1024;

pub(crate) struct HostServers {
    path: PathBuf,
    read_at: Option<SystemTime>,
    servers: Vec<IpAddr>,
}

impl HostServers {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, read_at: None, servers: FALLBACK.to_vec() }
    }

    /// One stat a question; the file is read again when it has changed.
    pub(crate) fn get(&mut self) -> &[IpAddr] {
        let modified = std::fs::metadata(&self.path).and_then(|facts| facts.modified()).ok();
        if modified != self.read_at {
            self.read_at = modified;
            self.servers = self.read();
        }
        &self.servers
    }

    fn read(&self) -> Vec<IpAddr> {
        use std::io::Read;
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&self.path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes));
        let servers = read.map(|_| ResolvConf::parse(&String::from_utf8_lossy(&bytes)).servers).unwrap_or_default();
        if servers.is_empty() { FALLBACK.to_vec() } else { servers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_again_and_a_missing_one_falls_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("resolv.conf");
        let mut servers = HostServers::new(path.clone());
        assert_eq!(servers.get(), FALLBACK);
        std::fs::write(&path, "nameserver 127.0.0.53\n").expect("a file");
        assert_eq!(servers.get(), [IpAddr::from([127, 0, 0, 53])]);
        std::fs::remove_file(&path).expect("the file");
        assert_eq!(servers.get(), FALLBACK);
    }
}
