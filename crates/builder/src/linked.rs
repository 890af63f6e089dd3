//! `COPY --link`: a layer that looks at nothing below it is made once, and laid on whichever base comes next.

use build_core::KeyMaker;
use ids::Digest;

use crate::cache::Entry;
use crate::cancel::unless;
use crate::error::BuildError;
use crate::state::{Build, Outcome, StageState, owner};

/// What such a layer follows from: everything but what lies below.
pub(crate) fn key(build: &Build<'_>, fields: &[&str]) -> Digest {
    let epoch = build.epoch.map(|epoch| epoch.to_string()).unwrap_or_default();
    KeyMaker::new("linked").fields(fields).field(epoch).finish()
}

/// The layer of another base on this one. `None`: there is none, or it cannot be had any more.
pub(crate) async fn rebase(
    build: &Build<'_>,
    state: &mut StageState,
    linked: &Digest,
    step: &Digest,
) -> Result<Option<Outcome>, BuildError> {
    if !state.looks_up {
        return Ok(None);
    }
    let found = build.shared.cache.find(linked);
    let Some(layer) = found.and_then(|entry| entry.image.layers.last().cloned()) else { return Ok(None) };
    build.verify(state).await?;
    let owner = owner(step);
    let laid = async {
        let held = build.shared.images.hold().await?;
        build.shared.images.add_layer(&owner, &state.image, (held.source(&layer).open)(0)).await
    };
    let laid = match unless(build.token, laid).await {
        Err(BuildError::Cancelled) => return Err(BuildError::Cancelled),
        // It went with the step that had made it.
        Err(error) => {
            tracing::debug!(error = errors::chain(&error), "a linked layer is made anew");
            return Ok(None);
        }
        Ok(laid) => laid,
    };
    state.image.config.rootfs.diff_ids.push(laid.digest);
    state.image.layers.push(laid);
    build.tell_cached().await;
    Ok(Some(Outcome::here(true)))
}

/// Remembers the step's layer for other bases. It lies on the step, which keeps the layer.
pub(crate) async fn remember(
    build: &Build<'_>,
    state: &StageState,
    linked: &Digest,
    step: &Digest,
) -> Result<(), BuildError> {
    let entry = Entry::new(state.image.clone(), Some(step.to_string()), "COPY --link".to_owned(), false, 0);
    Ok(build.shared.cache.put(linked, entry).await?)
}
