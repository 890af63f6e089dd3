//! Authorization plugins: each request is shown to all of them before it is carried out, each answer before it is sent.
//!
//! Fails closed. A plugin that cannot be reached, that answers nonsense, or that could not be shown the whole body
//! refuses the request (CVE-2024-41110: a body behind `Content-Length: 0`; CVE-2026-34040: a body above the limit). What
//! is read as JSON is exactly what the plugins were shown. docs/decisions/authorization.md.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use errors::ErrorKind;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Body as _;
use plugin_client::{Plugin, PluginError, Plugins};
use serde::{Deserialize, Serialize};

use crate::connection::Peer;
use crate::reply::{Body, Reply};
use crate::request::{RequestBody, boxed};
use crate::status::Failure;

/// The largest body that plugins are shown, and so the largest that is taken while there are any: Docker's number.
const MAX_BODY: usize = 4 << 20;
const KIND: &str = "authz";
const ON_REQUEST: &str = "AuthZPlugin.AuthZReq";
const ON_RESPONSE: &str = "AuthZPlugin.AuthZRes";
/// Headers with secrets.
const HIDDEN: [&str; 3] = ["authorization", "x-registry-config", "x-registry-auth"];

/// The plugins in the order in which they are asked. May change while the daemon runs.
#[derive(Default)]
pub struct Authorization {
    places: Plugins,
    chain: RwLock<Arc<Vec<Plugin>>>,
}

/// What a plugin is told.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Question {
    #[serde(skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(rename = "UserAuthNMethod", skip_serializing_if = "String::is_empty")]
    method_of_user: String,
    request_method: String,
    request_uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_body: Option<String>,
    request_headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    request_peer_certificates: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_headers: Option<BTreeMap<String, String>>,
}

/// What it answers. An answer without `Allow` is no.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Verdict {
    allow: bool,
    msg: String,
    err: String,
}

/// A request that all plugins let pass; its answer is shown to them too.
pub struct Allowed {
    chain: Arc<Vec<Plugin>>,
    question: Question,
    is_auth: bool,
}

impl Authorization {
    pub fn new(places: Plugins) -> Self {
        Self { places, chain: RwLock::default() }
    }

    /// Takes these plugins from now on; an error, and no change, unless each is there and is of the right kind.
    pub async fn set(&self, names: &[String]) -> Result<(), PluginError> {
        let mut chain = Vec::new();
        let mut seen = HashSet::new();
        for name in names.iter().filter(|name| seen.insert(name.as_str())) {
            let plugin = self.places.find(name)?;
            plugin.activate(KIND).await?;
            chain.push(plugin);
        }
        *self.chain.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(chain);
        Ok(())
    }

    /// Asks all plugins. `None` where there are none, and the body as it came.
    pub async fn ask(
        &self,
        parts: &Parts,
        body: RequestBody,
        peer: &Peer,
    ) -> Result<(Option<Allowed>, RequestBody), Failure> {
        let chain = Arc::clone(&self.chain.read().unwrap_or_else(PoisonError::into_inner));
        if chain.is_empty() {
            return Ok((None, body));
        }
        let is_auth = is_auth(parts.uri.path());
        let mut question = Question {
            user: peer.common_name.clone().unwrap_or_default(),
            method_of_user: if peer.certificates.is_empty() { "" } else { "TLS" }.to_owned(),
            request_method: parts.method.to_string(),
            request_uri: parts.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            request_headers: shown_headers(&parts.headers),
            request_peer_certificates: peer.certificates.iter().map(|der| STANDARD.encode(pem(der))).collect(),
            ..Question::default()
        };
        let body = if is_json(&parts.headers) {
            let bytes = collect(body).await?;
            if !is_auth && !bytes.is_empty() {
                question.request_body = Some(STANDARD.encode(&bytes));
            }
            boxed(Full::new(bytes))
        } else {
            body
        };
        put(&chain, ON_REQUEST, &question).await?;
        Ok((Some(Allowed { chain, question, is_auth }), body))
    }
}

impl Allowed {
    /// The answer, once all plugins have seen it. A stream is shown before its first byte, without a body.
    pub async fn show(mut self, reply: Reply) -> Result<Reply, Failure> {
        let (parts, body) = reply.into_parts();
        let mut shown: Option<Bytes> = None;
        let body = if body.size_hint().exact().is_some() {
            let bytes = body.collect().await.map_err(|error| Failure::internal(error.to_string()))?.to_bytes();
            if bytes.len() > MAX_BODY {
                return Err(Failure::internal(format!(
                    "response body too large for authorization plugin: size exceeds {MAX_BODY} bytes"
                )));
            }
            shown = Some(bytes.clone()).filter(|bytes| !bytes.is_empty());
            Body::new(Full::new(bytes).map_err(|never| match never {}))
        } else {
            body
        };
        self.question.response_status_code = Some(parts.status.as_u16());
        self.question.response_headers = Some(shown_headers(&parts.headers));
        if is_json(&parts.headers) && !self.is_auth {
            self.question.response_body = shown.map(|bytes| STANDARD.encode(bytes));
        }
        put(&self.chain, ON_RESPONSE, &self.question).await?;
        Ok(http::Response::from_parts(parts, body))
    }
}

async fn put(chain: &[Plugin], method: &str, question: &Question) -> Result<(), Failure> {
    for plugin in chain {
        let failed = |why: String| Failure::internal(format!("plugin {} failed with error: {why}", plugin.name()));
        let verdict: Verdict = plugin.call(method, question).await.map_err(|error| failed(errors::chain(&error)))?;
        if !verdict.err.is_empty() {
            return Err(failed(verdict.err));
        }
        if !verdict.allow {
            let message = format!("authorization denied by plugin {}: {}", plugin.name(), verdict.msg);
            return Err(Failure::new(ErrorKind::PermissionDenied, message));
        }
    }
    Ok(())
}

/// The whole body: plugins decide about all of it or the request is refused.
async fn collect(body: RequestBody) -> Result<Bytes, Failure> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Failure {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            message: format!("request body too large for authorization plugin: size exceeds {MAX_BODY} bytes"),
        }),
        Err(error) => Err(Failure::bad_request(format!("cannot read the request's body: {error}"))),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// `/auth` carries passwords.
fn is_auth(path: &str) -> bool {
    let (_, path) = engine_api::endpoint::split_version(path);
    path.trim_end_matches('/') == "/auth"
}

fn shown_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut shown = BTreeMap::new();
    for (name, value) in headers {
        if name != AUTHORIZATION && !HIDDEN.contains(&name.as_str()) {
            shown.insert(canonical(name.as_str()), String::from_utf8_lossy(value.as_bytes()).into_owned());
        }
    }
    shown
}

/// `Content-Type`, as Go writes names and plugins expect them.
fn canonical(name: &str) -> String {
    let mut upper = true;
    let mut text = String::with_capacity(name.len());
    for letter in name.chars() {
        text.push(if upper { letter.to_ascii_uppercase() } else { letter });
        upper = letter == '-';
    }
    text
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests;
