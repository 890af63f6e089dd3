//! A request as the routes see it: which operation, in which version, with what.

use bytes::Bytes;
use engine_api::ApiVersion;
use engine_api::endpoint::{self, Method, Operation};
use errors::ErrorKind;
use http::request::Parts;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use crate::query::Query;
use crate::status::Failure;

/// The longest JSON body that is read.
const MAX_JSON: usize = 4 << 20;

pub struct Request {
    pub operation: Operation,
    pub version: ApiVersion,
    /// The container, image or network in the path; empty where the operation has none.
    pub name: String,
    pub query: Query,
    pub parts: Parts,
    pub body: Incoming,
}

impl Request {
    /// Finds the operation; an error for paths and versions that are not served.
    pub fn parse(request: http::Request<Incoming>) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let (version, path) = endpoint::split_version(parts.uri.path());
        let version = match version {
            Some(text) => ApiVersion::parse(text)?.check_served()?,
            None => ApiVersion::MAX,
        };
        let method = method_of(&parts.method).ok_or_else(Failure::no_such_page)?;
        let found = endpoint::find(method, path).map_err(|_| Failure::no_such_page())?;
        if version < found.endpoint.since {
            return Err(Failure::no_such_page());
        }
        let name = percent_decode_str(found.name.unwrap_or_default()).decode_utf8();
        let name = name.map_err(|_| Failure::bad_request("the path is not UTF-8"))?.into_owned();
        let query = Query::parse(parts.uri.query().unwrap_or_default())?;
        Ok(Self { operation: found.endpoint.operation, version, name, query, parts, body })
    }

    /// A request header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body, which must be JSON; an empty one is the default.
    pub async fn json<T: DeserializeOwned + Default>(self) -> Result<T, Failure> {
        decode(&read(self.body).await?)
    }

    /// The same, and what is left of the request, for whom the connection itself is needed.
    pub async fn json_and_parts<T: DeserializeOwned + Default>(self) -> Result<(T, Parts), Failure> {
        let Self { parts, body, .. } = self;
        Ok((decode(&read(body).await?)?, parts))
    }
}

fn decode<T: DeserializeOwned + Default>(bytes: &[u8]) -> Result<T, Failure> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    serde_json::from_slice(bytes).map_err(|error| Failure::bad_request(format!("invalid JSON: {error}")))
}

async fn read(body: Incoming) -> Result<Bytes, Failure> {
    match Limited::new(body, MAX_JSON).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(Failure::new(ErrorKind::InvalidArgument, format!("cannot read the request's body: {error}"))),
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
