//! Connections to receivers, and what is known of the bytes that are on their way.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::Tls;

/// For one attempt to connect; a peer that drops packets would take two minutes.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Where a host's own syslog listens, in the order in which it is looked for.
const SYSTEM_LOGS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// Where a receiver is.
#[derive(Debug, Clone)]
pub(crate) enum Endpoint {
    Tcp {
        host: String,
        port: u16,
    },
    Tls {
        host: String,
        port: u16,
        tls: Tls,
    },
    Udp {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
    Datagram(PathBuf),
    /// The host's own syslog.
    SystemLog,
}

#[derive(Debug)]
pub(crate) enum Connection {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
    Udp(UdpSocket),
    Datagram(UnixDatagram),
}

impl Endpoint {
    /// Connects; an error has the words of Go's library, which people search for.
    pub async fn connect(&self) -> io::Result<Connection> {
        match tokio::time::timeout(CONNECT_LIMIT, self.dial()).await {
            Ok(connected) => connected,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("dial {}: i/o timeout", self.name()))),
        }
    }

    async fn dial(&self) -> io::Result<Connection> {
        match self {
            Self::Tcp { host, port } => dial_tcp(host, *port).await.map(Connection::Tcp),
            Self::Tls { host, port, tls } => {
                let connector = TlsConnector::from(Arc::new(tls.settings()?));
                let stream = dial_tcp(host, *port).await?;
                let name = ServerName::try_from(host.clone())
                    .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "tls: invalid server name"))?;
                let stream = connector.connect(name, stream).await;
                let stream = stream.map_err(|error| named(&error, format!("tls: {}", lower(&error))))?;
                Ok(Connection::Tls(Box::new(stream)))
            }
            Self::Udp { host, port } => dial_udp(host, *port).await.map(Connection::Udp),
            Self::Unix(path) => dial_unix(path).await.map(Connection::Unix),
            Self::Datagram(path) => dial_datagram(path).map(Connection::Datagram),
            Self::SystemLog => dial_system_log().await,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Tcp { host, port } | Self::Tls { host, port, .. } => format!("tcp {}", joined(host, *port)),
            Self::Udp { host, port } => format!("udp {}", joined(host, *port)),
            Self::Unix(path) => format!("unix {}", path.display()),
            Self::Datagram(path) => format!("unixgram {}", path.display()),
            Self::SystemLog => "unixgram".to_owned(),
        }
    }
}

fn joined(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

async fn addresses(network: &str, host: &str) -> io::Result<Vec<IpAddr>> {
    resolver::resolve(host).await.map_err(|error| named(&error, format!("dial {network}: {error}")))
}

async fn dial_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, format!("dial tcp: lookup {host}: no such host"));
    for address in addresses("tcp", host).await? {
        let address = SocketAddr::new(address, port);
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = named(&error, format!("dial tcp {address}: connect: {}", lower(&error))),
        }
    }
    Err(failure)
}

async fn dial_udp(host: &str, port: u16) -> io::Result<UdpSocket> {
    let first = addresses("udp", host).await?.first().copied();
    let first = first.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "dial udp: no such host"))?;
    let any: SocketAddr = if first.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
    let address = SocketAddr::new(first, port);
    let connect = async {
        let socket = UdpSocket::bind(any).await?;
        socket.connect(address).await?;
        Ok(socket)
    };
    connect.await.map_err(|error: io::Error| named(&error, format!("dial udp {address}: connect: {}", lower(&error))))
}

async fn dial_unix(path: &Path) -> io::Result<UnixStream> {
    let connected = UnixStream::connect(path).await;
    connected.map_err(|error| named(&error, format!("dial unix {}: connect: {}", path.display(), lower(&error))))
}

fn dial_datagram(path: &Path) -> io::Result<UnixDatagram> {
    let connect = || {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(socket)
    };
    connect().map_err(|error: io::Error| {
        named(&error, format!("dial unixgram {}: connect: {}", path.display(), lower(&error)))
    })
}

async fn dial_system_log() -> io::Result<Connection> {
    for path in SYSTEM_LOGS.map(Path::new) {
        if let Ok(socket) = dial_datagram(path) {
            return Ok(Connection::Datagram(socket));
        }
    }
    for path in SYSTEM_LOGS.map(Path::new) {
        if let Ok(socket) = dial_unix(path).await {
            return Ok(Connection::Unix(socket));
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "Unix syslog delivery error"))
}

impl Connection {
    /// Whether each message is sent by itself.
    pub fn is_datagram(&self) -> bool {
        matches!(self, Self::Udp(_) | Self::Datagram(_))
    }

    /// Whether the network may drop what is sent too fast.
    pub fn is_lossy(&self) -> bool {
        matches!(self, Self::Udp(_))
    }

    /// Hands bytes of a stream to the kernel, all of them.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes).await,
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Self::Unix(stream) => stream.write_all(bytes).await,
            Self::Udp(_) | Self::Datagram(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Sends one message. What is too large for a datagram goes by a sealed file in memory, as journald has it.
    pub async fn send(&self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(message).await.map(drop),
            Self::Datagram(socket) => match socket.send(message).await {
                Err(error) if is_too_large(&error) => send_file(socket, message).await,
                other => other.map(drop),
            },
            Self::Tcp(_) | Self::Tls(_) | Self::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// What a receiver answers; an error at its end.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self {
            Self::Tcp(stream) => stream.read(buffer).await?,
            Self::Tls(stream) => stream.read(buffer).await?,
            Self::Unix(stream) => stream.read(buffer).await?,
            Self::Udp(_) | Self::Datagram(_) => 0,
        };
        if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(count) }
    }

    /// Whether everything that was sent has arrived, as far as the kernel can tell: at the peer's kernel for TCP (tcp(7),
    /// SIOCOUTQ), at the reader for Unix sockets, nowhere for UDP. An error if it never will.
    pub fn has_arrived(&self) -> io::Result<bool> {
        let (unsent, error) = match self {
            Self::Tcp(stream) => (sys::socket::unsent(stream.as_raw_fd()), stream.take_error()?),
            Self::Tls(stream) => {
                let stream = stream.get_ref().0;
                (sys::socket::unsent(stream.as_raw_fd()), stream.take_error()?)
            }
            Self::Unix(stream) => (sys::socket::unsent(stream.as_raw_fd()), stream.take_error()?),
            Self::Udp(socket) => (Ok(0), socket.take_error()?),
            Self::Datagram(socket) => (Ok(0), socket.take_error()?),
        };
        match error {
            Some(error) => Err(error),
            None => Ok(unsent? == 0),
        }
    }

    /// Whether the peer has hung up: what is written now would be lost. Whatever it says is dropped.
    pub fn is_closed(&self) -> bool {
        let mut buffer = [0; 512];
        let read = match self {
            Self::Tcp(stream) => stream.try_read(&mut buffer),
            Self::Tls(stream) => stream.get_ref().0.try_io(Interest::READABLE, || peek(stream.get_ref().0.as_fd())),
            Self::Unix(stream) => stream.try_read(&mut buffer),
            Self::Udp(_) | Self::Datagram(_) => return false,
        };
        match read {
            Ok(count) => count == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

/// Records of TLS are its own to read.
fn peek(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut byte = [0];
    let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
    Ok(rustix::net::recv(socket, &mut byte[..], flags)?.1)
}

pub(crate) fn is_too_large(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MSGSIZE | Errno::NOBUFS))
}

async fn send_file(socket: &UnixDatagram, message: &[u8]) -> io::Result<()> {
    let file = memfd_create("log-message", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = std::fs::File::from(file);
    io::Write::write_all(&mut file, message)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    let files = [file.as_fd()];
    socket
        .async_io(Interest::WRITABLE, || {
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            ancillary.push(SendAncillaryMessage::ScmRights(&files));
            rustix::net::sendmsg(socket, &[], &mut ancillary, SendFlags::NOSIGNAL)?;
            Ok(())
        })
        .await
}

pub(crate) fn named(error: &io::Error, text: String) -> io::Error {
    io::Error::new(error.kind(), text)
}

/// `connection refused`, as Go writes it.
pub(crate) fn lower(error: &io::Error) -> String {
    let text = error.to_string().to_ascii_lowercase();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
    use std::io::{IoSliceMut, Read};

    #[tokio::test]
    async fn a_message_that_no_datagram_holds_goes_by_a_sealed_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let receiver = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        let connection = Endpoint::Datagram(path).connect().await.unwrap();
        let message = vec![b'x'; 4 << 20];
        connection.send(&message).await.unwrap();
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let parts = &mut [IoSliceMut::new(&mut byte)];
        assert_eq!(rustix::net::recvmsg(&receiver, parts, &mut ancillary, RecvFlags::empty()).unwrap().bytes, 0);
        let Some(RecvAncillaryMessage::ScmRights(mut files)) = ancillary.drain().next() else { panic!("no file") };
        let file = std::fs::File::from(files.next().unwrap());
        assert!(rustix::fs::fcntl_get_seals(&file).unwrap().contains(SealFlags::WRITE));
        // The descriptor shares its position with the sender's.
        let mut file = std::fs::File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        let mut seen = Vec::new();
        file.read_to_end(&mut seen).unwrap();
        assert!(seen == message);
    }
}
