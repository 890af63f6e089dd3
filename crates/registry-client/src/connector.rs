//! Opens connections for hyper: our resolver, every address in turn, TLS where the URL says https.

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
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use crate::endpoint::host_of;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Makes the TLS settings when the first https connection needs them: reading the system's certificates takes a while.
type MakeTls = dyn Fn() -> io::Result<ClientConfig> + Send + Sync;

#[derive(Clone)]
pub(crate) struct Connector {
    tls: Arc<OnceLock<Arc<ClientConfig>>>,
    make_tls: Arc<MakeTls>,
}

impl Connector {
    pub fn new(make_tls: impl Fn() -> io::Result<ClientConfig> + Send + Sync + 'static) -> Self {
        Self { tls: Arc::default(), make_tls: Arc::new(make_tls) }
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
            let stream = dial(&host, port).await?;
            stream.set_nodelay(true)?;
            if !secure {
                return Ok(TokioIo::new(Stream::Plain(stream)));
            }
            let tls = self.tls()?;
            let name = ServerName::try_from(host.clone())
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "invalid host name for TLS"))?;
            let stream = TlsConnector::from(tls).connect(name, stream).await.map_err(|error| tls_error(&error))?;
            Ok(TokioIo::new(Stream::Tls(Box::new(stream))))
        };
        let timed = tokio::time::timeout(CONNECT_TIMEOUT, connect).await;
        timed.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("dial tcp {host}:{port}: i/o timeout")))
        })
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

fn tls_error(error: &io::Error) -> io::Error {
    // A server that speaks plain HTTP answers a greeting with text: rustls sees a corrupt message.
    io::Error::new(io::ErrorKind::InvalidData, format!("tls: {error}"))
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

pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
