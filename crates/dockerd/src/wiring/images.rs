//! Containers ask for images, images ask for the containers that use them.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use container_core::{Healthcheck, ImageDefaults};
use containers::{Image, ImageSource, PortError};
use errors::Kind;
use ids::Digest;
use images::{ImageUser, ImageUsers, Images, ResolvedImage};

/// The images service, as containers see it.
pub struct ImageLookup(pub Images);

#[async_trait]
impl ImageSource for ImageLookup {
    async fn resolve(&self, name: &str) -> Result<Image, PortError> {
        match self.0.resolve(name).await {
            Ok(image) => Ok(to_image(image)),
            Err(error) => Err(PortError { kind: error.kind(), message: errors::chain(&error) }),
        }
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
