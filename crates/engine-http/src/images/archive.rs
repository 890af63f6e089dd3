//! Images out of the engine and into it again: `GET /images/get`, `GET /images/x/get`, `POST /images/load`.

use std::sync::Arc;

use engine_api::ApiVersion;
use engine_api::json_message::JsonMessage;
use futures_util::{StreamExt, stream};
use http::HeaderValue;
use http_body_util::BodyExt;
use images::{LoadRequest, Platform, SaveRequest};

use super::operation;
use crate::Api;
use crate::query::Query;
use crate::reply;
use crate::request::Request;
use crate::status::{Answer, Failure};

/// The first version in which a platform can be chosen.
const PLATFORMS: ApiVersion = ApiVersion::new(1, 48);
const PUSH_PLATFORM: ApiVersion = ApiVersion::new(1, 46);
const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");

/// One archive of all images named.
pub async fn save(api: &Api, request: &Request) -> Answer {
    let names = if request.name.is_empty() { request.query.all("names") } else { vec![request.name.clone()] };
    if names.is_empty() {
        return Err(Failure::bad_request("no images to save"));
    }
    let wanted = SaveRequest { names, platform: platform(&request.query, request.version)? };
    Ok(reply::chunks(TAR, api.images.save_archive(&wanted).await?))
}

pub async fn load(api: Arc<Api>, request: Request) -> Answer {
    let wanted = LoadRequest {
        platform: platform(&request.query, request.version)?,
        quiet: request.query.flag_or("quiet", true),
    };
    let body = request.body.into_data_stream().map(|chunk| chunk.map_err(std::io::Error::other));
    let loaded = operation::run(move |progress| async move {
        api.images.load_archive(&wanted, Box::pin(body), &progress).await?;
        Ok(())
    })
    .await;
    // A failure is a line of the answer even when it is the first one: so Docker answers, and its clients look there.
    Ok(loaded.unwrap_or_else(|failure| reply::json_lines(stream::iter([JsonMessage::failure(failure.message)]))))
}

/// A platform as JSON, the form that it has since clients can choose one of several.
pub fn platform(query: &Query, version: ApiVersion) -> Result<Option<Platform>, Failure> {
    let Some(text) = query.text("platform").filter(|_| version >= PLATFORMS) else { return Ok(None) };
    parse(text).map(Some)
}

/// The platform of a push, which had the form two versions earlier.
pub fn push_platform(query: &Query, version: ApiVersion) -> Result<Option<Platform>, Failure> {
    let text = query.text("platform").filter(|_| version >= PUSH_PLATFORM);
    text.map(parse).transpose()
}

/// All platforms of a parameter that may be repeated.
pub fn platforms(query: &Query, name: &str) -> Result<Vec<Platform>, Failure> {
    query.all(name).iter().filter(|text| !text.is_empty()).map(|text| parse(text)).collect()
}

fn parse(text: &str) -> Result<Platform, Failure> {
    let wrong = |reason: String| Failure::bad_request(format!("failed to parse platform: {reason}"));
    let platform: Platform = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    if platform.os.is_empty() && platform.architecture.is_empty() {
        return Err(wrong("neither os nor architecture is given".to_owned()));
    }
    if platform.os.is_empty() || platform.architecture.is_empty() {
        return Err(Failure::bad_request("both OS and Architecture must be provided"));
    }
    Ok(platform.normalized())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_an_object_since_1_48_and_nothing_before() {
        let query = Query::parse("platform=%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22x86_64%22%7D").unwrap();
        let read = |version| platform(&query, ApiVersion::new(1, version)).unwrap().map(|found| found.to_string());
        assert_eq!(read(48).as_deref(), Some("linux/amd64"));
        assert_eq!(read(47), None);
        let broken = Query::parse("platform=linux").unwrap();
        assert!(platform(&broken, PLATFORMS).is_err());
    }
}
