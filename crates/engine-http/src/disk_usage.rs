//! `GET /system/df`: what containers, images and volumes take on disk.

use containers::ListRequest;
use engine_api::adapt;
use engine_api::container::Summary as ContainerSummary;
use engine_api::image::Summary as ImageSummary;
use engine_api::system::DiskUsage;
use images::ListFilters;

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
    if wants("image") {
        (usage.layers_size, usage.images) = images(api).await.map(|(size, images)| (size, Some(images)))?;
    }
    if wants("container") {
        usage.containers = Some(containers(api).await?);
    }
    if wants("volume") {
        usage.volumes = Some(api.volumes.usage().await?.into_iter().map(crate::volumes::with_usage).collect());
    }
    usage.build_cache = wants("build-cache").then(|| crate::build::cache_records(api));
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
    let listed =
        api.containers.containers.list(&ListRequest { all: true, size: true, ..ListRequest::default() }).await?;
    Ok(listed.into_iter().map(crate::containers::summary).collect())
}
