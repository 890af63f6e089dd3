//! `docker image rm --platform`: the manifests of some platforms go, the image keeps its names and its other manifests.

use ids::{Digest, short};
use image_core::Platform;

use crate::error::ImagesError;
use crate::events::ImageEventKind;
use crate::holdings::ManifestKind;
use crate::loaded::LoadedImage;
use crate::remove::{RemoveOptions, Removed};
use crate::resolve::Found;
use crate::service::Images;

impl Images {
    /// Removes these platforms' manifests with all that nothing else needs. An image that has nothing besides goes whole, as
    /// by [`Images::remove`].
    pub async fn remove_platforms(
        &self,
        name: &str,
        platforms: &[Platform],
        options: RemoveOptions,
    ) -> Result<Vec<Removed>, ImagesError> {
        let found = self.find(name).await?;
        let mut going: Vec<std::sync::Arc<LoadedImage>> = Vec::new();
        for platform in platforms {
            let image = self.find_platform(name, platform).await?.image;
            if !going.iter().any(|known| known.manifest_digest == image.manifest_digest) {
                going.push(image);
            }
        }
        let goes = |digest: &Digest| going.iter().any(|image| image.manifest_digest == *digest);
        let stays = self.manifests(&found.image.id).await?.into_iter().any(|one| {
            one.available && matches!(one.kind, ManifestKind::Image { .. }) && !goes(&one.descriptor.digest)
        });
        if !stays {
            return self.remove(name, options).await;
        }
        for image in &going {
            self.check_platform_unused(image, options)?;
            self.check_platform_alone(&found, image).await?;
        }
        for image in &going {
            self.backend.delete_blob(&image.manifest_digest).await?;
        }
        self.collect().await?;
        self.forget_loaded(&found);
        for image in &going {
            self.forget_sizes(image);
            let id = image.manifest_digest.to_string();
            self.event(ImageEventKind::Delete, &id, &id, &image.config);
        }
        Ok(going.iter().map(|image| Removed::Deleted(image.manifest_digest.to_string())).collect())
    }

    fn check_platform_unused(&self, image: &LoadedImage, options: RemoveOptions) -> Result<(), ImagesError> {
        let users = self.shared.users.users_of(&image.id);
        let conflict = |hard, state: &str, container: &str| ImagesError::DeleteConflict {
            image: short(&image.manifest_digest.to_string()).to_owned(),
            hard,
            reason: format!("image is being used by {state} container {}", short(container)),
        };
        match users.iter().find(|user| user.running).or(users.first()) {
            Some(user) if user.running => Err(conflict(true, "running", &user.container_id)),
            Some(user) if !options.force => Err(conflict(false, "stopped", &user.container_id)),
            _ => Ok(()),
        }
    }

    /// Another image that has the manifest, too, would be left without it.
    async fn check_platform_alone(&self, found: &Found, image: &LoadedImage) -> Result<(), ImagesError> {
        let own = |target: &Digest| {
            *target != image.manifest_digest && found.records.iter().any(|record| record.target.digest == *target)
        };
        let all = self.all().await?;
        for record in all.values().flat_map(|other| &other.records).filter(|record| !own(&record.target.digest)) {
            let below = self.documents_below(&record.target).await?;
            if below.iter().any(|(descriptor, _)| descriptor.digest == image.manifest_digest) {
                return Err(ImagesError::DeleteConflict {
                    image: short(&image.manifest_digest.to_string()).to_owned(),
                    hard: true,
                    reason: "image is referenced in multiple repositories".to_owned(),
                });
            }
        }
        Ok(())
    }
}
