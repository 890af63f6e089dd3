//! `/images`: pull, push, import, list, look at, name, save, load, remove.

pub mod archive;
mod credentials;
mod operation;
pub mod prune;
pub mod remote;

use std::collections::BTreeMap;
use std::sync::Arc;

use engine_api::image as wire;
use engine_api::json_message::JsonMessage;
use engine_api::{ApiVersion, Empty, adapt};
use futures_util::StreamExt;
use http::StatusCode;
use http_body_util::BodyExt;
use ids::{Digest, Reference};
use images::{
    ContainerConfig, HistoryLine, ImageSummary, ImportRequest, ListFilters, ManifestKind, ManifestSummary, Platform,
    Progress, ProgressSender, PullRequest, PushRequest, RemoveOptions, Removed, ResolvedImage,
};

use crate::Api;
use crate::query::Query;
use crate::reply;
use crate::request::Request;
use crate::status::{Answer, Failure};

pub use credentials::from_config as credentials_of;

/// The versions in which these could be asked for first.
const SHARED_SIZES: ApiVersion = ApiVersion::new(1, 42);
const MANIFESTS: ApiVersion = ApiVersion::new(1, 47);
const MANIFESTS_OF_ONE: ApiVersion = ApiVersion::new(1, 48);
const PLATFORM_OF_ONE: ApiVersion = ApiVersion::new(1, 49);
const PLATFORMS_TO_REMOVE: ApiVersion = ApiVersion::new(1, 50);

const FILTERS: [&str; 6] = ["before", "dangling", "label", "reference", "since", "until"];

pub async fn list(api: &Api, request: &Request) -> Answer {
    let query = &request.query;
    let images = api.images.list(&filters(query)?).await?;
    let shared = if query.flag("shared-size") && request.version >= SHARED_SIZES {
        Some(api.images.usage().await?.shared_bytes)
    } else {
        None
    };
    let with_manifests = query.flag("manifests") && request.version >= MANIFESTS;
    let mut listed = Vec::with_capacity(images.len());
    for image in images {
        let id = image.id;
        let mut line = summary(image);
        if let Some(shared) = &shared {
            line.shared_size = shared.get(&id).map_or(0, |bytes| number(*bytes));
        }
        if with_manifests {
            line.manifests = Some(manifests(api, &id).await?);
        }
        listed.push(line);
    }
    adapt::image_list(&mut listed, request.version);
    Ok(reply::ok(&listed))
}

fn number(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

async fn manifests(api: &Api, id: &Digest) -> Result<Vec<wire::ManifestSummary>, Failure> {
    Ok(api.images.manifests(id).await?.into_iter().map(manifest_summary).collect())
}

fn manifest_summary(manifest: ManifestSummary) -> wire::ManifestSummary {
    let content = number(manifest.content_bytes);
    let mut line = wire::ManifestSummary {
        id: manifest.descriptor.digest.to_string(),
        descriptor: descriptor(&manifest.descriptor),
        available: manifest.available,
        size: wire::ManifestSize { content, total: content },
        kind: "unknown".to_owned(),
        image_data: None,
        attestation_data: None,
    };
    match manifest.kind {
        ManifestKind::Image { platform, containers, unpacked_bytes } => {
            "image".clone_into(&mut line.kind);
            line.size.total = content.saturating_add(number(unpacked_bytes));
            let size = wire::UnpackedSize { unpacked: number(unpacked_bytes) };
            let platform = platform_to_wire(platform);
            line.image_data = Some(wire::ManifestImage { platform, containers, size });
        }
        ManifestKind::Attestation { of } => {
            "attestation".clone_into(&mut line.kind);
            let of = of.map(|digest| digest.to_string()).unwrap_or_default();
            line.attestation_data = Some(wire::ManifestAttestation { of });
        }
        ManifestKind::Unknown => {}
    }
    line
}

fn platform_to_wire(platform: Platform) -> wire::Platform {
    wire::Platform {
        architecture: platform.architecture,
        os: platform.os,
        os_version: platform.os_version.unwrap_or_default(),
        os_features: platform.os_features.unwrap_or_default(),
        variant: platform.variant,
    }
}

fn descriptor(descriptor: &image_core::Descriptor) -> wire::Descriptor {
    wire::Descriptor {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.to_string(),
        size: number(descriptor.size),
        urls: descriptor.urls.clone().unwrap_or_default(),
        annotations: descriptor.annotations.clone().unwrap_or_default(),
        platform: descriptor.platform.clone().map(platform_to_wire),
    }
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
    let until = prune::until(&filters.values("until").collect::<Vec<_>>())?;
    Ok(ListFilters { dangling, reference, label: all("label"), before: first("before"), since: first("since"), until })
}

pub fn summary(image: ImageSummary) -> wire::Summary {
    wire::Summary {
        containers: i64::try_from(image.containers).unwrap_or(i64::MAX),
        created: image.created,
        id: image.id.to_string(),
        labels: Some(image.labels).filter(|labels| !labels.is_empty()),
        parent_id: image.parent,
        repo_digests: image.repo_digests,
        repo_tags: image.names,
        shared_size: -1,
        size: i64::try_from(image.size).unwrap_or(i64::MAX),
        ..wire::Summary::default()
    }
}

pub async fn inspect(api: &Api, request: &Request) -> Answer {
    let with_manifests = request.query.flag("manifests") && request.version >= MANIFESTS_OF_ONE;
    let platform = archive::platform(&request.query, request.version)?.filter(|_| request.version >= PLATFORM_OF_ONE);
    if with_manifests && platform.is_some() {
        return Err(Failure::bad_request("conflicting options: manifests and platform options cannot both be set"));
    }
    let image = match &platform {
        Some(platform) => api.images.describe_platform(&request.name, platform).await?,
        None => api.images.resolve(&request.name).await?,
    };
    let id = image.id;
    let mut answer = to_wire(image);
    if with_manifests {
        answer.manifests = Some(manifests(api, &id).await?);
    }
    Ok(reply::ok(&adapt::image_inspect(answer, request.version)))
}

fn to_wire(image: ResolvedImage) -> wire::Inspect {
    let tagged = image.last_tagged.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let tagged = container_core::Timestamp(i64::try_from(tagged.as_nanos()).unwrap_or(i64::MAX));
    wire::Inspect {
        id: image.id.to_string(),
        repo_tags: image.names,
        repo_digests: image.repo_digests,
        parent: image.parent,
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
        descriptor: Some(descriptor(&image.target)),
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
    let platform = archive::platform(&request.query, request.version)?;
    let lines = api.images.history(&request.name, platform.as_ref()).await?;
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
    let source = query.text("fromSrc").unwrap_or("-").to_owned();
    let name = match query.text("repo") {
        Some(repo) => Some(reference_of(repo, query.text("tag"))?.with_default_tag()),
        None => None,
    };
    let wanted = ImportRequest {
        name,
        changes: query.all("changes"),
        message: query.text("message").map_or_else(|| format!("Imported from {source}"), str::to_owned),
        platform: platform(query)?,
    };
    if source != "-" {
        return import_from(api, wanted, source).await;
    }
    let body = request.body.into_data_stream().map(|chunk| chunk.map_err(std::io::Error::other));
    let id = api.images.import(&wanted, Box::pin(body)).await?;
    Ok(reply::json_lines(futures_util::stream::iter([JsonMessage::status(id.to_string())])))
}

/// The engine fetches what is at the URL; one without a scheme is an http one.
async fn import_from(api: Arc<Api>, wanted: ImportRequest, source: String) -> Answer {
    let url = if source.contains("://") { source } else { format!("http://{source}") };
    operation::run(move |progress| async move {
        let (body, size) = api.images.download(&url).await?;
        let told = |status: String| Progress { status, ..Progress::default() };
        progress.send(told(format!("Downloading from {url}"))).await;
        let id = api.images.import(&wanted, metered(body, size, progress.clone())).await?;
        progress.send(told(id.to_string())).await;
        Ok(())
    })
    .await
}

/// The same bytes, told of as they pass.
fn metered(body: images::ByteStream, size: Option<u64>, progress: ProgressSender) -> images::ByteStream {
    let mut current = 0;
    Box::pin(body.then(move |piece| {
        current += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        let (progress, current) = (progress.clone(), Some(current));
        async move {
            let status = "Importing".to_owned();
            progress.send(Progress { status, current, total: size, ..Progress::default() }).await;
            piece
        }
    }))
}

pub async fn push(api: Arc<Api>, request: Request) -> Answer {
    // Without a tag all of the repository's are meant.
    let reference = reference_of(&request.name, request.query.text("tag"))?;
    let platform = archive::push_platform(&request.query, request.version)?;
    let wanted = PushRequest { reference, platform, credentials: credentials::of(&request)? };
    operation::run(move |progress| async move {
        api.images.push(&wanted, &progress).await?;
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
    let platforms = if request.version >= PLATFORMS_TO_REMOVE {
        archive::platforms(&request.query, "platforms")?
    } else {
        Vec::new()
    };
    let removed = if platforms.is_empty() {
        api.images.remove(&request.name, options).await?
    } else {
        api.images.remove_platforms(&request.name, &platforms, options).await?
    };
    Ok(reply::ok(&deleted(removed)))
}

fn deleted(removed: Vec<Removed>) -> Vec<wire::DeleteResponse> {
    let line = |removed| match removed {
        Removed::Untagged(untagged) => wire::DeleteResponse { untagged, ..Default::default() },
        Removed::Deleted(deleted) => wire::DeleteResponse { deleted, ..Default::default() },
    };
    removed.into_iter().map(line).collect()
}
