//! `docker image tag`.

use ids::Reference;

use crate::backend::{Collect, Record};
use crate::error::ImagesError;
use crate::events::ImageEventKind;
use crate::name::dangling;
use crate::resolve::Found;
use crate::service::Images;

impl Images {
    /// Gives an image a further name. What had the name before keeps none, or its others.
    pub async fn tag(&self, source: &str, name: &Reference) -> Result<(), ImagesError> {
        if name.digest().is_some() {
            return Err(ImagesError::TagWithDigest);
        }
        let found = self.find(source).await?;
        let name = name.clone().with_default_tag();
        self.set_name(&name, found_target(&found, source)).await?;
        let familiar = name.familiar();
        self.event(ImageEventKind::Tag, &found.image.id.to_string(), &familiar, &found.image.config);
        Ok(())
    }

    /// Lets the name stand for the target, whatever it stood for.
    pub(crate) async fn set_name(&self, name: &Reference, target: image_core::Descriptor) -> Result<(), ImagesError> {
        let old = self.backend.record(&name.to_string()).await?;
        let digest = target.digest;
        self.backend.put_record(&Record::new(name.to_string(), target)).await?;
        if let Some(old) = old.filter(|old| old.target.digest != digest) {
            self.keep_nameless(&old).await?;
        }
        self.backend.delete_record(&dangling(&digest), Collect::Later).await
    }
}

/// An image can have several manifests: the one that the name stands for, else any.
fn found_target(found: &Found, source: &str) -> image_core::Descriptor {
    let full = Reference::parse_familiar(source).map(|reference| reference.with_default_tag().to_string()).ok();
    let named = found.records.iter().find(|record| Some(&record.name) == full.as_ref());
    match named.or(found.records.first()) {
        Some(record) => record.target.clone(),
        None => image_core::Descriptor::new(&found.image.manifest.media_type, found.image.manifest_digest, 0),
    }
}
