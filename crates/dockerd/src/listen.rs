//! The sockets that the Engine API is served on: bound early, so that clients wait in line while the daemon starts.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::net::{AddressFamily, sockopt};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use crate::activation;
use crate::former;
use crate::options::{Config, Host};

const SOCKET_MODE: u32 = 0o660;
const DEFAULT_GROUP: &str = "docker";
/// How long a start is held up for who serves the whole network without saying that it is meant so: Docker's number.
const SHAME: Duration = Duration::from_secs(15);
/// Probes of a TCP connection that nothing is heard of: after two and a half minutes its client has gone.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 9;

/// One bound socket.
pub enum Listener {
    /// With the file that is ours to remove; sockets from the service manager have none.
    Unix {
        listener: UnixListener,
        _file: Option<SocketFile>,
    },
    Tcp(TcpListener, Option<TlsAcceptor>),
}

/// Binds every address of the configuration, or none.
pub async fn bind_all(config: &Config, tls: Option<TlsAcceptor>) -> Result<Vec<Listener>> {
    let mut listeners = Vec::with_capacity(config.listen_on.len());
    for host in &config.listen_on {
        match host {
            Host::Unix(path) => listeners.push(bind_unix(path, config.group.as_deref())?),
            Host::Tcp { host: name, port } => {
                warn_of_tcp(config, host, name).await;
                listeners.push(bind_tcp(name, *port, tls.clone()).await?);
            }
            Host::Inherited(which) => {
                for socket in activation::choose(activation::sockets(), which)? {
                    listeners.push(inherit(socket.socket, tls.clone())?);
                }
            }
        }
    }
    Ok(listeners)
}

/// Docker's words for who binds to TCP without client certificates.
async fn warn_of_tcp(config: &Config, host: &Host, name: &str) {
    if config.tls_verify() {
        return;
    }
    let host = host.to_string();
    tracing::warn!(
        host,
        "Binding to IP address without --tlsverify is insecure and gives root access on this machine to everyone who has access to your network."
    );
    tracing::warn!(
        host,
        "Binding to an IP address, even on localhost, can also give access to scripts run in a browser. Be safe out there!"
    );
    tracing::warn!(
        host,
        "[DEPRECATION NOTICE] In future versions this will be a hard failure preventing the daemon from starting! Learn more at: https://docs.docker.com/go/api-security/"
    );
    let is_local = name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    if config.is_tls_settled() || is_local {
        return;
    }
    tracing::warn!(
        host,
        "Binding to an IP address without --tlsverify is deprecated. Startup is intentionally being slowed down to show this message"
    );
    tracing::warn!(
        host,
        "Please consider generating tls certificates with client validation to prevent exposing unauthenticated root access to your network"
    );
    tracing::warn!(host, "You can override this by explicitly specifying '--tls=false' or '--tlsverify=false'");
    tracing::warn!(
        host,
        "Support for listening on TCP without authentication or explicit intent to run without authentication will be removed in the next release"
    );
    tokio::time::sleep(SHAME).await;
}

async fn bind_tcp(name: &str, port: u16, tls: Option<TlsAcceptor>) -> Result<Listener> {
    let failed = || format!("failed to listen on tcp://{name}:{port}");
    let address = resolver::resolve(name).await.with_context(failed)?.into_iter().next().with_context(failed)?;
    let listener = TcpListener::bind(SocketAddr::new(address, port)).await.with_context(failed)?;
    keep_alive(&listener).with_context(failed)?;
    Ok(Listener::Tcp(listener, tls))
}

/// Accepted sockets inherit it (tcp(7)).
fn keep_alive(listener: &TcpListener) -> rustix::io::Result<()> {
    sockopt::set_socket_keepalive(listener, true)?;
    sockopt::set_tcp_keepidle(listener, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(listener, KEEPALIVE)?;
    sockopt::set_tcp_keepcnt(listener, KEEPALIVE_PROBES)
}

fn inherit(socket: OwnedFd, tls: Option<TlsAcceptor>) -> Result<Listener> {
    let family = rustix::net::getsockname(&socket).context("not a socket")?.address_family();
    if family == AddressFamily::UNIX {
        let listener = std::os::unix::net::UnixListener::from(socket);
        listener.set_nonblocking(true)?;
        return Ok(Listener::Unix { listener: UnixListener::from_std(listener)?, _file: None });
    }
    if family != AddressFamily::INET && family != AddressFamily::INET6 {
        bail!("a socket of family {family:?} cannot be served on");
    }
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    keep_alive(&listener)?;
    Ok(Listener::Tcp(listener, tls))
}

fn bind_unix(path: &Path, group: Option<&str>) -> Result<Listener> {
    let named = || format!("can't create unix socket {}", path.display());
    if is_served(path) {
        bail!("{}: another daemon serves on it", named());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(named)?;
    }
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => bail!("{}: is a directory", named()),
        Ok(_) => fs::remove_file(path).with_context(named)?,
        Err(_) => {}
    }
    let gid = group_id(group, path)?;
    let listener = UnixListener::bind(path).with_context(named)?;
    let file = SocketFile::of(path).with_context(named)?;
    if let Some(gid) = gid {
        std::os::unix::fs::chown(path, None, Some(gid)).with_context(named)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).with_context(named)?;
    Ok(Listener::Unix { listener, _file: Some(file) })
}

/// Whether a process that lives on takes connections there (unix(7), SO_PEERCRED).
fn is_served(path: &Path) -> bool {
    let Ok(stream) = std::os::unix::net::UnixStream::connect(path) else { return false };
    !rustix::net::sockopt::socket_peercred(&stream).is_ok_and(|peer| former::has_ended(peer.pid.as_raw_nonzero().get()))
}

/// A number, or a name of /etc/group. The default one may be missing; a group that somebody named may not.
fn group_id(named: Option<&str>, socket: &Path) -> Result<Option<u32>> {
    let group = named.unwrap_or(DEFAULT_GROUP);
    if group.is_empty() {
        return Ok(None);
    }
    if let Ok(number) = group.parse() {
        return Ok(Some(number));
    }
    let table = fs::read_to_string("/etc/group").unwrap_or_default();
    let found = table.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok())?
    });
    if found.is_none() {
        if group != DEFAULT_GROUP {
            bail!("group {group} not found");
        }
        tracing::warn!(
            "could not change group {} to {DEFAULT_GROUP}: group {DEFAULT_GROUP} not found",
            socket.display()
        );
    }
    Ok(found)
}

/// A socket's file, removed with this value unless another daemon has put its own there.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> std::io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_path_buf(), inode: (found.dev(), found.ino()) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.inode) {
            // A file that stays is recognised by the next start as left over.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path, group: Option<&str>) -> String {
        format!("{:#}", bind_unix(path, group).err().unwrap())
    }

    #[tokio::test]
    async fn a_left_over_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/docker.sock");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = bind_unix(&path, Some("0")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, SOCKET_MODE);
        assert!(refused(&path, Some("0")).ends_with("another daemon serves on it"));
        drop(first);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn the_file_of_a_successor_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let first = bind_unix(&path, Some("0")).unwrap();
        fs::remove_file(&path).unwrap();
        let second = bind_unix(&path, Some("0")).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn groups_that_are_not_there_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        assert_eq!(refused(&path, Some("no-such-group")), "group no-such-group not found");
        drop(bind_unix(&path, Some("root")).unwrap());
        fs::create_dir(&path).unwrap();
        assert!(refused(&path, Some("0")).ends_with("is a directory"));
    }
}
