//! The Engine API over HTTP: routes, versions, hijacked streams, status codes.
//!
//! Translation only: a request becomes a call of one service, its answer becomes wire types. Nothing is decided and
//! nothing is stored here. Entry point: [`serve_connection`]; the way of a request: [`route`] → one module a noun.
//! Statuses are made in `status.rs` and nowhere else.

mod containers;
mod exec;
mod hijack;
mod images;
mod networks;
mod query;
mod reply;
mod request;
mod route;
mod status;
mod streams;
mod system;

use std::convert::Infallible;
use std::sync::Arc;

use engine_api::ApiVersion;
use engine_api::system::ping;
use http::HeaderValue;
use http::header::SERVER;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::Instrument;

pub use system::Engine;

use crate::reply::Reply;
use crate::request::Request;

/// The services behind the API.
pub struct Api {
    pub containers: Arc<::containers::Service>,
    pub images: ::images::Images,
    pub networks: ::networks::Networks,
    pub events: events::Bus,
    pub engine: Box<dyn Engine>,
}

/// Serves one client until it hangs up.
pub async fn serve_connection<S>(api: Arc<Api>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let api = Arc::clone(&api);
        async move { Ok::<_, Infallible>(answer(api, request).await) }
    });
    let served = http1::Builder::new()
        .half_close(true)
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
}

async fn answer(api: Arc<Api>, request: http::Request<Incoming>) -> Reply {
    let span = tracing::debug_span!("request", method = %request.method(), path = request.uri().path());
    let answered = async {
        match Request::parse(request) {
            Ok(request) => route::route(api, request).await,
            Err(failure) => Err(failure),
        }
    };
    let mut reply = answered.instrument(span).await.unwrap_or_else(status::Failure::into_reply);
    let headers = reply.headers_mut();
    headers.insert(ping_header(ping::API_VERSION), version_header());
    headers.insert(ping_header(ping::OS_TYPE), HeaderValue::from_static("linux"));
    headers.insert(ping_header(ping::EXPERIMENTAL), HeaderValue::from_static("false"));
    headers.insert(SERVER, HeaderValue::from_static(concat!("Longshore/", env!("CARGO_PKG_VERSION"), " (linux)")));
    reply
}

fn version_header() -> HeaderValue {
    HeaderValue::from_str(&ApiVersion::MAX.to_string()).unwrap_or(HeaderValue::from_static("1.51"))
}

fn ping_header(name: &'static str) -> http::HeaderName {
    // The names are constants of ours and valid.
    http::HeaderName::try_from(name).unwrap_or(SERVER)
}
