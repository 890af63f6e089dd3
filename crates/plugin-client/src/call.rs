//! One plugin: its activation, once, and its calls.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout};

use crate::{Address, PluginError, Tls, tls};

const CONNECT_PAUSE: Duration = Duration::from_millis(100);
/// How long a call may take.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// The largest answer that is read.
const MAX_ANSWER: usize = 8 << 20;
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.docker.plugins.v1.2+json");
const ACTIVATE: &str = "Plugin.Activate";

/// A plugin that was found; activated before its first call.
#[derive(Debug)]
pub struct Plugin {
    name: String,
    address: Address,
    patience: Duration,
    implements: OnceCell<Vec<String>>,
    tls: OnceCell<Arc<ClientConfig>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Manifest {
    implements: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Remote {
    #[serde(rename = "Err", default)]
    error: String,
}

impl Plugin {
    pub(crate) fn new(name: &str, address: Address, patience: Duration) -> Self {
        Self { name: name.to_owned(), address, patience, implements: OnceCell::new(), tls: OnceCell::new() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Shakes hands, once; an error unless the plugin is of this kind (`authz`, `VolumeDriver`, `NetworkDriver`).
    pub async fn activate(&self, wanted: &'static str) -> Result<(), PluginError> {
        let implements = self
            .implements
            .get_or_try_init(|| async {
                let manifest: Manifest = self.post(ACTIVATE, Bytes::new(), CALL_LIMIT).await?;
                Ok::<_, PluginError>(manifest.implements.unwrap_or_default())
            })
            .await?;
        if implements.iter().any(|kind| kind == wanted) {
            return Ok(());
        }
        Err(PluginError::NotImplemented { name: self.name.clone(), wanted })
    }

    /// One call: JSON there and back.
    pub async fn call<A: Serialize, B: DeserializeOwned>(&self, method: &str, argument: &A) -> Result<B, PluginError> {
        self.call_within(method, argument, CALL_LIMIT).await
    }

    /// The same for what may take longer, or must not.
    pub async fn call_within<A: Serialize, B: DeserializeOwned>(
        &self,
        method: &str,
        argument: &A,
        limit: Duration,
    ) -> Result<B, PluginError> {
        let body = serde_json::to_vec(argument).map_err(|error| unreadable(method, error))?;
        self.post(method, Bytes::from(body), limit).await
    }

    async fn tls_settings(&self, tls: &Tls) -> Result<Arc<ClientConfig>, PluginError> {
        let wrong = |why| PluginError::Address { name: self.name.clone(), why };
        let made = self.tls.get_or_try_init(|| async { tls.settings().map_err(wrong) }).await;
        made.map(Arc::clone)
    }

    async fn post<B: DeserializeOwned>(&self, method: &str, body: Bytes, limit: Duration) -> Result<B, PluginError> {
        let exchange = async {
            let response = match &self.address {
                Address::Unix(path) => {
                    send(connect(method, self.patience, || UnixStream::connect(path)).await?, method, body).await
                }
                Address::Tcp(address) => {
                    send(connect(method, self.patience, || TcpStream::connect(address.as_str())).await?, method, body)
                        .await
                }
                Address::Tls(address, tls) => {
                    let settings = self.tls_settings(tls).await?;
                    let stream = connect(method, self.patience, || TcpStream::connect(address.as_str())).await?;
                    let unreachable = |source| PluginError::Unreachable { method: method.to_owned(), source };
                    let stream = tls::shake_hands(settings, address, stream).await.map_err(unreachable)?;
                    send(stream, method, body).await
                }
            }?;
            let status = response.status();
            let answer = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let bytes = answer.map_err(|error| unreadable(method, error))?.to_bytes();
            Ok((status, bytes))
        };
        let late = |_| PluginError::Late { method: method.to_owned() };
        let (status, bytes) = timeout(limit, exchange).await.map_err(late)??;
        match status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => {
                return Err(PluginError::Unknown { method: method.to_owned(), message: remote_error(&bytes) });
            }
            _ => return Err(PluginError::Refused { method: method.to_owned(), message: remote_error(&bytes) }),
        }
        serde_json::from_slice(&bytes).map_err(|error| unreadable(method, error))
    }
}

/// `{"Err":"…"}`, or whatever else the plugin wrote.
fn remote_error(bytes: &[u8]) -> String {
    match serde_json::from_slice::<Remote>(bytes) {
        Ok(remote) if !remote.error.is_empty() => remote.error,
        _ => String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]).trim().to_owned(),
    }
}

fn unreadable(method: &str, error: impl std::fmt::Display) -> PluginError {
    PluginError::Answer { method: method.to_owned(), why: error.to_string() }
}

async fn connect<S, F: Future<Output = io::Result<S>>>(
    method: &str,
    patience: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<S, PluginError> {
    let end = Instant::now() + patience;
    loop {
        match attempt().await {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() >= end => {
                return Err(PluginError::Unreachable { method: method.to_owned(), source: error });
            }
            Err(_) => sleep(CONNECT_PAUSE).await,
        }
    }
}

async fn send<S>(stream: S, method: &str, body: Bytes) -> Result<Response<Incoming>, PluginError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed =
        |error: hyper::Error| PluginError::Unreachable { method: method.to_owned(), source: io::Error::other(error) };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // It ends with the exchange; what went wrong is told by the exchange itself.
    tokio::spawn(async move { drop(connection.await) });
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("/{method}").parse().map_err(|error| unreadable(method, error))?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("plugin"));
    headers.insert(ACCEPT, MEDIA_TYPE);
    headers.insert(CONTENT_TYPE, MEDIA_TYPE);
    sender.send_request(request).await.map_err(failed)
}
