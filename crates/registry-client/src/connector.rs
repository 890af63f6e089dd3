//! Opens connections for hyper: our resolver, every address in turn, by way of a proxy where one is set, TLS where the URL
//! says https.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::credentials::Secret;
use crate::endpoint::host_of;
use crate::proxy::{Proxies, Proxy, ProxyKind};
use crate::socks;

/// Bytes of the head of a proxy's answer.
const MAX_PROXY_ANSWER: usize = 16 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Makes the TLS settings when the first https connection needs them: reading the system's certificates takes a while.
type MakeTls = dyn Fn() -> io::Result<ClientConfig> + Send + Sync;

/// What is to be reached, and whether over TLS.
struct Target<'a> {
    host: &'a str,
    port: u16,
    secure: bool,
}

#[derive(Clone)]
pub(crate) struct Connector {
    proxies: Arc<Proxies>,
    tls: Arc<OnceLock<Arc<ClientConfig>>>,
    make_tls: Arc<MakeTls>,
}

impl Connector {
    pub fn new(proxies: Proxies, make_tls: impl Fn() -> io::Result<ClientConfig> + Send + Sync + 'static) -> Self {
        Self { proxies: Arc::new(proxies), tls: Arc::default(), make_tls: Arc::new(make_tls) }
    }

    /// What a request that is not encrypted says to its proxy.
    pub fn proxy_authorization(&self, uri: &Uri) -> Option<Secret> {
        if uri.scheme_str() != Some("http") {
            return None;
        }
        let host = host_of(uri.authority()?.as_str());
        let proxy = self.proxies.towards(false, host, uri.port_u16().unwrap_or(80)).ok()??;
        // A SOCKS proxy never sees requests.
        let login = proxy.login.filter(|_| proxy.kind != ProxyKind::Socks5)?;
        Some(login.basic())
    }

    fn tls(&self) -> io::Result<Arc<ClientConfig>> {
        match self.tls.get() {
            Some(made) => Ok(made.clone()),
            None => {
                let made = Arc::new((self.make_tls)()?);
                Ok(self.tls.get_or_init(|| made).clone())
            }
        }
    }

    async fn connect(self, uri: Uri) -> io::Result<TokioIo<Stream>> {
        let secure = uri.scheme_str() == Some("https");
        let host = host_of(uri.authority().map_or("", |authority| authority.as_str())).to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let connect = async {
            let proxy = self.proxies.towards(secure, &host, port);
            let proxy = proxy.map_err(|reason| io::Error::new(io::ErrorKind::InvalidInput, reason))?;
            let (stream, proxied): (Pipe, bool) = match &proxy {
                None => (Box::new(open(&host, port).await?), false),
                Some(proxy) => self.through(proxy, &Target { host: &host, port, secure }).await?,
            };
            if !secure {
                return Ok(TokioIo::new(Stream { pipe: stream, proxied }));
            }
            let stream = encrypt(self.tls()?, &host, stream).await?;
            // Through a tunnel the server is spoken to as if there was no proxy.
            Ok(TokioIo::new(Stream { pipe: stream, proxied: false }))
        };
        let timed = tokio::time::timeout(CONNECT_TIMEOUT, connect).await;
        timed.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("dial tcp {host}:{port}: i/o timeout")))
        })
    }
}

impl Connector {
    /// A connection by way of a proxy, and whether it is the proxy that reads the requests on it.
    async fn through(&self, proxy: &Proxy, target: &Target<'_>) -> io::Result<(Pipe, bool)> {
        let mut stream: Pipe = Box::new(open(&proxy.host, proxy.port).await?);
        if proxy.kind == ProxyKind::Socks5 {
            socks::connect(&mut stream, proxy, target.host, target.port).await?;
            return Ok((stream, false));
        }
        if proxy.kind == ProxyKind::Https {
            let builder = tls_trust::builder().map_err(|error| io::Error::other(error.to_string()))?;
            let trusting = builder.with_root_certificates(tls_trust::system_roots()).with_no_client_auth();
            stream = encrypt(Arc::new(trusting), &proxy.host, stream).await?;
        }
        if target.secure {
            tunnel(&mut stream, proxy, target.host, target.port).await?;
        }
        Ok((stream, true))
    }
}

async fn open(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = dial(host, port).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn encrypt(tls: Arc<ClientConfig>, host: &str, stream: Pipe) -> io::Result<Pipe> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "invalid host name for TLS"))?;
    let stream = TlsConnector::from(tls).connect(name, stream).await.map_err(|error| tls_error(&error, host))?;
    Ok(Box::new(stream))
}

/// Asks a proxy to pass bytes on (RFC 9110, CONNECT).
async fn tunnel(stream: &mut Pipe, proxy: &Proxy, host: &str, port: u16) -> io::Result<()> {
    let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let authorization = proxy.login.as_ref().map(|login| login.basic());
    let authorization = authorization.map(|value| format!("Proxy-Authorization: {}\r\n", value.reveal()));
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{}\r\n", authorization.unwrap_or_default());
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // A byte at a time: what follows the head is the server's.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= MAX_PROXY_ANSWER {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the proxy's answer is too long"));
        }
        answer.push(stream.read_u8().await?);
    }
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line).into_owned();
    match line.split(' ').nth(1) {
        Some(status) if status.len() == 3 && status.starts_with('2') => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::ConnectionRefused, format!("proxy {}: {line}", proxy.host))),
    }
}

async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = resolver::resolve(host).await.map_err(|error| named(&error, format!("dial tcp: {error}")))?;
    let mut failure = io::Error::new(io::ErrorKind::NotFound, format!("dial tcp: lookup {host}: no such host"));
    for address in addresses {
        let address = SocketAddr::new(address, port);
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = named(&error, format!("dial tcp {address}: connect: {}", lower(&error))),
        }
    }
    Err(failure)
}

fn named(error: &io::Error, text: String) -> io::Error {
    io::Error::new(error.kind(), text)
}

/// `connection refused`, as Go writes it.
fn lower(error: &io::Error) -> String {
    let text = error.to_string().to_ascii_lowercase();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn tls_error(error: &io::Error, host: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, tls_trust::handshake_words(error, host))
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// Any connection.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

type Pipe = Box<dyn Duplex>;

/// A connection to a server, or to a proxy that is asked for whole URLs.
pub(crate) struct Stream {
    pipe: Pipe,
    proxied: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.proxied)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().pipe).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().pipe).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().pipe).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().pipe).poll_shutdown(cx)
    }
}
