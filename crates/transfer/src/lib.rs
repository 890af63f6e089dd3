//! Images from registries and archives into docker-containerd's store, and out of it: what containerd's Transfer service
//! does (containerd docs/transfer.md).
//!
//! Entry point: [`Transfers::transfer`], whose source and destination say what is done: pull, push, import, export, tag.
//! Archives, progress and credentials travel on [`Streams`], which the client opens first and names in its request.
//!
//! Invariants: nothing gets a name before all of it is in the store; what a transfer that fails has stored is collected
//! with its lease. Blobs and snapshots are the supervisor's, under its rules; no state is kept here but open streams.
//! What a request asks for and is not done here is refused, never passed over.

mod bytes_stream;
mod compress;
mod documents;
mod error;
mod export;
mod fetch;
mod import;
mod lease;
mod names;
mod progress;
mod pull;
mod push;
mod remote;
mod streams;
mod unpack;
mod wanted;

use containerd_api::Any;
use containerd_api::any::{is, unpack};
use containerd_api::types::transfer::{ImageExportStream, ImageImportStream, ImageStore, OciRegistry};
use supervisor::{Scope, Services};

pub use error::TransferError;
use lease::OwnLease;
use progress::Progress;
pub use streams::{Broken, Remote, Streams};

/// The transfers of one daemon; cheap to clone.
#[derive(Clone)]
pub struct Transfers {
    services: Services,
    streams: Streams,
}

/// What a request moves, and where to.
pub struct Request {
    pub source: Any,
    pub destination: Any,
    /// The stream that progress is told on; empty if nobody listens.
    pub progress: String,
}

impl Transfers {
    pub fn new(services: Services) -> Self {
        Self { services, streams: Streams::default() }
    }

    /// Where clients' streams are entered.
    pub fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Moves what the request names. Dropped, it stops, and what it has stored is collected.
    pub async fn transfer(&self, scope: Scope, request: Request) -> Result<(), TransferError> {
        let progress = match request.progress.as_str() {
            "" => Progress::default(),
            name => Progress::to(self.streams.take(&scope.namespace, name)?),
        };
        let (scope, lease) = self.leased(scope).await?;
        let task = Task { services: &self.services, streams: &self.streams, scope, progress };
        let done = task.run(&request.source, &request.destination).await;
        if let Some(lease) = lease {
            lease.end().await;
        }
        done
    }

    /// The scope with the client's lease, or with one of this transfer's own.
    async fn leased(&self, scope: Scope) -> Result<(Scope, Option<OwnLease>), TransferError> {
        if scope.lease.is_some() {
            return Ok((scope, None));
        }
        let lease = OwnLease::new(self.services.leases.clone(), &scope.namespace).await?;
        Ok((Scope { lease: Some(lease.id().to_owned()), ..scope }, Some(lease)))
    }
}

/// One transfer on its way.
pub(crate) struct Task<'a> {
    services: &'a Services,
    streams: &'a Streams,
    scope: Scope,
    progress: Progress,
}

impl Task<'_> {
    async fn run(&self, from: &Any, to: &Any) -> Result<(), TransferError> {
        if is::<OciRegistry>(from) && is::<ImageStore>(to) {
            return self.pull(unpack(from)?, unpack(to)?).await;
        }
        if is::<ImageStore>(from) && is::<OciRegistry>(to) {
            return self.push(unpack(from)?, unpack(to)?).await;
        }
        if is::<ImageImportStream>(from) && is::<ImageStore>(to) {
            return self.import(unpack(from)?, unpack(to)?).await;
        }
        if is::<ImageStore>(from) && is::<ImageExportStream>(to) {
            return self.export(unpack(from)?, unpack(to)?).await;
        }
        if is::<ImageStore>(from) && is::<ImageStore>(to) {
            return self.tag(unpack(from)?, unpack(to)?).await;
        }
        Err(TransferError::NotImplemented(format!(
            "method Transfer not implemented for {} to {}",
            from.type_url, to.type_url
        )))
    }

    async fn tag(&self, from: ImageStore, to: ImageStore) -> Result<(), TransferError> {
        let image = self.services.images.get(&self.scope.namespace, &from.name)?;
        let target = names::target_of(&image)?;
        self.store_names(&to, &target).await.map(drop)
    }
}
