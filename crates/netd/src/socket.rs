//! Sockets that never block, and the short visit to another namespace in which some are made.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, listen, socket_with, sockopt};

const BACKLOG: i32 = 1024;

pub(crate) fn tcp_listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(address, SocketType::STREAM)?;
    // A port whose last connections are in TIME_WAIT is free; a listening one is not.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

pub(crate) fn udp_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(address, SocketType::DGRAM)?;
    bind(&socket, &address)?;
    Ok(socket.into())
}

/// A datagram socket on a port of the kernel's choice that hears only this peer.
pub(crate) fn udp_to(peer: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(peer, SocketType::DGRAM)?;
    connect(&socket, &peer)?;
    Ok(socket.into())
}

/// A connection under way; it becomes writable when it stands or has failed.
pub(crate) fn tcp_to(peer: SocketAddr) -> io::Result<TcpStream> {
    let socket = open(peer, SocketType::STREAM)?;
    match connect(&socket, &peer) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket.into()),
        Err(errno) => Err(errno.into()),
    }
}

fn open(address: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, kind, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        // The same port of IPv4 has a socket of its own.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    Ok(socket)
}

/// The namespace that this process lives in, to come back to.
pub(crate) struct Home(File);

impl Home {
    pub(crate) fn remember() -> io::Result<Self> {
        Ok(Self(File::open("/proc/thread-self/ns/net")?))
    }

    /// Runs `work` inside the namespace at `path`. There is one thread, so that nothing else runs there meanwhile.
    pub(crate) fn visit<T>(&self, path: &Path, work: impl FnOnce() -> T) -> io::Result<T> {
        let there = File::open(path)?;
        setns(there.as_fd(), CloneFlags::CLONE_NEWNET)?;
        let result = work();
        if let Err(errno) = setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET) {
            // Going on would bind the host's ports inside a container.
            eprintln!("docker-netd: cannot return from namespace {}: {errno}", path.display());
            std::process::abort();
        }
        Ok(result)
    }
}
