//! Servers that are told what to answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ids::{Digest, Reference};
use registry_client::{Credentials, Registries, RegistryError, RegistryOptions, Repository, Secret, Verify};
use tokio::net::TcpListener;

pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A server on a loopback port of its own; ends with the test's runtime.
pub struct Server {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub async fn start(answer: impl Fn(&Seen, usize) -> Response<Body> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (answer, log) = (Arc::new(answer), seen.clone());
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (answer, log) = (answer.clone(), log.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (answer, log) = (answer.clone(), log.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                        let path = head.uri.path_and_query().map(|path| path.to_string()).unwrap_or_default();
                        let seen = Seen { method: head.method.to_string(), path, headers: head.headers, body };
                        let before = log.lock().unwrap().iter().filter(|other| other.path == seen.path).count();
                        log.lock().unwrap().push(seen.clone());
                        Ok::<_, Infallible>(answer(&seen, before))
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { address, seen }
    }

    pub fn repository(&self, credentials: Credentials) -> Repository {
        let reference = Reference::parse_familiar(&format!("{}/team/app:1", self.address)).unwrap();
        Registries::new(RegistryOptions::default()).repository(&reference, credentials)
    }

    pub fn anonymous(&self) -> Repository {
        self.repository(Credentials::Anonymous)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        response.headers_mut().append(header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    response
}

pub fn ok() -> Response<Body> {
    reply(200, &[], "{}")
}

pub fn endless() -> Response<Body> {
    let piece = Bytes::from(vec![b' '; 1 << 16]);
    let frames = futures_util::stream::repeat_with(move || Ok(Frame::data(piece.clone())));
    Response::new(StreamBody::new(frames).boxed_unsync())
}

pub async fn read(repository: &Repository, content: &[u8], verify: Verify) -> Result<Vec<u8>, RegistryError> {
    let mut reader = repository.blob(Digest::of(content), content.len() as u64, 0, verify).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

pub fn password() -> Credentials {
    Credentials::Password { username: "me".to_owned(), password: Secret::new("pass") }
}
