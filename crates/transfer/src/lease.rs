//! A lease of a transfer whose client has none.

use std::time::Duration;

use supervisor::leases::Leases;

use crate::error::TransferError;
use crate::unpack::random_hex;

/// After this long what a daemon that died has left may be collected.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Deleted when it is dropped, also by a transfer that is given up.
pub(crate) struct OwnLease {
    leases: Leases,
    namespace: String,
    /// Empty once it is deleted.
    id: String,
}

impl OwnLease {
    pub async fn new(leases: Leases, namespace: &str) -> Result<Self, TransferError> {
        let id = format!("transfer-{}", random_hex());
        let expires = (jiff::Timestamp::now() + LIFETIME).to_string();
        let labels = [("containerd.io/gc.expire".to_owned(), expires)].into();
        leases.create(namespace, &id, labels).await?;
        Ok(Self { leases, namespace: namespace.to_owned(), id })
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub async fn end(mut self) {
        let id = std::mem::take(&mut self.id);
        delete(self.leases.clone(), self.namespace.clone(), id).await;
    }
}

impl Drop for OwnLease {
    fn drop(&mut self) {
        let id = std::mem::take(&mut self.id);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !id.is_empty() {
            runtime.spawn(delete(self.leases.clone(), self.namespace.clone(), id));
        }
    }
}

async fn delete(leases: Leases, namespace: String, id: String) {
    // It ends by itself if this fails.
    if let Err(error) = leases.delete(&namespace, &id).await {
        tracing::warn!(lease = id, error = %errors::chain(&error), "lease not deleted");
    }
}
