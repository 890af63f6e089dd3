//! Connections to a daemon: a socket, TCP, TLS, or a program that passes bytes on.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::Error;
use crate::host::{Host, split_port};
use crate::program::Program;
use crate::proxy::Proxy;
use crate::tls::Tls;

/// How long a TCP connection may take to be made, the handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A daemon and how to reach it.
#[derive(Debug, Default)]
pub struct Endpoint {
    host: Option<Host>,
    tls: Option<Tls>,
    settings: OnceLock<Arc<ClientConfig>>,
    proxy: Option<Proxy>,
}

impl From<Host> for Endpoint {
    fn from(host: Host) -> Self {
        Self { host: Some(host), ..Self::default() }
    }
}

impl Endpoint {
    /// With TLS, whose certificates and keys are read at once so that a wrong file is told before anything is sent.
    pub fn with_tls(host: Host, tls: Tls) -> Result<Self, Error> {
        let settings = OnceLock::new();
        if matches!(host, Host::Tcp { .. }) && (tls.ca.is_some() || tls.cert.is_some() || tls.skip_verify) {
            let made = Arc::new(tls.settings()?);
            settings.get_or_init(|| made);
        }
        Ok(Self { host: Some(host), tls: Some(tls), settings, proxy: None })
    }

    pub fn host(&self) -> &Host {
        const NOBODY: &Host = &Host::Unix(std::path::PathBuf::new());
        self.host.as_ref().unwrap_or(NOBODY)
    }

    /// Of the URLs that errors name.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.is_secure() { "https" } else { "http" }
    }

    fn is_secure(&self) -> bool {
        self.tls.is_some() && matches!(self.host, Some(Host::Tcp { .. }))
    }

    /// Through the proxy that these variables of the environment name for this daemon; sockets and programs have none.
    pub fn through_proxy(mut self, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        if let Host::Tcp { authority, .. } = self.host() {
            let proxy =
                Proxy::of(self.scheme(), authority, variable).map_err(|error| Error::Host(error.to_string()))?;
            self.proxy = proxy;
        }
        Ok(self)
    }

    pub(crate) fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// To the daemon itself.
    pub(crate) async fn connect(&self) -> io::Result<Stream> {
        self.connect_by(None).await
    }

    /// To the daemon, or to where requests for it go first.
    pub(crate) async fn connect_by(&self, proxy: Option<&Proxy>) -> io::Result<Stream> {
        match self.host() {
            Host::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
            Host::Ssh(ssh) => Ok(Stream::Program(Box::new(Program::start(ssh)?))),
            Host::Tcp { authority, .. } => {
                let connect = self.connect_tcp(authority, proxy);
                let timed = tokio::time::timeout(CONNECT_TIMEOUT, connect).await;
                timed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    async fn connect_tcp(&self, authority: &str, proxy: Option<&Proxy>) -> io::Result<Stream> {
        let (name, port) = split_port(authority);
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let mut stream = match proxy {
            Some(proxy) => dial(&proxy.name, &proxy.port)
                .await
                .map_err(|error| io::Error::new(error.kind(), format!("proxyconnect tcp: {error}")))?,
            None => dial(name, port).await?,
        };
        stream.set_nodelay(true)?;
        if let (Some(proxy), true) = (proxy, self.is_secure()) {
            proxy.tunnel(&mut stream, authority).await?;
        }
        let Some(tls) = &self.tls else { return Ok(Stream::Tcp(stream)) };
        let settings = match self.settings.get() {
            Some(made) => made.clone(),
            None => {
                let made = Arc::new(tls.settings().map_err(io::Error::other)?);
                self.settings.get_or_init(|| made).clone()
            }
        };
        let server = match name.parse::<IpAddr>() {
            Ok(address) => ServerName::from(address),
            Err(_) => ServerName::try_from(name.to_owned())
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "invalid host name for TLS"))?,
        };
        let stream = TlsConnector::from(settings).connect(server, stream).await;
        let stream = stream.map_err(|error| io::Error::new(error.kind(), tls_trust::handshake_words(&error, name)))?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

/// Every address of the name in turn.
async fn dial(name: &str, port: &str) -> io::Result<TcpStream> {
    let told = |error: &io::Error, text: String| io::Error::new(error.kind(), format!("dial tcp{text}"));
    let port: u16 = port
        .parse()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("dial tcp: address {port}: invalid port")))?;
    let addresses = resolver::resolve(name).await.map_err(|error| told(&error, format!(": {error}")))?;
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        let address = SocketAddr::new(address, port);
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = told(&error, format!(" {address}: connect: {}", words(&error))),
        }
    }
    Err(failure)
}

/// The system's words for an error, as Go prints them.
pub(crate) fn words(error: &io::Error) -> String {
    let text = error.to_string().to_lowercase();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// A connection of any kind.
#[derive(Debug)]
pub(crate) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Program(Box<Program>),
}

/// The same call on whichever stream it is.
macro_rules! each {
    ($stream:expr, $method:ident, $($argument:expr),*) => {
        match $stream.get_mut() {
            Stream::Unix(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Tls(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Program(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, poll_read, cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, poll_write, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, poll_flush, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, poll_shutdown, cx)
    }
}
