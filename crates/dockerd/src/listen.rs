//! The sockets that the Engine API is served on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tokio::net::{TcpListener, UnixListener};

const SOCKET_MODE: u32 = 0o660;
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// One bound socket.
pub enum Listener {
    Unix(UnixListener, PathBuf),
    Tcp(TcpListener),
}

/// Binds `unix:///path`, `/path` or `tcp://host:port`; members of the group may use a Unix socket.
pub async fn bind(host: &str, group: &str) -> Result<Listener> {
    if let Some(path) = host.strip_prefix("unix://").or_else(|| host.starts_with('/').then_some(host)) {
        return bind_unix(Path::new(path), group);
    }
    if let Some(address) = host.strip_prefix("tcp://") {
        let address = if address.contains(':') { address.to_owned() } else { format!("{address}:2375") };
        let listener =
            TcpListener::bind(&address).await.with_context(|| format!("failed to listen on tcp://{address}"))?;
        tracing::warn!(
            address,
            "the API is open to everyone who reaches this address, with root's power over this host"
        );
        return Ok(Listener::Tcp(listener));
    }
    bail!("invalid bind address ({host}): expected unix:///path or tcp://host:port")
}

fn bind_unix(path: &Path, group: &str) -> Result<Listener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        bail!("{} answers already: another daemon serves on it", path.display());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| path.display().to_string());
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).with_context(|| format!("failed to listen on {}", path.display()))?;
    if let Some(gid) = group_id(group) {
        std::os::unix::fs::chown(path, None, Some(gid)).with_context(|| path.display().to_string())?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).with_context(|| path.display().to_string())?;
    Ok(Listener::Unix(listener, path.to_path_buf()))
}

/// A number, or a name of /etc/group.
fn group_id(group: &str) -> Option<u32> {
    if let Ok(number) = group.parse() {
        return Some(number);
    }
    let table = fs::read_to_string("/etc/group").ok()?;
    let found =
        table.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields.first() == Some(&group));
    if found.is_none() {
        tracing::warn!(group, "could not change the group of the socket: no such group");
    }
    found?.get(2)?.parse().ok()
}
