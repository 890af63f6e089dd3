//! `POST /session` and `POST /grpc`: connections that are handed over, the one for calls to the client, the other for its.

use std::sync::Arc;

use buildkit_session::Introduction;
use http::header::UPGRADE;
use http::request::Parts;

use crate::Api;
use crate::connection::Connection;
use crate::hijack::{self, Raw};
use crate::request::Request;
use crate::status::{Answer, Failure};

const PROTOCOL: &str = "h2c";

/// Opens a session: the engine calls what the client says it serves.
pub fn session(api: &Api, request: Request) -> Answer {
    check_protocol(&request.parts)?;
    let header = |name: &str| request.header(name).unwrap_or_default().to_owned();
    let methods = request.parts.headers.get_all("x-docker-expose-session-grpc-method");
    let introduction = Introduction {
        id: header("x-docker-expose-session-uuid"),
        shared_key: header("x-docker-expose-session-sharedkey"),
        methods: methods.iter().filter_map(|method| method.to_str().ok()).map(str::to_owned).collect(),
    };
    let admitted = api.buildkit.sessions().admit(introduction)?;
    let ending = ending(&request.parts);
    let Raw { reply, stream } = hijack::raw(request.parts, PROTOCOL);
    tokio::spawn(async move {
        let Some(stream) = stream.await else { return };
        if let Err(error) = admitted.serve(stream, ending).await {
            tracing::debug!(error = errors::chain(&error), "a session did not begin");
        }
    });
    Ok(reply)
}

/// Serves BuildKit's own calls.
pub fn grpc(api: Arc<Api>, request: Request) -> Answer {
    check_protocol(&request.parts)?;
    let ending = ending(&request.parts);
    let Raw { reply, stream } = hijack::raw(request.parts, PROTOCOL);
    tokio::spawn(async move {
        let Some(stream) = stream.await else { return };
        buildkit_grpc::serve(api.buildkit.clone(), api.build_worker.clone(), stream, ending).await;
    });
    Ok(reply)
}

fn check_protocol(parts: &Parts) -> Result<(), Failure> {
    match parts.headers.get(UPGRADE).and_then(|protocol| protocol.to_str().ok()) {
        Some(PROTOCOL) => Ok(()),
        None => Err(Failure::bad_request("no upgrade proto in request")),
        Some(other) => Err(Failure::bad_request(format!("protocol {other} not supported"))),
    }
}

fn ending(parts: &Parts) -> tokio_util::sync::CancellationToken {
    parts.extensions.get::<Connection>().map(|connection| connection.ending.clone()).unwrap_or_default()
}
