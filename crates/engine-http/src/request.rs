//! A request as the routes see it: which operation, in which version, with what.

mod json;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use engine_api::endpoint::{self, Found, Method, Operation};
use engine_api::go_json::{Document, JsonError};
use engine_api::{ApiVersion, adapt};
use http::StatusCode;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::request::Parts;
use http_body::Body;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use crate::query::Query;
use crate::status::Failure;

/// The longest JSON body that is read.
const MAX_JSON: usize = 4 << 20;
/// How long it may take to arrive.
const JSON_LIMIT: Duration = Duration::from_secs(60);

pub type RequestBody = BoxBody<Bytes, io::Error>;

/// A body of any make as a request's.
pub fn boxed<B>(body: B) -> RequestBody
where
    B: http_body::Body<Data = Bytes> + Send + Sync + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    body.map_err(io::Error::other).boxed()
}

/// What a path asks for, before its version is looked at.
pub struct Target<'a> {
    version: Option<&'a str>,
    found: Found<'a>,
}

pub struct Request {
    pub operation: Operation,
    pub version: ApiVersion,
    /// The container, image or network in the path; empty where the operation has none.
    pub name: String,
    pub query: Query,
    pub parts: Parts,
    pub body: RequestBody,
}

impl<'a> Target<'a> {
    /// An error for a path or a method that nobody serves.
    pub fn of(method: &http::Method, path: &'a str) -> Result<Self, Failure> {
        let (version, path) = endpoint::split_version(path);
        let method = method_of(method).ok_or_else(Failure::no_such_page)?;
        let found = endpoint::find(method, path).map_err(|_| Failure::nobody_at(path))?;
        Ok(Self { version, found })
    }

    /// The version to serve; an error for those before `oldest`, those to come, and operations that came later.
    fn served(&self, oldest: ApiVersion) -> Result<ApiVersion, Failure> {
        let version = match self.version {
            Some(text) => ApiVersion::parse(text)?.check_served_from(oldest)?,
            None => ApiVersion::MAX,
        };
        if version < self.found.endpoint.since {
            return Err(Failure::no_such_page());
        }
        Ok(version)
    }
}

impl Request {
    pub fn new(parts: Parts, body: RequestBody, oldest: ApiVersion) -> Result<Self, Failure> {
        let target = Target::of(&parts.method, parts.uri.path())?;
        let version = target.served(oldest)?;
        let name = percent_decode_str(target.found.name.unwrap_or_default()).decode_utf8();
        let name = name.map_err(|_| Failure::bad_request("the path is not UTF-8"))?.into_owned();
        let operation = target.found.endpoint.operation;
        let mut query = Query::parse(parts.uri.query().unwrap_or_default())?;
        query.keep(|parameter| adapt::is_heard(operation, parameter, version));
        Ok(Self { operation, version, name, query, parts, body })
    }

    /// A request header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body, which must be JSON; an empty one is the default.
    pub async fn json<T: DeserializeOwned + Default>(self) -> Result<T, Failure> {
        self.json_and_parts().await.map(|(value, _)| value)
    }

    /// The same, and what is left of the request, for whom the connection itself is needed.
    pub async fn json_and_parts<T: DeserializeOwned + Default>(self) -> Result<(T, Parts), Failure> {
        let has_body = self.has_body();
        self.check_content_type(has_body)?;
        let Self { parts, body, .. } = self;
        if !has_body {
            return Ok((T::default(), parts));
        }
        Ok((json::decode(&read(body, JSON_LIMIT).await?)?, parts))
    }

    /// The body as JSON, read in a way of its own; one must be there.
    pub async fn json_with<T>(self, reading: impl FnOnce(&Document<'_>) -> Result<T, JsonError>) -> Result<T, Failure> {
        self.check_content_type(self.has_body())?;
        json::decode_with(&read(self.body, JSON_LIMIT).await?, reading)
    }

    /// The body as JSON, whatever its type says and whatever stands behind it; one must be there.
    pub async fn json_of_any_type<T: DeserializeOwned>(self) -> Result<T, Failure> {
        json::decode_or_fail(&read(self.body, JSON_LIMIT).await?)
    }

    /// A body must be said to be JSON; without one it may be said.
    fn check_content_type(&self, has_body: bool) -> Result<(), Failure> {
        match self.header("content-type").or(has_body.then_some("")) {
            Some(kind) => check_content_type(kind),
            None => Ok(()),
        }
    }

    /// Whether the body is said to be longer, or not said to be of any length.
    pub fn may_be_longer_than(&self, bytes: u64) -> bool {
        let length = self.header(CONTENT_LENGTH.as_str()).and_then(|length| length.trim().parse::<u64>().ok());
        self.parts.headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length > bytes)
    }

    /// Anything but a length of zero, as Go has it; a chunked body counts whatever the length says (CVE-2024-41110).
    fn has_body(&self) -> bool {
        let length = self.parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let is_chunked = self.parts.headers.contains_key(TRANSFER_ENCODING);
        is_chunked || length.is_some_and(|length| length.trim() != "0")
    }
}

fn check_content_type(kind: &str) -> Result<(), Failure> {
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.is_empty() {
        return Err(Failure::bad_request(format!(
            "malformed {CONTENT_TYPE_NAME} header ({kind}): mime: no media type"
        )));
    }
    if !essence.eq_ignore_ascii_case("application/json") {
        let message = format!("unsupported {CONTENT_TYPE_NAME} header ({kind}): must be 'application/json'");
        return Err(Failure::bad_request(message));
    }
    Ok(())
}

/// As people write it; the constant of the crate is in lower case.
const CONTENT_TYPE_NAME: &str = "Content-Type";

async fn read(body: RequestBody, limit: Duration) -> Result<Bytes, Failure> {
    let too_large = || Failure {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        message: format!("request body too large: more than {MAX_JSON} bytes"),
    };
    // Who says that more will come is not waited for.
    if body.size_hint().lower() > MAX_JSON as u64 {
        return Err(too_large());
    }
    let collected = tokio::time::timeout(limit, Limited::new(body, MAX_JSON).collect()).await;
    let Ok(collected) = collected else {
        return Err(Failure {
            status: StatusCode::REQUEST_TIMEOUT,
            message: format!("the request's body did not arrive within {} seconds", limit.as_secs()),
        });
    };
    match collected {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(Failure::bad_request(format!("cannot read the request's body: {error}"))),
    }
}

fn method_of(method: &http::Method) -> Option<Method> {
    match *method {
        http::Method::GET => Some(Method::Get),
        http::Method::HEAD => Some(Method::Head),
        http::Method::POST => Some(Method::Post),
        http::Method::PUT => Some(Method::Put),
        http::Method::DELETE => Some(Method::Delete),
        http::Method::OPTIONS => Some(Method::Options),
        _ => None,
    }
}

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tests;
