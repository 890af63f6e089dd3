//! Sockets that never block, and the short visit to another namespace in which some are made.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use network_core::Protocol;
use nix::sched::{CloneFlags, setns};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, ipproto, listen, socket_with, sockopt};

const BACKLOG: i32 = 1024;

/// A socket that takes connections: of TCP, or of SCTP in its one-to-one style (sctp(7)).
pub(crate) fn listener(address: SocketAddr, protocol: Protocol) -> io::Result<TcpListener> {
    let socket = open(address, SocketType::STREAM, protocol)?;
    // A port whose last connections are in TIME_WAIT is free; a listening one is not.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

pub(crate) fn udp_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(address, SocketType::DGRAM, Protocol::Udp)?;
    bind(&socket, &address)?;
    Ok(socket.into())
}

/// A datagram socket on a port of the kernel's choice that hears only this peer.
pub(crate) fn udp_to(peer: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(peer, SocketType::DGRAM, Protocol::Udp)?;
    connect(&socket, &peer)?;
    Ok(socket.into())
}

/// A connection under way; it becomes writable when it stands or has failed.
pub(crate) fn connect_to(peer: SocketAddr, protocol: Protocol) -> io::Result<TcpStream> {
    let socket = open(peer, SocketType::STREAM, protocol)?;
    match connect(&socket, &peer) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket.into()),
        Err(errno) => Err(errno.into()),
    }
}

fn open(address: SocketAddr, kind: SocketType, protocol: Protocol) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    // Without a number a kind of socket means TCP or UDP.
    let number = (protocol == Protocol::Sctp).then_some(ipproto::SCTP);
    let socket = socket_with(family, kind, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, number)?;
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
