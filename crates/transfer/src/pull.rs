//! Pull: documents first, then configurations and layers, layers unpacked while they arrive, the names last.

use std::collections::HashMap;

use containerd_api::types::transfer::{ImageStore, OciRegistry};
use futures_util::{StreamExt, TryStreamExt, stream};
use ids::Digest;
use image_core::{Descriptor, Document, Manifest, reference_labels};
use tokio::sync::watch;

use crate::Task;
use crate::documents::{Found, Origin};
use crate::error::TransferError;
use crate::progress::{Job, reference_key};
use crate::remote::RemoteImage;
use crate::unpack::{Layer, unpacked};
use crate::wanted::Wanted;

/// Layers that are fetched at a time, as Docker does.
const MAX_FETCHES: usize = 3;

impl Task<'_> {
    pub(crate) async fn pull(&self, from: OciRegistry, to: ImageStore) -> Result<(), TransferError> {
        self.check_store(&to)?;
        let remote = self.remote_image(from).await?;
        self.progress.status(format!("Resolving from {remote}")).await;
        let refused = |error| TransferError::Resolve { reference: remote.reference.to_string(), source: error };
        let target = remote.repository.resolve(&remote.wanted()).await.map_err(refused)?;
        self.progress.status(format!("Pulling from {remote}")).await;
        self.progress.image("fetching image content", &to.name, &target).await;
        let wanted = Wanted::of(&to);
        let found = self.documents(Origin::Registry(&remote.repository), &target, &to.name, &wanted).await?;
        let target = found.first().map_or(target, |first| first.descriptor.clone());
        let unpacks = unpacked(&to);
        let mut any = false;
        for one in &found {
            any |= self.pull_document(&remote, one, unpacks.as_ref()).await?;
        }
        if unpacks.is_some() && !any {
            return Err(TransferError::NotFound(format!("no match for platform in manifest {}", target.digest)));
        }
        for name in self.store_names(&to, &target).await? {
            self.progress.image("saved", &name, &target).await;
        }
        self.progress.status(format!("Completed pull from {remote}")).await;
        Ok(())
    }

    /// One document and what it describes; whether an image was unpacked.
    async fn pull_document(
        &self,
        remote: &RemoteImage,
        found: &Found,
        unpacks: Option<&Wanted>,
    ) -> Result<bool, TransferError> {
        let job = Job { descriptor: found.descriptor.clone(), parent: found.parent.clone() };
        self.progress.blob("waiting", &job, 0).await;
        self.put(&found.descriptor, found.bytes.clone()).await?;
        self.label(&found.descriptor.digest, reference_labels(&found.document)).await?;
        self.label_source(&found.descriptor.digest, remote).await?;
        self.progress.blob("complete", &job, found.descriptor.size).await;
        let Document::Manifest(manifest) = &found.document else { return Ok(false) };
        let parent = reference_key(&found.descriptor.media_type, &found.descriptor.digest);
        let config = Job { descriptor: manifest.config.clone(), parent: parent.clone() };
        self.fetch(remote, &config, &watch::Sender::new(false)).await?;
        if !found.layers {
            return Ok(false);
        }
        self.pull_layers(remote, manifest, &parent, unpacks).await
    }

    async fn pull_layers(
        &self,
        remote: &RemoteImage,
        manifest: &Manifest,
        parent: &str,
        unpacks: Option<&Wanted>,
    ) -> Result<bool, TransferError> {
        let config = match unpacks {
            Some(wanted) => self.config_to_unpack(manifest, wanted).await?,
            None => None,
        };
        let job = |layer: &Descriptor| Job { descriptor: layer.clone(), parent: parent.to_owned() };
        let jobs: Vec<Job> = manifest.layers.iter().map(job).collect();
        // A layer may be listed twice, and is fetched once.
        let mut begun: HashMap<Digest, watch::Sender<bool>> = HashMap::new();
        let mut fetches = Vec::new();
        for job in &jobs {
            if !begun.contains_key(&job.descriptor.digest) {
                begun.insert(job.descriptor.digest, watch::Sender::new(false));
                fetches.push(job);
            }
        }
        let layers = jobs
            .iter()
            .map(|job| Layer { job, begun: begun.get(&job.descriptor.digest).map(watch::Sender::subscribe) });
        let layers: Vec<Layer<'_>> = layers.collect();
        let unpacking = async {
            match &config {
                Some(config) => self.unpack_layers(manifest, config, layers).await,
                None => Ok(()),
            }
        };
        let fetches: Vec<_> =
            fetches.into_iter().map(|job| self.fetch(remote, job, &begun[&job.descriptor.digest])).collect();
        let fetching = stream::iter(fetches).buffer_unordered(MAX_FETCHES).try_collect::<()>();
        tokio::try_join!(fetching, unpacking)?;
        Ok(config.is_some())
    }
}
