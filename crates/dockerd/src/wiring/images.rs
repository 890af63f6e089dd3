//! Containers ask for images, images ask for the containers that use them.

use std::sync::{Arc, OnceLock};

use super::{BusSinks, StepImages};
use async_trait::async_trait;
use container_core::{Config, Healthcheck, ImageDefaults};
use containers::{ContainerEvent, EventSink, EventSubject, Image, ImageCommit, ImageSource, PortError};
use errors::Kind;
use futures_util::stream;
use ids::{Digest, Reference};
use image_core::{ContainerConfig, ImageError};
use images::{CommitRequest, ImageUser, ImageUsers, Images, ImagesError, ResolvedImage};

/// The images service, as containers see it.
pub struct ImageLookup {
    pub images: Images,
    /// What builds have their containers on.
    pub steps: StepImages,
}

#[async_trait]
impl ImageSource for ImageLookup {
    async fn resolve(&self, name: &str) -> Result<Image, PortError> {
        if let Some(image) = self.steps.get(name) {
            return Ok(image);
        }
        match self.images.resolve(name).await {
            Ok(image) => {
                self.images.note_use(image.id);
                Ok(to_image(image))
            }
            Err(error) => Err(refused(error)),
        }
    }

    async fn id_of(&self, name: &str) -> Result<String, PortError> {
        self.images.id_of(name).await.map(|id| id.to_string()).map_err(refused)
    }

    async fn commit(&self, commit: ImageCommit) -> Result<String, PortError> {
        let container = image_config(&commit.container_config);
        let mut config = commit.config.as_ref().map_or_else(|| container.clone(), image_config);
        let wrong = |error: ImageError| PortError { kind: error.kind(), message: error.to_string() };
        image_core::apply_changes(&mut config, &commit.changes).map_err(wrong)?;
        image_core::merge_container(&mut config, &container);
        let name = commit.name.as_deref().map(Reference::parse_familiar).transpose();
        let request = CommitRequest {
            parent: commit.parent,
            config,
            author: commit.author,
            comment: commit.comment,
            created_by: commit.container_config.cmd.unwrap_or_default().join(" "),
            name: name.map_err(|error| PortError { kind: error.kind(), message: error.to_string() })?,
        };
        let layer = stream::unfold(commit.layer, |mut layer| async move {
            let piece = layer.next().await?;
            Some((piece, layer))
        });
        let committed = self.images.commit(&request, Box::pin(layer)).await;
        committed.map(|id| id.to_string()).map_err(refused)
    }
}

fn refused(error: ImagesError) -> PortError {
    PortError { kind: error.kind(), message: errors::chain(&error) }
}

/// What of a container's configuration is an image's.
fn image_config(config: &Config) -> ContainerConfig {
    let healthcheck = config.healthcheck.as_ref().map(|check| image_core::Healthcheck {
        test: check.test.clone(),
        interval: check.interval_ns,
        timeout: check.timeout_ns,
        start_period: check.start_period_ns,
        start_interval: check.start_interval_ns,
        retries: check.retries,
    });
    ContainerConfig {
        user: config.user.clone(),
        exposed_ports: config.exposed_ports.iter().cloned().collect(),
        env: config.env.clone(),
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        healthcheck,
        volumes: config.volumes.iter().cloned().collect(),
        working_dir: config.working_dir.clone(),
        labels: config.labels.clone(),
        stop_signal: config.stop_signal.clone().unwrap_or_default(),
        stop_timeout: config.stop_timeout_s,
        ..ContainerConfig::default()
    }
}

fn to_image(image: ResolvedImage) -> Image {
    let config = &image.config.config;
    let healthcheck = config.healthcheck.as_ref().map(|check| Healthcheck {
        test: check.test.clone(),
        interval_ns: check.interval,
        timeout_ns: check.timeout,
        start_period_ns: check.start_period,
        start_interval_ns: check.start_interval,
        retries: check.retries,
    });
    let defaults = ImageDefaults {
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        env: config.env.clone(),
        user: config.user.clone(),
        working_dir: config.working_dir.clone(),
        volumes: config.volumes.iter().cloned().collect(),
        exposed_ports: config.exposed_ports.iter().cloned().collect(),
        labels: config.labels.clone(),
        stop_signal: Some(config.stop_signal.clone()).filter(|signal| !signal.is_empty()),
        healthcheck,
        args_escaped: config.args_escaped,
    };
    Image {
        id: image.id.to_string(),
        name: image.names.first().map_or_else(|| image.id.to_string(), ToString::to_string),
        defaults,
        chain_id: image.chain_id,
        os: image.config.os.clone(),
    }
}

/// Events of containers, which the images service hears of as well: with a container an image may become free to go.
pub struct EventsOfContainers {
    pub bus: BusSinks,
    pub images: Images,
}

impl EventSink for EventsOfContainers {
    fn publish(&self, event: ContainerEvent) {
        let is_end = event.subject == EventSubject::Container && event.action == "destroy";
        if let Some(image) = event.attributes.get("image").filter(|_| is_end) {
            self.images.note_end_of_use(image);
        }
        EventSink::publish(&self.bus, event);
    }
}

/// The containers service, as images see it. It is opened after them, since containers need images more.
#[derive(Clone, Default)]
pub struct UsersOfImages(Arc<OnceLock<Arc<containers::Service>>>);

impl UsersOfImages {
    /// Once, before the API listens.
    pub fn connect(&self, service: &Arc<containers::Service>) {
        // A second call would name the same service.
        let _ = self.0.set(Arc::clone(service));
    }
}

impl ImageUsers for UsersOfImages {
    fn users_of(&self, image: &Digest) -> Vec<ImageUser> {
        let Some(service) = self.0.get() else { return Vec::new() };
        let id = image.to_string();
        let users = service.containers.users_of_image(&id).into_iter();
        users.map(|(container_id, running)| ImageUser { container_id, running }).collect()
    }
}
