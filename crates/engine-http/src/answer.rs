//! From a request to its answer: who may ask, which version is spoken, how long it goes on.

use std::sync::Arc;
use std::time::Instant;

use engine_api::ApiVersion;
use engine_api::endpoint::{self, Operation};
use engine_api::system::ping;
use futures_util::StreamExt;
use http::header::{EXPECT, SERVER};
use http::{HeaderValue, Method};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper::body::{Body as _, Incoming};
use tracing::Instrument;

use crate::connection::Connection;
use crate::reply::{self, Reply};
use crate::request::{Request, RequestBody, Target, boxed};
use crate::status::{Answer, Failure};
use crate::{Api, route, unread};

/// Answers; never fails.
pub async fn answer(api: Arc<Api>, request: http::Request<Incoming>, connection: Connection) -> Reply {
    let span = tracing::debug_span!("request", method = %request.method(), path = request.uri().path());
    let is_ancient = is_ancient(request.uri().path());
    let (parts, body) = request.into_parts();
    // Who waits to be asked for the body has not sent it.
    let waits = parts.headers.contains_key(EXPECT);
    let body = if waits { boxed(body) } else { unread::discarded_when_dropped(boxed(body)) };
    let request = http::Request::from_parts(parts, body);
    let answered = allowed(Arc::clone(&api), request, connection).instrument(span).await;
    let mut reply = answered.unwrap_or_else(|failure| match is_ancient {
        true => failure.into_text(),
        false => failure.into_reply(),
    });
    let headers = reply.headers_mut();
    headers.insert(reply::header_name(ping::API_VERSION), header_of(&ApiVersion::MAX.to_string()));
    headers.insert(reply::header_name(ping::OS_TYPE), HeaderValue::from_static("linux"));
    let experimental = HeaderValue::from_static(if api.engine.is_experimental() { "true" } else { "false" });
    headers.insert(reply::header_name(ping::EXPERIMENTAL), experimental);
    headers.insert(SERVER, header_of(&api.engine.server()));
    reply
}

/// Clients from before API 1.24 print errors as they come.
fn is_ancient(path: &str) -> bool {
    let version = endpoint::split_version(path).0.and_then(|text| ApiVersion::parse(text).ok());
    version.is_some_and(|version| version < ApiVersion::MIN)
}

/// Plugins see the request before anything else does, and the answer before the client.
async fn allowed(api: Arc<Api>, request: http::Request<RequestBody>, connection: Connection) -> Answer {
    if request.method() == Method::OPTIONS {
        return Ok(reply::empty(http::StatusCode::OK));
    }
    let (mut parts, body) = request.into_parts();
    Target::of(&parts.method, parts.uri.path())?;
    let (allowed, body) = api.authorization.ask(&parts, body, &connection.peer).await?;
    parts.extensions.insert(connection.clone());
    let answered = perform(api, parts, body, connection).await;
    match allowed {
        Some(allowed) => allowed.show(answered.unwrap_or_else(Failure::into_reply)).await,
        None => answered,
    }
}

async fn perform(api: Arc<Api>, parts: http::request::Parts, body: RequestBody, connection: Connection) -> Answer {
    let request = Request::new(parts, body, api.oldest_version)?;
    let operation = request.operation;
    let begun = Instant::now();
    let answered = match course(operation) {
        Course::Ends => route::route(Arc::clone(&api), request).await,
        Course::Tells => {
            let answered = tokio::select! {
                answered = route::route(Arc::clone(&api), request) => answered?,
                () = over(&connection) => return Err(Failure::going_down()),
            };
            Ok(until(answered, async move { over(&connection).await }))
        }
        Course::Converses => {
            let answered = tokio::select! {
                answered = route::route(Arc::clone(&api), request) => answered?,
                () = connection.ending.cancelled() => return Err(Failure::going_down()),
            };
            Ok(until(answered, async move { connection.ending.cancelled().await }))
        }
    };
    if answered.is_ok() {
        api.actions.record(operation, begun.elapsed());
    }
    answered
}

/// Whether an operation comes to its end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    Ends,
    /// It tells for as long as the client listens: one that will send no more has gone, as in Docker.
    Tells,
    /// Both sides talk, and one may fall silent before the other.
    Converses,
}

fn course(operation: Operation) -> Course {
    use Operation as Op;
    match operation {
        Op::Events | Op::ContainerLogs | Op::ContainerStats | Op::ContainerWait | Op::ImageBuild => Course::Tells,
        Op::ContainerAttach | Op::ContainerAttachWebsocket | Op::ExecStart | Op::Session | Op::Grpc => {
            Course::Converses
        }
        _ => Course::Ends,
    }
}

/// The daemon goes down, or the client has hung up.
async fn over(connection: &Connection) {
    tokio::select! {
        () = connection.ending.cancelled() => {}
        () = connection.hung_up() => {}
    }
}

/// Ends a stream then; what has a length is left alone.
fn until(reply: Reply, then: impl Future<Output = ()> + Send + 'static) -> Reply {
    if reply.body().size_hint().exact().is_some() {
        return reply;
    }
    reply.map(|body| StreamBody::new(BodyStream::new(body).take_until(Box::pin(then))).boxed_unsync())
}

fn header_of(text: &str) -> HeaderValue {
    // Versions are of letters, digits and dots.
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use futures_util::stream;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::connection::{Liveness, Patience};

    struct Client(AtomicBool);

    impl Liveness for Client {
        fn is_hung_up(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn endless(connection: &Connection) -> Reply {
        let pieces = stream::once(async { Ok("first".into()) }).chain(stream::pending());
        let connection = connection.clone();
        until(reply::chunks(HeaderValue::from_static("text/plain"), pieces), async move { over(&connection).await })
    }

    #[tokio::test]
    async fn a_stream_ends_with_the_daemon_and_with_its_client() {
        let client = Arc::new(Client(AtomicBool::new(false)));
        let connection = Connection {
            peer: Arc::default(),
            liveness: Arc::clone(&client) as Arc<dyn Liveness>,
            ending: CancellationToken::new(),
            patience: Patience { hangup_check: Duration::from_millis(5), ..Patience::default() },
        };
        let reading = tokio::spawn(endless(&connection).into_body().collect());
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!reading.is_finished());
        connection.ending.cancel();
        assert_eq!(reading.await.unwrap().unwrap().to_bytes(), "first");

        let connection = Connection { ending: CancellationToken::new(), ..connection };
        let reading = tokio::spawn(endless(&connection).into_body().collect());
        tokio::time::sleep(Duration::from_millis(50)).await;
        client.0.store(true, Ordering::Relaxed);
        assert_eq!(reading.await.unwrap().unwrap().to_bytes(), "first");
    }

    #[test]
    fn ancient_clients_are_known_by_their_path() {
        assert!(is_ancient("/v1.10/info"));
        assert!(!is_ancient("/v1.24/info") && !is_ancient("/info") && !is_ancient("/v1.99/info"));
    }
}
