//! `POST /images/prune`.

use engine_api::image as wire;
use images::PruneFilters;

use super::deleted;
use crate::Api;
use crate::query::parse_time_before_ns;
use crate::reply;
use crate::request::Request;
use crate::status::{Answer, Failure};

const FILTERS: [&str; 4] = ["dangling", "label", "label!", "until"];

/// What has no name and no container; with `dangling=false` what has no container.
pub async fn prune(api: &Api, request: &Request) -> Answer {
    let filters = request.query.filters()?;
    filters.check_keys(&FILTERS)?;
    let mut label: Vec<String> = filters.values("label").map(str::to_owned).collect();
    label.extend(filters.values("label!").map(|value| format!("!{value}")));
    let until = until(&filters.values("until").collect::<Vec<_>>())?;
    let wanted = PruneFilters { named: !filters.truth("dangling", true)?, until, label };
    let pruned = api.images.prune(&wanted).await?;
    Ok(reply::ok(&wire::PruneReport {
        images_deleted: Some(deleted(pruned.removed)).filter(|lines| !lines.is_empty()),
        space_reclaimed: pruned.reclaimed_bytes,
    }))
}

/// One time, or a duration before now.
pub fn until(values: &[&str]) -> Result<Option<jiff::Timestamp>, Failure> {
    match values {
        [] => Ok(None),
        [value] => {
            let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
            let time = parse_time_before_ns(value, now);
            let time = time.and_then(|time| jiff::Timestamp::from_nanosecond(i128::from(time)).ok());
            time.map(Some).ok_or_else(|| Failure::bad_request(format!("invalid filter 'until={value}'")))
        }
        _ => Err(Failure::bad_request("more than one until filter specified")),
    }
}
