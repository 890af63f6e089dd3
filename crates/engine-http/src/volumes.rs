//! `/volumes`: list, inspect, create, remove, prune.

use container_core::{NEVER, Timestamp};
use engine_api::filters::Filters;
use engine_api::volume as wire;
use engine_api::{StringMap, adapt};
use errors::ErrorKind;
use http::StatusCode;
use volumes::{CreateVolume, PruneRequest, Usage, VolumeView};

use crate::Api;
use crate::reply;
use crate::request::Request;
use crate::status::{Answer, Failure};

const FILTERS: [&str; 4] = ["dangling", "driver", "label", "name"];
const PRUNE_FILTERS: [&str; 3] = ["all", "label", "label!"];
const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect \
                        this node to swarm and try again.";
const NO_CLUSTER: &str = "volume update only valid for cluster volumes, but swarm is unavailable";

pub async fn list(api: &Api, request: &Request) -> Answer {
    let filters = request.query.filters()?;
    filters.check_keys(&FILTERS)?;
    let dangling = if filters.has("dangling") { Some(filters.truth("dangling", false)?) } else { None };
    let listed = api.volumes.list().await?;
    let matching = listed.volumes.into_iter().filter(|volume| matches(volume, &filters, dangling));
    let volumes = matching.map(|volume| wire::Volume { status: None, ..to_wire(volume) }).collect();
    let warnings = Some(listed.warnings).filter(|warnings| !warnings.is_empty());
    Ok(reply::ok(&wire::ListResponse { volumes, warnings }))
}

fn matches(volume: &VolumeView, filters: &Filters, dangling: Option<bool>) -> bool {
    let any = |key: &str, holds: &dyn Fn(&str) -> bool| !filters.has(key) || filters.values(key).any(holds);
    // A name is a regular expression; one that is none means itself.
    let is_named = |name: &str| {
        name == volume.name || regex_lite::Regex::new(name).is_ok_and(|pattern| pattern.is_match(&volume.name))
    };
    any("driver", &|driver| volume.driver == driver)
        && any("name", &is_named)
        && dangling.is_none_or(|dangling| dangling == (volume.users == 0))
        && filters.match_labels(volume.labels.as_ref().unwrap_or(&StringMap::new()))
}

pub async fn inspect(api: &Api, request: &Request) -> Answer {
    Ok(reply::ok(&to_wire(api.volumes.inspect(&request.name).await?)))
}

pub async fn create(api: &Api, request: Request) -> Answer {
    let version = request.version;
    let body: wire::CreateRequest = request.json_with(|document| document.read_as("VolumeCreateRequest")).await?;
    if body.cluster_volume_spec.is_some() && adapt::volumes_are_of_1_42(version) {
        return Err(Failure::new(ErrorKind::Unavailable, NO_SWARM));
    }
    let wanted = CreateVolume { name: body.name, driver: body.driver, options: body.driver_opts, labels: body.labels };
    let made = api.volumes.create(wanted).await?;
    Ok(reply::json(StatusCode::CREATED, &to_wire(made)))
}

pub async fn remove(api: &Api, request: &Request) -> Answer {
    match request.query.flag("force") {
        true => api.volumes.remove_by_force(&request.name).await?,
        false => api.volumes.remove(&request.name).await?,
    }
    Ok(reply::no_content())
}

/// Only a swarm's volumes can be changed, and this engine is in none.
pub fn update() -> Answer {
    Err(Failure::new(ErrorKind::Unavailable, NO_CLUSTER))
}

pub async fn prune(api: &Api, request: &Request) -> Answer {
    let filters = request.query.filters()?;
    filters.check_keys(&PRUNE_FILTERS)?;
    let values = |key: &str| filters.values(key).map(str::to_owned).collect::<Vec<_>>();
    let wanted = PruneRequest {
        named: !adapt::volumes_are_of_1_42(request.version) || prunes_named(&filters)?,
        labels: values("label"),
        labels_absent: values("label!"),
    };
    let pruned = api.volumes.prune(&wanted).await?;
    Ok(reply::ok(&wire::PruneReport { volumes_deleted: Some(pruned.names), space_reclaimed: pruned.reclaimed }))
}

fn prunes_named(filters: &Filters) -> Result<bool, Failure> {
    match filters.values("all").collect::<Vec<_>>()[..] {
        [] => Ok(false),
        [one] => match one {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
            other => Err(Failure::bad_request(format!(
                "invalid filter 'all': strconv.ParseBool: parsing {other:?}: invalid syntax"
            ))),
        },
        ref many => {
            let many = many.join(" ");
            Err(Failure::bad_request(format!("invalid filter 'all=[{many}]': only one value is expected")))
        }
    }
}

fn to_wire(volume: VolumeView) -> wire::Volume {
    wire::Volume {
        created_at: created_at(volume.created_ns),
        driver: volume.driver,
        labels: volume.labels,
        mountpoint: volume.mountpoint,
        name: volume.name,
        options: volume.options,
        scope: volume.scope.to_owned(),
        status: volume.status,
        usage_data: None,
    }
}

/// As `GET /system/df` shows it.
pub fn with_usage(usage: Usage) -> wire::Volume {
    let size = usage.bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let ref_count = i64::try_from(usage.volume.users).unwrap_or(i64::MAX);
    wire::Volume { usage_data: Some(wire::UsageData { ref_count, size }), ..to_wire(usage.volume) }
}

/// In whole seconds.
fn created_at(time_ns: i64) -> String {
    let seconds = Timestamp(time_ns).seconds();
    match jiff::Timestamp::from_second(seconds) {
        Ok(time) if seconds != 0 => time.to_string(),
        _ => NEVER.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(volume: &VolumeView, filters: &str) -> bool {
        let filters = Filters::parse(filters).unwrap();
        let dangling = filters.has("dangling").then(|| filters.truth("dangling", false).unwrap());
        matches(volume, &filters, dangling)
    }

    #[test]
    fn filters_choose_as_dockers_do() {
        let labels = Some([("team".to_owned(), "blue".to_owned())].into());
        let volume =
            VolumeView { name: "data-1".into(), driver: "local".into(), labels, users: 1, ..VolumeView::default() };
        for filters in [
            "",
            r#"{"name":["data"]}"#,
            r#"{"name":["^d.*1$"],"driver":["local","other"]}"#,
            r#"{"label":["team"],"dangling":["false"]}"#,
            r#"{"label":["team=blue"],"name":["["],"name":["data-1"]}"#,
        ] {
            assert!(listed(&volume, filters), "{filters}");
        }
        for filters in
            [r#"{"name":["["]}"#, r#"{"driver":["other"]}"#, r#"{"dangling":["1"]}"#, r#"{"label":["team=red"]}"#]
        {
            assert!(!listed(&volume, filters), "{filters}");
        }
    }

    #[test]
    fn all_is_one_truth() {
        let all = |text: &str| prunes_named(&Filters::parse(text).unwrap()).map_err(|failure| failure.message);
        assert_eq!(all(""), Ok(false));
        assert_eq!(all(r#"{"all":["True"]}"#), Ok(true));
        assert_eq!(
            all(r#"{"all":["x"]}"#).unwrap_err(),
            "invalid filter 'all': strconv.ParseBool: parsing \"x\": invalid syntax"
        );
        assert_eq!(all(r#"{"all":["1","0"]}"#).unwrap_err(), "invalid filter 'all=[0 1]': only one value is expected");
    }

    #[test]
    fn times_are_in_whole_seconds() {
        assert_eq!(created_at(1_700_000_000_123_456_789), "2023-11-14T22:13:20Z");
        assert_eq!(created_at(0), "0001-01-01T00:00:00Z");
    }
}
