//! `POST /containers/x/update` and `POST /containers/prune`.

use engine_api::adapt;
use engine_api::container as wire;
use engine_api::host_config::HostConfig;
use serde::Deserialize;

use crate::Api;
use crate::reply;
use crate::request::Request;
use crate::status::{Answer, Failure};
use ::containers::{PruneRequest, UpdateRequest};
use container_core::{Resources, RestartPolicy, Timestamp};

const PRUNE_FILTERS: [&str; 3] = ["label", "label!", "until"];

/// What Docker calls a `HostConfig` that has little in it.
#[derive(Default, Deserialize)]
struct UpdateConfig(HostConfig);

/// The body has the limits of a `HostConfig` at its top, and the restart policy beside them.
pub async fn update(api: &Api, request: Request) -> Answer {
    let (name, version) = (request.name.clone(), request.version);
    let UpdateConfig(mut body) = request.json().await?;
    adapt::container_update(&mut body, version);
    // All that is not positive is no limit.
    body.pids_limit = body.pids_limit.map(|limit| limit.max(0));
    let policy = &body.restart_policy;
    let restart_policy = match policy.name.as_str() {
        "" => None,
        name => Some(RestartPolicy::parse(name, policy.maximum_retry_count)?),
    };
    // Here no limit is a limit that goes; at a creation it is none.
    let resources = Resources { pids_limit: body.pids_limit, ..super::create::resources(&body) };
    let wanted = UpdateRequest { resources, restart_policy };
    let warnings = api.containers.containers.update(&name, wanted).await?;
    Ok(reply::ok(&wire::UpdateResponse { warnings: Some(warnings).filter(|warnings| !warnings.is_empty()) }))
}

pub async fn prune(api: &Api, request: &Request) -> Answer {
    let filters = request.query.filters()?;
    filters.check_keys(&PRUNE_FILTERS)?;
    let list = |key: &str| filters.values(key).map(str::to_owned).collect::<Vec<_>>();
    let wanted = PruneRequest { until: until(&list("until"))?, labels: list("label"), labels_absent: list("label!") };
    let pruned = api.containers.containers.prune(wanted).await?;
    Ok(reply::ok(&wire::PruneReport {
        containers_deleted: Some(pruned.ids).filter(|ids| !ids.is_empty()),
        space_reclaimed: pruned.reclaimed,
    }))
}

/// One time, or a duration before now.
pub fn until(values: &[String]) -> Result<Option<Timestamp>, Failure> {
    match values {
        [] => Ok(None),
        [value] => {
            let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
            let time = crate::query::parse_time_before_ns(value, now);
            let time = time.ok_or_else(|| Failure::bad_request(format!("invalid filter 'until={value}'")))?;
            Ok(Some(Timestamp(time)))
        }
        _ => Err(Failure::bad_request("more than one until filter specified")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_time_at_most_is_asked_for() {
        assert!(until(&["1s".to_owned(), "2s".to_owned()]).is_err());
        assert!(until(&["soon".to_owned()]).is_err());
        assert_eq!(until(&["1".to_owned()]).ok(), Some(Some(Timestamp(1_000_000_000))));
        assert!(until(&["24h".to_owned()]).is_ok_and(|time| time.is_some()));
    }
}
