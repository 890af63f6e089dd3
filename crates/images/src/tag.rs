//! `docker image tag`.

use errors::ErrorKind;
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
        check_new_name(name)?;
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

/// What no image may be called: an exact one, or what would read as a digest.
pub(crate) fn check_new_name(name: &Reference) -> Result<(), ImagesError> {
    if name.digest().is_some() {
        return Err(ImagesError::TagWithDigest);
    }
    if name.familiar_name() == "sha256" {
        let message = "refusing to create an ambiguous tag using digest algorithm as name".to_owned();
        return Err(ImagesError::Refused { message, kind: ErrorKind::InvalidArgument });
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_digests_or_read_like_them_are_refused() {
        let check = |text: &str| check_new_name(&Reference::parse_familiar(text).unwrap());
        assert!(check("sha256/x:1").is_ok() && check("example.org/sha256:1").is_ok());
        for name in ["sha256:some", "sha256"] {
            let refused = check(name).unwrap_err();
            assert!(refused.to_string().starts_with("refusing to create an ambiguous tag"), "{refused}");
        }
    }
}
