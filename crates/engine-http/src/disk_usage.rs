//! `GET /system/df`: what containers, images and volumes take on disk, and with `why` who holds each byte of it.

use std::collections::HashMap;

use containers::{ContainerSummary, ListRequest};
use engine_api::adapt;
use engine_api::container::Summary as WireContainer;
use engine_api::image::Summary as ImageSummary;
use engine_api::system::{DiskUsage, Stored};
use images::{ListFilters, Usage};
use serde_json::Value;

use crate::Api;
use crate::reply;
use crate::request::Request;
use crate::status::{Answer, Failure};

const KINDS: [&str; 4] = ["container", "image", "volume", "build-cache"];

/// All kinds, or those that the request names.
pub async fn disk_usage(api: &Api, request: &Request) -> Answer {
    let named = request.query.all("type");
    if let Some(unknown) = named.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
        return Err(Failure::bad_request(format!("unknown object type: {unknown}")));
    }
    let wants = |kind: &str| named.is_empty() || named.iter().any(|name| name == kind);
    let mut usage = DiskUsage::default();
    if wants("image") || wants("build-cache") {
        let held = api.images.usage().await?;
        usage.build_cache = wants("build-cache").then(|| build_cache(api, &held));
        if wants("image") {
            usage.layers_size = i64::try_from(held.layers_bytes).unwrap_or(i64::MAX);
            usage.images = Some(images(api, &held).await?);
        }
    }
    if wants("container") {
        usage.containers = Some(containers(api).await?);
    }
    if wants("volume") {
        usage.volumes = Some(api.volumes.usage().await?.into_iter().map(crate::volumes::with_usage).collect());
    }
    if request.query.flag("why") {
        usage.stored = Some(stored(api).await?);
    }
    Ok(reply::ok(&adapt::disk_usage(usage, request.version)))
}

async fn images(api: &Api, held: &Usage) -> Result<Vec<ImageSummary>, Failure> {
    let listed = api.images.list(&ListFilters::default()).await?;
    let summaries = listed.into_iter().map(|image| {
        let shared = held.shared_bytes.get(&image.id).copied().unwrap_or_default();
        ImageSummary { shared_size: i64::try_from(shared).unwrap_or(i64::MAX), ..crate::images::summary(image) }
    });
    Ok(summaries.collect())
}

/// Records with what they take on disk; shared is what images, or records before, have all of.
fn build_cache(api: &Api, held: &Usage) -> Vec<Value> {
    let mut records = crate::build::cache_records(api);
    for record in &mut records {
        // As the builder names the owner of a record's layer.
        let owner = record["ID"].as_str().unwrap_or_default().replace(':', "-");
        let Some(layers) = held.build_layers.get(&owner) else { continue };
        let is_shared = layers.own_bytes == 0;
        record["Shared"] = is_shared.into();
        record["Size"] = if is_shared { layers.bytes } else { layers.own_bytes }.into();
    }
    records
}

/// With what their files take, holes left out, as du tells it: `docker ps --size` tells how long they are.
async fn containers(api: &Api) -> Result<Vec<WireContainer>, Failure> {
    let listed =
        api.containers.containers.list(&ListRequest { all: true, size: true, ..ListRequest::default() }).await?;
    let line = |one: ContainerSummary| {
        let on_disk = one.size.map_or(0, |size| size.on_disk);
        WireContainer { size_rw: i64::try_from(on_disk).unwrap_or(i64::MAX), ..crate::containers::summary(one) }
    };
    Ok(listed.into_iter().map(line).collect())
}

/// Who holds each byte: of the image store, and of the volumes.
async fn stored(api: &Api) -> Result<Vec<Stored>, Failure> {
    let listed = api.containers.containers.list(&ListRequest { all: true, ..ListRequest::default() }).await?;
    // A container's snapshot has its id for a key.
    let names: HashMap<String, String> = listed.iter().map(|one| (one.id.clone(), one.name.clone())).collect();
    let size = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let mut stored: Vec<Stored> = Vec::new();
    for one in api.images.explain(&names).await? {
        let held_by = one.holders.iter().map(ToString::to_string).collect();
        stored.push(Stored { kind: one.kind.as_str().to_owned(), id: one.id, size: size(one.bytes), held_by });
    }
    for one in api.volumes.usage().await? {
        let id = one.volume.name;
        let mounts = |container: &&ContainerSummary| container.mounts.iter().any(|mount| mount.name == id);
        let held_by = listed.iter().filter(mounts).map(|one| format!("container {}", one.name)).collect();
        stored.push(Stored { kind: "volume".to_owned(), id, size: one.bytes.map_or(-1, size), held_by });
    }
    Ok(stored)
}
