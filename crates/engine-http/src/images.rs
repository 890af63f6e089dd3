//! `/images`: pull, push, import, list, look at, name, save, load, remove.

pub mod archive;
mod credentials;
mod operation;

use std::collections::BTreeMap;
use std::sync::Arc;

use engine_api::image as wire;
use engine_api::json_message::JsonMessage;
use engine_api::{Empty, adapt};
use errors::ErrorKind;
use futures_util::StreamExt;
use http::StatusCode;
use http_body_util::BodyExt;
use ids::Reference;
use images::{
    ContainerConfig, HistoryLine, ImageSummary, ImportRequest, ListFilters, Platform, PullRequest, RemoveOptions,
    Removed, ResolvedImage,
};

use crate::Api;
use crate::query::Query;
use crate::reply;
use crate::request::Request;
use crate::status::{Answer, Failure};

pub use credentials::from_config as credentials_of;

const FILTERS: [&str; 6] = ["before", "dangling", "label", "reference", "since", "until"];

pub async fn list(api: &Api, request: &Request) -> Answer {
    let listed = api.images.list(&filters(&request.query)?).await?;
    let mut listed: Vec<wire::Summary> = listed.into_iter().map(summary).collect();
    adapt::image_list(&mut listed, request.version);
    Ok(reply::ok(&listed))
}

fn filters(query: &Query) -> Result<ListFilters, Failure> {
    let filters = query.filters()?;
    filters.check_keys(&FILTERS)?;
    let first = |key: &str| filters.values(key).next().map(str::to_owned);
    let all = |key: &str| filters.values(key).map(str::to_owned).collect::<Vec<_>>();
    let dangling = if filters.has("dangling") { Some(filters.truth("dangling", false)?) } else { None };
    let mut reference = all("reference");
    // What clients before 1.25 sent for a pattern.
    reference.extend(query.text("filter").map(str::to_owned));
    Ok(ListFilters { dangling, reference, label: all("label"), before: first("before"), since: first("since") })
}

pub fn summary(image: ImageSummary) -> wire::Summary {
    wire::Summary {
        containers: i64::try_from(image.containers).unwrap_or(i64::MAX),
        created: image.created,
        id: image.id.to_string(),
        labels: Some(image.labels).filter(|labels| !labels.is_empty()),
        repo_digests: image.repo_digests,
        repo_tags: image.names,
        shared_size: -1,
        size: i64::try_from(image.size).unwrap_or(i64::MAX),
        ..wire::Summary::default()
    }
}

pub async fn inspect(api: &Api, request: &Request) -> Answer {
    let image = api.images.resolve(&request.name).await?;
    Ok(reply::ok(&adapt::image_inspect(to_wire(image), request.version)))
}

fn to_wire(image: ResolvedImage) -> wire::Inspect {
    let tagged = image.last_tagged.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let tagged = container_core::Timestamp(i64::try_from(tagged.as_nanos()).unwrap_or(i64::MAX));
    wire::Inspect {
        id: image.id.to_string(),
        repo_tags: image.names,
        repo_digests: image.repo_digests,
        comment: image.config.comment.clone(),
        created: image.created,
        docker_version: image.config.docker_version.clone(),
        author: image.config.author.clone(),
        config: Some(config(image.config.config)),
        architecture: image.config.architecture.clone(),
        variant: image.config.variant.clone(),
        os: image.config.os.clone(),
        os_version: image.config.os_version.clone(),
        size: i64::try_from(image.size).unwrap_or(i64::MAX),
        graph_driver: engine_api::container::DriverData { data: None, name: "overlay2".to_owned() },
        root_fs: wire::RootFs {
            kind: image.config.rootfs.kind.clone(),
            layers: image.config.rootfs.diff_ids.iter().map(ToString::to_string).collect(),
        },
        metadata: wire::Metadata { last_tag_time: container_core::rfc3339(Some(tagged)) },
        descriptor: Some(wire::Descriptor {
            media_type: image.target.media_type.clone(),
            digest: image.target.digest.to_string(),
            size: i64::try_from(image.target.size).unwrap_or(i64::MAX),
            ..wire::Descriptor::default()
        }),
        ..wire::Inspect::default()
    }
}

fn config(config: ContainerConfig) -> wire::ImageConfig {
    let set = |keys: Vec<String>| {
        let map: BTreeMap<String, Empty> = keys.into_iter().map(|key| (key, Empty {})).collect();
        Some(map).filter(|map| !map.is_empty())
    };
    let healthcheck = config.healthcheck.map(|check| engine_api::container::HealthConfig {
        test: check.test,
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
    });
    wire::ImageConfig {
        user: config.user,
        exposed_ports: set(config.exposed_ports),
        env: Some(config.env).filter(|env| !env.is_empty()),
        entrypoint: config.entrypoint.map(Into::into),
        cmd: config.cmd.map(Into::into),
        volumes: set(config.volumes),
        working_dir: config.working_dir,
        labels: Some(config.labels).filter(|labels| !labels.is_empty()),
        stop_signal: config.stop_signal,
        args_escaped: config.args_escaped,
        healthcheck,
        on_build: Some(config.on_build).filter(|list| !list.is_empty()),
        shell: config.shell.map(Into::into),
    }
}

pub async fn history(api: &Api, request: &Request) -> Answer {
    let lines = api.images.history(&request.name).await?;
    let lines: Vec<wire::HistoryItem> = lines.into_iter().map(history_item).collect();
    Ok(reply::ok(&lines))
}

fn history_item(line: HistoryLine) -> wire::HistoryItem {
    wire::HistoryItem {
        comment: line.comment,
        created: line.created,
        created_by: line.created_by,
        id: line.id,
        size: i64::try_from(line.size).unwrap_or(i64::MAX),
        tags: Some(line.names).filter(|names| !names.is_empty()),
    }
}

/// `fromImage`: a pull. `fromSrc`: an import of the body.
pub async fn create(api: Arc<Api>, request: Request) -> Answer {
    match request.query.text("fromImage").map(str::to_owned) {
        Some(image) => pull(api, &request, &image).await,
        None if request.query.has("fromSrc") => import(api, request).await,
        None => Err(Failure::bad_request("neither fromImage nor fromSrc is given")),
    }
}

async fn pull(api: Arc<Api>, request: &Request, image: &str) -> Answer {
    let reference = reference_of(image, request.query.text("tag"))?;
    if reference.familiar_name() == "scratch" {
        return Err(Failure::bad_request("'scratch' is a reserved name"));
    }
    let platform = platform(&request.query)?;
    let credentials = credentials::of(request)?;
    // A client that asks for a name alone means every tag: the command line adds `latest` itself.
    let all = reference.is_name_only();
    operation::run(move |progress| async move {
        let request = PullRequest { reference, platform, credentials };
        match all {
            true => api.images.pull_all_tags(&request, &progress).await?,
            false => drop(api.images.pull(&request, &progress).await?),
        }
        Ok(())
    })
    .await
}

/// `image` may have a tag or digest of its own; `tag` may be either.
fn reference_of(image: &str, tag: Option<&str>) -> Result<Reference, Failure> {
    let reference = Reference::parse_familiar(image)?;
    match tag {
        None => Ok(reference),
        Some(digest) if digest.contains(':') => Ok(reference.with_digest(digest.parse()?)),
        Some(tag) => Ok(reference.with_tag(tag).map_err(|_| Failure::bad_request("invalid tag format"))?),
    }
}

fn platform(query: &Query) -> Result<Option<Platform>, Failure> {
    let Some(text) = query.text("platform") else { return Ok(None) };
    Ok(Some(Platform::parse(text)?))
}

async fn import(api: Arc<Api>, request: Request) -> Answer {
    let query = &request.query;
    let source = query.text("fromSrc").unwrap_or("-");
    if source != "-" {
        let message = "an image can be imported from the request's body only: the engine fetches no URL";
        return Err(Failure::new(ErrorKind::NotImplemented, message));
    }
    let name = match query.text("repo") {
        Some(repo) => Some(reference_of(repo, query.text("tag"))?.with_default_tag()),
        None => None,
    };
    let wanted = ImportRequest {
        name,
        changes: query.all("changes"),
        message: query.text("message").unwrap_or("Imported from -").to_owned(),
        platform: platform(query)?,
    };
    let body = request.body.into_data_stream().map(|chunk| chunk.map_err(std::io::Error::other));
    let id = api.images.import(&wanted, Box::pin(body)).await?;
    Ok(reply::json_lines(futures_util::stream::iter([JsonMessage::status(id.to_string())])))
}

pub async fn push(api: Arc<Api>, request: Request) -> Answer {
    let mut reference = reference_of(&request.name, request.query.text("tag"))?;
    if !request.query.has("tag") {
        reference = reference.with_default_tag();
    }
    let credentials = credentials::of(&request)?;
    operation::run(move |progress| async move {
        api.images.push(&reference, credentials, &progress).await?;
        Ok(())
    })
    .await
}

pub async fn tag(api: &Api, request: &Request) -> Answer {
    let repo = request.query.text("repo").unwrap_or_default();
    let target = reference_of(repo, request.query.text("tag"))?.with_default_tag();
    api.images.tag(&request.name, &target).await?;
    Ok(reply::empty(StatusCode::CREATED))
}

pub async fn remove(api: &Api, request: &Request) -> Answer {
    let options = RemoveOptions { force: request.query.flag("force"), prune: !request.query.flag("noprune") };
    let removed = api.images.remove(&request.name, options).await?;
    let lines: Vec<wire::DeleteResponse> = removed
        .into_iter()
        .map(|removed| match removed {
            Removed::Untagged(untagged) => wire::DeleteResponse { untagged, ..Default::default() },
            Removed::Deleted(deleted) => wire::DeleteResponse { deleted, ..Default::default() },
        })
        .collect();
    Ok(reply::ok(&lines))
}
