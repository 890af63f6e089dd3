//! `docker image prune`: what nobody uses goes, and gives its space back at once.

use ids::Digest;

use crate::backend::Collect;
use crate::error::ImagesError;
use crate::events::{ImageEvent, ImageEventKind};
use crate::list::label_matches;
use crate::remove::Removed;
use crate::resolve::{Found, tags};
use crate::service::Images;

/// Which unused images go.
#[derive(Debug, Clone, Default)]
pub struct PruneFilters {
    /// Those with a name as well.
    pub named: bool,
    /// Only what was made before.
    pub until: Option<jiff::Timestamp>,
    /// `key` or `key=value`; all must hold. A leading `!` turns one around.
    pub label: Vec<String>,
}

/// What went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    pub removed: Vec<Removed>,
    pub reclaimed_bytes: u64,
}

impl Images {
    /// Removes every image that no container uses and that passes the filters. One that cannot be removed stays, and the
    /// others go nevertheless.
    pub async fn prune(&self, filters: &PruneFilters) -> Result<Pruned, ImagesError> {
        let before = self.all().await?;
        let going: Vec<&Found> = before.values().filter(|found| self.is_prunable(found, filters)).collect();
        let mut pruned = Pruned::default();
        if !going.is_empty() {
            let sizes = self.backend.blob_sizes().await?;
            let mut held = self.holdings(going.iter().copied(), &sizes).await?;
            let bytes = self.bytes_of(&held).await?;
            for found in going {
                match self.remove_unused(&found.image.id, Collect::Later).await {
                    Ok(removed) => pruned.removed.extend(removed),
                    Err(error) => tracing::warn!(image = %found.image.id, %error, "image not pruned"),
                }
            }
            self.collect().await?;
            let after = self.all().await?;
            let kept = self.holdings(after.values(), &sizes).await?;
            held.blobs.retain(|digest, _| kept.blobs.contains_key(digest));
            held.chains.retain(|chain| kept.chains.contains(chain));
            pruned.reclaimed_bytes = bytes.saturating_sub(self.bytes_of(&held).await?);
        }
        let attributes = [("reclaimed".to_owned(), pruned.reclaimed_bytes.to_string())].into();
        self.shared.events.image_event(ImageEvent { kind: ImageEventKind::Prune, id: String::new(), attributes });
        Ok(pruned)
    }

    fn is_prunable(&self, found: &Found, filters: &PruneFilters) -> bool {
        let config = &found.image.config;
        let early = filters.until.is_none_or(|until| found.image.created().is_none_or(|created| created < until));
        (filters.named || tags(&found.records).is_empty() && found.is_nameless())
            && early
            && filters.label.iter().all(|filter| label_matches(&config.config.labels, filter))
            && self.shared.users.users_of(&found.image.id).is_empty()
    }

    /// The image with all its names, unless a container has been made of it meanwhile.
    pub(crate) async fn remove_unused(&self, id: &Digest, collect: Collect) -> Result<Vec<Removed>, ImagesError> {
        let Some(found) = self.all().await?.remove(id) else { return Ok(Vec::new()) };
        if !self.shared.users.users_of(id).is_empty() {
            return Ok(Vec::new());
        }
        self.remove_whole(&found, collect).await
    }
}
