//! `GET /system/df`: what containers, images and volumes take on disk.

use std::collections::BTreeMap;

use containers::ListRequest;
use engine_api::adapt;
use engine_api::container::Summary as ContainerSummary;
use engine_api::image::Summary as ImageSummary;
use engine_api::mount::MountPoint;
use engine_api::system::DiskUsage;
use engine_api::volume::{UsageData, Volume};
use images::ListFilters;

use crate::Api;
use crate::reply;
use crate::request::Request;
use crate::status::{Answer, Failure};

const KINDS: [&str; 4] = ["container", "image", "volume", "build-cache"];

/// All kinds, or those that the request names.
pub async fn disk_usage(api: &Api, request: &Request) -> Answer {
    let named = if adapt::disk_usage_has_types(request.version) { request.query.all("type") } else { Vec::new() };
    if let Some(unknown) = named.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
        return Err(Failure::bad_request(format!("unknown object type: {unknown}")));
    }
    let wants = |kind: &str| named.is_empty() || named.iter().any(|name| name == kind);
    let mut usage = DiskUsage::default();
    if wants("image") {
        (usage.layers_size, usage.images) = images(api).await.map(|(size, images)| (size, Some(images)))?;
    }
    if wants("container") || wants("volume") {
        let containers = containers(api).await?;
        usage.volumes = wants("volume").then(|| volumes(&containers));
        usage.containers = wants("container").then_some(containers);
    }
    usage.build_cache = wants("build-cache").then(Vec::new);
    Ok(reply::ok(&adapt::disk_usage(usage, request.version)))
}

async fn images(api: &Api) -> Result<(i64, Vec<ImageSummary>), Failure> {
    let usage = api.images.usage().await?;
    let listed = api.images.list(&ListFilters::default()).await?;
    let summaries = listed.into_iter().map(|image| {
        let shared = usage.shared_bytes.get(&image.id).copied().unwrap_or_default();
        ImageSummary { shared_size: i64::try_from(shared).unwrap_or(i64::MAX), ..crate::images::summary(image) }
    });
    Ok((i64::try_from(usage.layers_bytes).unwrap_or(i64::MAX), summaries.collect()))
}

async fn containers(api: &Api) -> Result<Vec<ContainerSummary>, Failure> {
    let listed = api.containers.containers.list(&ListRequest { all: true, ..ListRequest::default() }).await?;
    Ok(listed.into_iter().map(crate::containers::summary).collect())
}

/// The volumes that containers have; their sizes are not known.
fn volumes(containers: &[ContainerSummary]) -> Vec<Volume> {
    let mut found: BTreeMap<&str, (&MountPoint, i64)> = BTreeMap::new();
    for mount in containers.iter().flat_map(|container| &container.mounts).filter(|mount| mount.kind == "volume") {
        found.entry(&mount.name).or_insert((mount, 0)).1 += 1;
    }
    found.into_values().map(|(mount, users)| volume(mount, users)).collect()
}

fn volume(mount: &MountPoint, users: i64) -> Volume {
    Volume {
        driver: mount.driver.clone(),
        mountpoint: mount.source.clone(),
        name: mount.name.clone(),
        scope: "local".to_owned(),
        usage_data: Some(UsageData { ref_count: users, size: -1 }),
        ..Volume::default()
    }
}
