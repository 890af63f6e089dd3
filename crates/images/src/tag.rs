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
        self.set_name(found_record(&found, source).renamed(name.to_string())).await?;
        let familiar = name.familiar();
        self.event(ImageEventKind::Tag, &found.image.id.to_string(), &familiar, &found.image.config);
        Ok(())
    }

    /// Lets the record's name stand for its target, whatever it stood for.
    pub(crate) async fn set_name(&self, record: Record) -> Result<(), ImagesError> {
        let old = self.backend.record(&record.name).await?;
        let digest = record.target.digest;
        self.backend.put_record(&record).await?;
        if let Some(old) = old.filter(|old| old.target.digest != digest) {
            self.keep_nameless(&old).await?;
        }
        self.backend.delete_record(&dangling(&digest), Collect::Later).await
    }
}

/// An image can have several manifests: the one that the name stands for, else any.
fn found_record(found: &Found, source: &str) -> Record {
    let full = Reference::parse_familiar(source).map(|reference| reference.with_default_tag().to_string()).ok();
    let named = found.records.iter().find(|record| Some(&record.name) == full.as_ref());
    match named.or(found.records.first()) {
        Some(record) => record.clone(),
        None => {
            let digest = found.image.manifest_digest;
            Record::new(dangling(&digest), image_core::Descriptor::new(&found.image.manifest.media_type, digest, 0))
        }
    }
}
