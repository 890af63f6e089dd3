//! The client: one daemon, one version, connections as needed.

use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use engine_api::system::ping;
use engine_api::{ApiVersion, ErrorResponse};
use http::header::{CONNECTION, CONTENT_TYPE, HOST, PROXY_AUTHORIZATION, UPGRADE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;

use crate::body::{Body, Upload};
use crate::connection::{Endpoint, Stream, words};
use crate::error::Error;
use crate::hijack::Duplex;
use crate::host::Host;
use crate::proxy::Proxy;
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
    /// `inactive`, `active/manager`, …; older daemons do not say.
    pub swarm: Option<String>,
    /// `2`: it builds by BuildKit's protocol, and rather so.
    pub builder: String,
}

/// One daemon. Cheap to make; cloned never, shared by reference.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    /// Sent with every request, beside its own.
    headers: Vec<(HeaderName, HeaderValue)>,
    user_agent: String,
    version: OnceLock<ApiVersion>,
    ping: OnceLock<Ping>,
    /// A connection whose last answer was read to its end.
    idle: Mutex<Option<SendRequest<Upload>>>,
}

impl Client {
    /// Does not connect.
    pub fn new(endpoint: impl Into<Endpoint>, choice: VersionChoice, user_agent: impl Into<String>) -> Self {
        let version = OnceLock::new();
        if let VersionChoice::Pinned(pinned) = choice {
            version.get_or_init(|| pinned);
        }
        let user_agent = user_agent.into();
        let endpoint = endpoint.into();
        Self { endpoint, headers: Vec::new(), user_agent, version, ping: OnceLock::new(), idle: Mutex::new(None) }
    }

    /// Sends these headers with every request.
    #[must_use]
    pub fn with_headers(mut self, headers: Vec<(HeaderName, HeaderValue)>) -> Self {
        self.headers = headers;
        self
    }

    pub fn host(&self) -> &Host {
        self.endpoint.host()
    }

    /// A connection as it is, without a request on it: for `docker system dial-stdio`.
    pub async fn dial(&self) -> Result<Duplex, Error> {
        let stream = self.endpoint.connect().await.map_err(|error| match self.host() {
            Host::Unix(path) => Error::Dial(format!("dial unix {}: connect: {}", path.display(), words(&error))),
            Host::Tcp { .. } | Host::Ssh(_) => Error::Dial(words(&error)),
        })?;
        Ok(Duplex::new(stream, Bytes::new(), ""))
    }

    /// The version that requests carry; asks the daemon unless one of its answers has told.
    pub async fn version(&self) -> Result<ApiVersion, Error> {
        if let Some(version) = self.version.get() {
            return Ok(*version);
        }
        let theirs = match self.ping().await {
            Ok(ping) => ping.api_version,
            // The request itself fails in the same way, and its error names what was asked.
            Err(Error::Connect { .. } | Error::Permission { .. } | Error::Http(_)) => return Ok(ApiVersion::MAX),
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

    /// A request whose answer is in one header (HEAD has no body); `None` without it.
    pub async fn header(&self, request: Request, name: &str) -> Result<Option<String>, Error> {
        let (response, connection) = self.exchange(request).await?;
        let value = response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        collect(response.into_body(), MAX_ERROR).await?;
        self.keep(connection);
        Ok(value)
    }

    /// A request whose answer goes on.
    pub async fn stream(&self, request: Request) -> Result<Body, Error> {
        let (response, _) = self.exchange(request).await?;
        let (head, body) = response.into_parts();
        Ok(Body::new(body, head.headers))
    }

    /// A request that turns its connection into a stream both ways.
    pub async fn hijack(&self, request: Request) -> Result<Duplex, Error> {
        self.upgrade(request, "tcp").await
    }

    /// The same for a protocol of this name.
    pub async fn upgrade(&self, mut request: Request, protocol: &'static str) -> Result<Duplex, Error> {
        request.headers.push((CONNECTION, HeaderValue::from_static("Upgrade")));
        request.headers.push((UPGRADE, HeaderValue::from_static(protocol)));
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
        if let Some(version) = self.version.get() {
            return self.exchange_with(*version, request).await;
        }
        let request = match request.again() {
            Some(again) => match self.exchange_first(request).await? {
                Some(exchanged) => return Ok(exchanged),
                None => again,
            },
            None => request,
        };
        self.exchange_with(self.version().await?, request).await
    }

    async fn exchange_with(
        &self,
        version: ApiVersion,
        request: Request,
    ) -> Result<(Response<Incoming>, SendRequest<Upload>), Error> {
        let path = format!("/v{version}{}", request.path);
        let (response, connection) = self.dispatch(request, &path).await?;
        Ok((accept(response).await?, connection))
    }

    /// Sends the first request with our newest version instead of asking for the daemon's: every answer tells that one. `None`
    /// for a daemon that is older and has refused the request for it.
    async fn exchange_first(
        &self,
        request: Request,
    ) -> Result<Option<(Response<Incoming>, SendRequest<Upload>)>, Error> {
        let path = format!("/v{}{}", ApiVersion::MAX, request.path);
        let (response, connection) = self.dispatch(request, &path).await?;
        let theirs = read_ping(response.headers()).api_version;
        match accept(response).await {
            Ok(response) => {
                if theirs.is_some() {
                    self.version.get_or_init(|| ApiVersion::MAX.negotiate(theirs));
                }
                Ok(Some((response, connection)))
            }
            Err(Error::Daemon { status: 400, message }) if refuses_version(&message) => {
                self.keep(connection);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends on the idle connection, or on a new one.
    async fn dispatch(&self, request: Request, path: &str) -> Result<(Response<Incoming>, SendRequest<Upload>), Error> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let target = Target::new(&self.endpoint, &request, path);
        let upgrades = request.headers.iter().any(|(name, _)| *name == UPGRADE);
        // An upgraded connection is the daemon's own, as Docker's client has it.
        let (kept, proxy) = match self.endpoint.proxy() {
            Some(_) if upgrades => (None, None),
            proxy => (kept, proxy),
        };
        let mut connection = match self.still_open(kept).await {
            Some(kept) => kept,
            None => self.connect(&target, path, proxy).await?,
        };
        let response = connection.send_request(self.head(request, path, proxy)?).await;
        let response = response.map_err(|error| target.broken(&transport_words(&error)))?;
        Ok((response, connection))
    }

    async fn still_open(&self, kept: Option<SendRequest<Upload>>) -> Option<SendRequest<Upload>> {
        let mut kept = kept?;
        kept.ready().await.is_ok().then_some(kept)
    }

    fn head(&self, request: Request, path: &str, proxy: Option<&Proxy>) -> Result<http::Request<Upload>, Error> {
        let separator = if request.query.is_empty() { "" } else { "?" };
        let mut target = format!("{}{path}{separator}{}", self.host().base(), request.query);
        // A proxy of a plain daemon is told the whole URL; one of a daemon with TLS sees the tunnel alone.
        let told = proxy.filter(|_| self.endpoint.scheme() == "http");
        if told.is_some() {
            target = format!("http://{}{target}", self.host().authority());
        }
        let has_json = matches!(request.payload, Payload::Json(_));
        let mut builder = http::Request::builder()
            .method(request.method)
            .uri(target)
            .header(HOST, self.host().authority())
            .header(USER_AGENT, &self.user_agent);
        if has_json {
            builder = builder.header(CONTENT_TYPE, "application/json");
        } else if matches!(request.payload, Payload::Stream(_))
            && !request.headers.iter().any(|(name, _)| *name == CONTENT_TYPE)
        {
            builder = builder.header(CONTENT_TYPE, "text/plain");
        }
        if let Some(authorization) = told.and_then(|proxy| proxy.authorization.as_ref()) {
            builder = builder.header(PROXY_AUTHORIZATION, authorization);
        }
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        builder.body(Upload::from(request.payload)).map_err(|error| Error::Http(error.to_string()))
    }

    async fn connect(&self, target: &Target, path: &str, proxy: Option<&Proxy>) -> Result<SendRequest<Upload>, Error> {
        let stream = self.endpoint.connect_by(proxy).await.map_err(|error| self.refused(error, target, path))?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| target.broken(&transport_words(&error)))?;
        // The task ends with its connection; whoever waits for an answer sees the error.
        tokio::spawn(async move {
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }

    fn refused(&self, source: io::Error, target: &Target, path: &str) -> Error {
        let host = self.host().to_string();
        match (self.host(), source.kind()) {
            (Host::Unix(socket), io::ErrorKind::PermissionDenied) => Error::Permission {
                socket: socket.display().to_string(),
                host,
                method: target.method.clone(),
                authority: self.host().shown_authority(),
                path: path.to_owned(),
            },
            (Host::Unix(_), _) | (_, io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut) => {
                Error::Connect { host, source }
            }
            _ => target.broken(&source.to_string()),
        }
    }

    fn keep(&self, connection: SendRequest<Upload>) {
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
    }
}

/// A request as Go's errors name it: `Get "http://host/path"`.
struct Target {
    /// One word of title case.
    method: String,
    url: String,
    secure: bool,
}

impl Target {
    fn new(endpoint: &Endpoint, request: &Request, path: &str) -> Self {
        let separator = if request.query.is_empty() { "" } else { "?" };
        let (scheme, authority) = (endpoint.scheme(), endpoint.host().shown_authority());
        Self {
            method: title(request.method.as_str()),
            url: format!("{scheme}://{authority}{}{path}{separator}{}", endpoint.host().base(), request.query),
            secure: scheme == "https",
        }
    }

    /// The connection could not be made, or broke before an answer came.
    fn broken(&self, cause: &str) -> Error {
        let whole = format!("{} \"{}\": {cause}", self.method, self.url);
        if !self.secure && cause.contains("malformed HTTP response") {
            return Error::Plain(format!("{whole}.\n* Are you trying to connect to a TLS-enabled daemon without TLS?"));
        }
        if self.secure && (cause.contains("bad certificate") || cause.contains("certificate required")) {
            return Error::Plain(format!(
                "the server probably has client authentication (--tlsverify) enabled; check your TLS client certification settings: {whole}"
            ));
        }
        Error::Http(whole)
    }
}

/// Why a connection broke: the innermost reason, and Go's words for an answer that is no HTTP.
fn transport_words(error: &hyper::Error) -> String {
    if error.is_parse() {
        return "net/http: HTTP/1.x transport connection broken: malformed HTTP response".to_owned();
    }
    if error.is_incomplete_message() || error.is_closed() {
        return "EOF".to_owned();
    }
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
            return match tls {
                rustls::Error::AlertReceived(alert) => tls_trust::alert_words(*alert),
                other => format!("tls: {other}"),
            };
        }
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            match io.get_ref() {
                Some(cause) if cause.downcast_ref::<rustls::Error>().is_some() => {}
                _ => return words_of(io),
            }
        }
        source = inner.source();
        if let Some(io) = inner.downcast_ref::<io::Error>()
            && let Some(rustls::Error::AlertReceived(alert)) = io.get_ref().and_then(|cause| cause.downcast_ref())
        {
            return tls_trust::alert_words(*alert);
        }
    }
    errors::chain(error)
}

/// A message of our own as it is, the system's as Go writes it.
fn words_of(error: &io::Error) -> String {
    if error.raw_os_error().is_some() { words(error) } else { error.to_string() }
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
        swarm: Some(text(ping::SWARM)).filter(|text| !text.is_empty()).map(str::to_owned),
        builder: text(ping::BUILDER_VERSION).to_owned(),
    }
}

/// Docker's words since 1.13, and those before.
fn refuses_version(message: &str) -> bool {
    (message.starts_with("client version ") && message.contains(" is too new"))
        || message.starts_with("client is newer than server")
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
