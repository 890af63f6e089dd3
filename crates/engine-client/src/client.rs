//! The client: one daemon, one version, connections as needed.

use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use engine_api::system::ping;
use engine_api::{ApiVersion, ErrorResponse};
use http::header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;

use crate::body::{Body, Upload};
use crate::error::Error;
use crate::hijack::Duplex;
use crate::host::{Host, Stream};
use crate::request::{Payload, Request};

/// Largest answer that is read into memory: a list of ten thousand containers has about 30 MB.
const MAX_ANSWER: usize = 256 << 20;
/// Largest error body that is looked at.
const MAX_ERROR: usize = 1 << 20;

/// Which version requests carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionChoice {
    /// `DOCKER_API_VERSION`: this one, unasked.
    Pinned(ApiVersion),
    /// The lower of the daemon's newest and ours.
    Negotiate,
}

/// What a ping tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ping {
    pub api_version: Option<ApiVersion>,
    pub os_type: String,
    pub experimental: bool,
}

/// One daemon. Cheap to make; cloned never, shared by reference.
#[derive(Debug)]
pub struct Client {
    host: Host,
    user_agent: String,
    version: OnceLock<ApiVersion>,
    ping: OnceLock<Ping>,
    /// A connection whose last answer was read to its end.
    idle: Mutex<Option<SendRequest<Upload>>>,
}

impl Client {
    /// Does not connect.
    pub fn new(host: Host, choice: VersionChoice, user_agent: impl Into<String>) -> Self {
        let version = OnceLock::new();
        if let VersionChoice::Pinned(pinned) = choice {
            version.get_or_init(|| pinned);
        }
        let user_agent = user_agent.into();
        Self { host, user_agent, version, ping: OnceLock::new(), idle: Mutex::new(None) }
    }

    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The version that requests carry; asks the daemon the first time.
    pub async fn version(&self) -> Result<ApiVersion, Error> {
        if let Some(version) = self.version.get() {
            return Ok(*version);
        }
        let theirs = match self.ping().await {
            Ok(ping) => ping.api_version,
            // The request itself fails in the same way, and its error names what was asked.
            Err(Error::Connect { .. } | Error::Permission { .. }) => return Ok(ApiVersion::MAX),
            Err(error) => return Err(error),
        };
        Ok(*self.version.get_or_init(|| ApiVersion::MAX.negotiate(theirs)))
    }

    /// What the daemon says of itself in headers; asked once.
    pub async fn ping(&self) -> Result<&Ping, Error> {
        if let Some(ping) = self.ping.get() {
            return Ok(ping);
        }
        let (response, connection) = self.dispatch(Request::new(Method::HEAD, "/_ping"), "/_ping").await?;
        let ping = read_ping(response.headers());
        collect(response.into_body(), MAX_ERROR).await?;
        self.keep(connection);
        Ok(self.ping.get_or_init(|| ping))
    }

    /// A request whose answer is JSON.
    pub async fn call<T: DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        let bytes = self.bytes(request).await?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Decode(error.to_string()))
    }

    /// A request whose answer is not looked into.
    pub async fn send(&self, request: Request) -> Result<StatusCode, Error> {
        let (response, connection) = self.exchange(request).await?;
        let status = response.status();
        collect(response.into_body(), MAX_ERROR).await?;
        self.keep(connection);
        Ok(status)
    }

    /// A request whose answer is kept as it came.
    pub async fn bytes(&self, request: Request) -> Result<Bytes, Error> {
        let (response, connection) = self.exchange(request).await?;
        let bytes = collect(response.into_body(), MAX_ANSWER).await?;
        self.keep(connection);
        Ok(bytes)
    }

    /// A request whose answer goes on.
    pub async fn stream(&self, request: Request) -> Result<Body, Error> {
        let (response, _) = self.exchange(request).await?;
        let content_type = content_type(response.headers());
        Ok(Body::new(response.into_body(), content_type))
    }

    /// A request that turns its connection into a stream both ways.
    pub async fn hijack(&self, mut request: Request) -> Result<Duplex, Error> {
        request.headers.push((CONNECTION, HeaderValue::from_static("Upgrade")));
        request.headers.push((UPGRADE, HeaderValue::from_static("tcp")));
        let (mut response, _) = self.exchange(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::NotUpgraded(response.status().as_u16()));
        }
        let content_type = content_type(response.headers());
        let upgraded = hyper::upgrade::on(&mut response).await?;
        let parts = upgraded
            .downcast::<TokioIo<Stream>>()
            .map_err(|_| Error::Http("the connection is of another kind".to_owned()))?;
        Ok(Duplex::new(parts.io.into_inner(), parts.read_buf, &content_type))
    }

    /// Sends with the version in the path; an answer that is a refusal is an error.
    async fn exchange(&self, request: Request) -> Result<(Response<Incoming>, SendRequest<Upload>), Error> {
        let version = self.version().await?;
        let path = format!("/v{version}{}", request.path);
        let (response, connection) = self.dispatch(request, &path).await?;
        Ok((accept(response).await?, connection))
    }

    /// Sends on the idle connection, or on a new one.
    async fn dispatch(&self, request: Request, path: &str) -> Result<(Response<Incoming>, SendRequest<Upload>), Error> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut connection = match self.still_open(kept).await {
            Some(kept) => kept,
            None => self.connect(&request.method, path).await?,
        };
        let response = connection.send_request(self.head(request, path)?).await?;
        Ok((response, connection))
    }

    async fn still_open(&self, kept: Option<SendRequest<Upload>>) -> Option<SendRequest<Upload>> {
        let mut kept = kept?;
        kept.ready().await.is_ok().then_some(kept)
    }

    fn head(&self, request: Request, path: &str) -> Result<http::Request<Upload>, Error> {
        let separator = if request.query.is_empty() { "" } else { "?" };
        let target = format!("{}{path}{separator}{}", self.host.base(), request.query);
        let has_json = matches!(request.payload, Payload::Json(_));
        let mut builder = http::Request::builder()
            .method(request.method)
            .uri(target)
            .header(HOST, self.host.authority())
            .header(USER_AGENT, &self.user_agent);
        if has_json {
            builder = builder.header(CONTENT_TYPE, "application/json");
        } else if matches!(request.payload, Payload::Stream(_)) {
            builder = builder.header(CONTENT_TYPE, "text/plain");
        }
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        builder.body(Upload::from(request.payload)).map_err(|error| Error::Http(error.to_string()))
    }

    async fn connect(&self, method: &Method, path: &str) -> Result<SendRequest<Upload>, Error> {
        let stream = self.host.connect().await.map_err(|error| self.refused(error, method, path))?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // The task ends with its connection; whoever waits for an answer sees the error.
        tokio::spawn(async move {
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }

    fn refused(&self, source: io::Error, method: &Method, path: &str) -> Error {
        let host = self.host.to_string();
        match (&self.host, source.kind()) {
            (Host::Unix(socket), io::ErrorKind::PermissionDenied) => Error::Permission {
                socket: socket.display().to_string(),
                host,
                // Go names the method in one word of title case.
                method: title(method.as_str()),
                authority: crate::request::escape_all(&socket.to_string_lossy()),
                path: path.to_owned(),
            },
            _ => Error::Connect { host, source },
        }
    }

    fn keep(&self, connection: SendRequest<Upload>) {
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
    }
}

/// `HEAD` to `Head`.
fn title(method: &str) -> String {
    let lower = method.to_ascii_lowercase();
    lower.get(..1).map(str::to_ascii_uppercase).unwrap_or_default() + lower.get(1..).unwrap_or_default()
}

fn read_ping(headers: &HeaderMap) -> Ping {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Ping {
        api_version: ApiVersion::parse(text(ping::API_VERSION)).ok(),
        os_type: text(ping::OS_TYPE).to_owned(),
        experimental: text(ping::EXPERIMENTAL) == "true",
    }
}

fn content_type(headers: &HeaderMap) -> String {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// The answer, or the daemon's words when it refused.
async fn accept(response: Response<Incoming>) -> Result<Response<Incoming>, Error> {
    let status = response.status();
    if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS || status == StatusCode::NOT_MODIFIED {
        return Ok(response);
    }
    let body = collect(response.into_body(), MAX_ERROR).await?;
    let message = match serde_json::from_slice::<ErrorResponse>(&body) {
        Ok(error) if !error.message.is_empty() => error.message,
        _ => match String::from_utf8_lossy(&body).trim() {
            "" => format!("request returned {status} without an error message"),
            text => text.to_owned(),
        },
    };
    Err(Error::Daemon { status: status.as_u16(), message: message.trim().to_owned() })
}

async fn collect(body: Incoming, limit: usize) -> Result<Bytes, Error> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::TooLarge(limit)),
        Err(error) => Err(Error::Http(error.to_string())),
    }
}
