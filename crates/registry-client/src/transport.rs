//! One request, one answer, with time limits; bodies read up to a limit.

use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::auth::sensitive;
use crate::connector::Connector;
use crate::error::{RegistryError, of_answer};

/// How long a server may take to answer, and to send the next piece of a body.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const COMMIT_TIMEOUT: Duration = Duration::from_secs(600);
const POOL_IDLE: Duration = Duration::from_secs(30);
const MAX_IDLE_CONNECTIONS: usize = 8;
/// Bytes of an error's body, of a token, of a list.
const MAX_ERROR_BYTES: u64 = 64 << 10;

pub(crate) type RequestBody = UnsyncBoxBody<Bytes, io::Error>;

pub(crate) fn empty() -> RequestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn full(bytes: Bytes) -> RequestBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

pub(crate) struct Transport {
    client: Client<Connector, RequestBody>,
    connector: Connector,
    user_agent: HeaderValue,
}

impl Transport {
    pub fn new(connector: Connector, user_agent: &str) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .build(connector.clone());
        let user_agent = HeaderValue::from_str(user_agent).unwrap_or(HeaderValue::from_static("longshore"));
        Self { client, connector, user_agent }
    }

    /// Sends the request and waits for the answer's head.
    pub async fn send(&self, mut request: Request<RequestBody>) -> Result<Response<Incoming>, RegistryError> {
        request.headers_mut().insert(header::USER_AGENT, self.user_agent.clone());
        let (method, uri) = (request.method().clone(), request.uri().clone());
        if let Some(secret) = self.connector.proxy_authorization(&uri) {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, sensitive(secret.reveal())?);
        }
        let answer = self.client.request(request);
        let patience = match method {
            // A blob's bytes take as long as they take; who sends them watches that they move.
            Method::PATCH => Duration::MAX,
            // A registry may copy a whole blob to its place before it answers.
            Method::PUT => COMMIT_TIMEOUT,
            _ => ANSWER_TIMEOUT,
        };
        let late = |_| failed(&method, &uri, timed_out());
        let answer = tokio::time::timeout(patience, answer).await.map_err(late)?;
        answer.map_err(|error| failed(&method, &uri, innermost(&error)))
    }
}

/// The next piece of a body; `None` at its end.
pub(crate) async fn next_piece(body: &mut Incoming) -> io::Result<Option<Bytes>> {
    loop {
        let frame = tokio::time::timeout(IDLE_TIMEOUT, body.frame()).await;
        let frame = frame.map_err(|_| timed_out())?;
        match frame.transpose().map_err(|error| innermost(&error))? {
            None => return Ok(None),
            Some(frame) => {
                if let Ok(bytes) = frame.into_data()
                    && !bytes.is_empty()
                {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// A whole body, refused as soon as it is longer than `limit`.
pub(crate) async fn read_bounded(mut body: Incoming, what: &'static str, limit: u64) -> Result<Bytes, RegistryError> {
    let broken = |source| RegistryError::Transport { method: "Read".to_owned(), url: what.to_owned(), source };
    let mut bytes = Vec::new();
    while let Some(piece) = next_piece(&mut body).await.map_err(broken)? {
        if (bytes.len() + piece.len()) as u64 > limit {
            return Err(RegistryError::TooLarge { what, limit });
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.into())
}

/// The error that an answer is.
pub(crate) async fn answered_error(answer: Response<Incoming>) -> RegistryError {
    let status = answer.status().as_u16();
    let json = content_type(&answer).contains("json");
    // A body that breaks off says no less than none.
    let body = match read_bounded(answer.into_body(), "error", MAX_ERROR_BYTES).await {
        Ok(body) => body,
        Err(RegistryError::TooLarge { .. }) => Bytes::from_static(b"<body too large>"),
        Err(_) => Bytes::new(),
    };
    of_answer(status, json, &body)
}

pub(crate) fn content_type(answer: &Response<Incoming>) -> &str {
    answer.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

pub(crate) fn failed(method: &Method, uri: &Uri, source: io::Error) -> RegistryError {
    // As Go's client shows a request: `Get "https://host/v2/"`.
    let name = method.as_str();
    let method = name[..1].to_owned() + &name[1..].to_ascii_lowercase();
    RegistryError::Transport { method, url: without_secrets(uri), source }
}

pub(crate) fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "i/o timeout")
}

/// Signed locations carry their secret in the query.
fn without_secrets(uri: &Uri) -> String {
    let text = uri.to_string();
    text.split_once('?').map_or(text.as_str(), |(bare, _)| bare).to_owned()
}

/// hyper wraps what happened several times; the last cause says it.
fn innermost(error: &(dyn Error + 'static)) -> io::Error {
    let mut kind = io::ErrorKind::Other;
    let mut cause = error;
    loop {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            kind = io.kind();
        }
        match cause.source() {
            Some(source) => cause = source,
            None => return io::Error::new(kind, as_go_says(kind, &cause.to_string())),
        }
    }
}

/// A server that hangs up within its answer, and one that does before it.
fn as_go_says(kind: io::ErrorKind, text: &str) -> String {
    match (kind, text) {
        (io::ErrorKind::UnexpectedEof, _) => "unexpected EOF".to_owned(),
        (_, "connection closed before message completed") => "EOF".to_owned(),
        (_, other) => other.to_owned(),
    }
}
