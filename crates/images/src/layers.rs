//! The layers of a pull: fetched several at a time, unpacked one on the other, each while it is still arriving.

use std::pin::pin;

use errors::{ErrorKind, Kind};
use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use ids::short;
use image_core::{Descriptor, source_label};
use tokio::sync::watch;

use crate::blobs::{Fetch, fetch_layer};
use crate::error::ImagesError;
use crate::loaded::LoadedImage;
use crate::messages;
use crate::pull::Pulling;
use crate::unpack::Arriving;

/// How far a layer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Arrival {
    Awaited,
    /// Its write is open.
    Begun,
    /// The store has all of it.
    Here,
}

/// What is done with one layer.
struct Task<'a> {
    layer: &'a Descriptor,
    /// Whether the store lacks it.
    missing: bool,
    unpacked: bool,
    arrival: watch::Receiver<Arrival>,
}

impl Pulling<'_> {
    pub(crate) async fn fetch_layers(&self, image: &LoadedImage) -> Result<(), ImagesError> {
        let unpacked = self.images.count_unpacked(&self.backend, image).await?;
        // Of an image that is here nothing is said, as Docker has it: only the digest and the status.
        let known = self.backend.blob_info(&image.id).await?.is_some();
        let (mut tasks, mut downloads) = (Vec::new(), Vec::new());
        for (at, layer) in image.manifest.layers.iter().enumerate() {
            let missing = self.backend.blob_info(&layer.digest).await?.is_none();
            if !missing {
                self.lease.keep(&layer.digest).await?;
            }
            let done = !missing && at < unpacked;
            let status = if done { messages::PULL_EXISTS } else { messages::PULLING_LAYER };
            if !(done && known) {
                self.progress.message(&layer_id(layer), status).await;
            }
            let (told, arrival) = watch::channel(if missing { Arrival::Awaited } else { Arrival::Here });
            if missing {
                downloads.push(self.download(layer, told));
            }
            tasks.push(Task { layer, missing, unpacked: at < unpacked, arrival });
        }
        let download = async {
            let mut downloads: FuturesUnordered<_> = downloads.into_iter().collect();
            while let Some(downloaded) = downloads.next().await {
                downloaded?;
            }
            Ok::<(), ImagesError>(())
        };
        let unpack = async {
            for (at, task) in tasks.iter_mut().enumerate() {
                // Ends early only with the downloads, whose error is the one that counts.
                if task.arrival.wait_for(|arrival| *arrival >= Arrival::Begun).await.is_err() {
                    break;
                }
                self.extract(image, at, task).await?;
            }
            Ok(())
        };
        match select(pin!(download), pin!(unpack)).await {
            // The layer that is being unpacked is finished in any case: a half-filled snapshot would stay behind.
            Either::Left((downloaded, unpack)) => {
                let unpacked = unpack.await;
                downloaded.and(unpacked)
            }
            Either::Right((Ok(()), download)) => download.await,
            // What a layer's write was given up for, its download says.
            Either::Right((Err(error), download)) if error.kind() == ErrorKind::Unavailable => {
                download.await.and(Err(error))
            }
            Either::Right((Err(error), _)) => Err(error),
        }
    }

    async fn extract(&self, image: &LoadedImage, at: usize, task: &Task<'_>) -> Result<(), ImagesError> {
        let id = layer_id(task.layer);
        let mut arrival = task.arrival.clone();
        // Ends early only with the download, whose error is the one that counts.
        let here = async { arrival.wait_for(|arrival| *arrival == Arrival::Here).await.is_ok() };
        if task.unpacked {
            if !here.await {
                return Ok(());
            }
        } else {
            // Downloading is shown until it is over, although what has come is being unpacked.
            let told = async {
                if here.await {
                    self.progress.bytes(&id, messages::EXTRACTING, task.layer.size, task.layer.size).await;
                }
                Ok(())
            };
            let arriving = task.missing.then(|| Arriving::layer(task.layer, task.arrival.clone()));
            let unpack = self.images.unpack_layer(&self.backend, image, at, arriving);
            tokio::try_join!(unpack, told)?;
        }
        if !task.unpacked || task.missing {
            self.progress.message(&id, messages::PULLED).await;
        }
        Ok(())
    }

    async fn download(&self, layer: &Descriptor, arrival: watch::Sender<Arrival>) -> Result<(), ImagesError> {
        let id = layer_id(layer);
        let shared = &self.images.shared;
        let slot = match shared.downloads.try_acquire() {
            Some(slot) => slot,
            None => {
                self.progress.message(&id, messages::WAITING).await;
                shared.downloads.acquire().await
            }
        };
        let _alone = shared.flights.enter(&layer.digest).await;
        if self.backend.blob_info(&layer.digest).await?.is_some() {
            self.lease.keep(&layer.digest).await?;
        } else {
            let meter = self.progress.meter(&id, messages::DOWNLOADING, layer.size);
            let fetch = Fetch {
                labels: [source_label(&self.reference, None)].into(),
                begun: &|| {
                    arrival.send_replace(Arrival::Begun);
                },
                received: &|bytes| meter.set(bytes),
            };
            let repository = self.repository.telling_pauses(self.progress.pauses(&id));
            fetch_layer(&self.backend, &repository, layer, fetch).await?;
            self.progress.message(&id, messages::VERIFYING).await;
        }
        drop(slot);
        self.progress.message(&id, messages::DOWNLOADED).await;
        arrival.send_replace(Arrival::Here);
        Ok(())
    }
}

fn layer_id(layer: &Descriptor) -> String {
    short(&layer.digest.to_string()).to_owned()
}
