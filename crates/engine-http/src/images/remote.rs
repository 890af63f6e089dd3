//! What registries are asked without a pull: `GET /images/search`, `GET /distribution/x/json`.

use engine_api::image as wire;
use ids::Reference;
use images::SearchRequest;

use super::{credentials, descriptor, platform_to_wire};
use crate::Api;
use crate::reply;
use crate::request::Request;
use crate::status::{Answer, Failure};

const FILTERS: [&str; 3] = ["is-automated", "is-official", "stars"];

pub async fn search(api: &Api, request: &Request) -> Answer {
    let filters = request.query.filters()?;
    filters.check_keys(&FILTERS)?;
    let truth = |key: &str| match filters.has(key) {
        true => filters.truth(key, false).map(Some),
        false => Ok(None),
    };
    let mut stars = 0;
    for value in filters.values("stars") {
        let count: i64 =
            value.parse().map_err(|_| Failure::bad_request(format!("invalid filter 'stars=[{value}]'")))?;
        stars = stars.max(count);
    }
    let wanted = SearchRequest {
        term: request.query.text("term").unwrap_or_default().to_owned(),
        limit: request.query.number("limit")?,
        is_official: truth("is-official")?,
        is_automated: truth("is-automated")?,
        stars,
        credentials: credentials::of(request)?,
    };
    let hits = api.images.search(&wanted).await?;
    let results: Vec<wire::SearchResult> = hits
        .into_iter()
        .map(|hit| wire::SearchResult {
            star_count: hit.star_count,
            is_official: hit.is_official,
            name: hit.name,
            is_automated: hit.is_automated,
            description: hit.description,
        })
        .collect();
    Ok(reply::ok(&results))
}

pub async fn distribution(api: &Api, request: &Request) -> Answer {
    let invalid = |reason: &dyn std::fmt::Display| Failure::bad_request(reason.to_string());
    let reference = Reference::parse_familiar(&request.name).map_err(|error| invalid(&error))?;
    let remote = api.images.remote_image(&reference, credentials::of(request)?).await?;
    Ok(reply::ok(&wire::DistributionInspect {
        descriptor: descriptor(&remote.descriptor),
        platforms: remote.platforms.into_iter().map(platform_to_wire).collect(),
    }))
}
