//! What keeps an operation's blobs and snapshots until a record refers to them.

use std::time::Duration;

use crate::backend::{Backend, Collect};
use crate::error::ImagesError;

/// After this long containerd may collect what a daemon that died has left.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// A lease of containerd's; given back when it is dropped, also by an operation that is given up.
pub(crate) struct Lease {
    backend: Backend,
    id: String,
    finished: bool,
}

impl Lease {
    pub async fn new(backend: &Backend) -> Result<Self, ImagesError> {
        let id = format!("longshore-{}", random_hex());
        let backend = backend.create_lease(&id, LIFETIME).await?;
        Ok(Self { backend, id, finished: false })
    }

    /// Says that a record refers to everything that should stay. Without it, what was made is collected at once: half an
    /// image serves nobody. Ingests stay where the store keeps them, for an attempt that goes on from there.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// A connection whose blobs and snapshots belong to the lease.
    pub fn backend(&self) -> Backend {
        self.backend.clone()
    }

    /// A blob that is there already could lose its last owner meanwhile.
    pub async fn keep(&self, digest: &ids::Digest) -> Result<(), ImagesError> {
        self.backend.lease_blob(&self.id, digest).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (backend, id) = (self.backend.clone(), std::mem::take(&mut self.id));
        let collect = if self.finished { Collect::Later } else { Collect::Now };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            // It ends by itself if this fails.
            if let Err(error) = backend.delete_lease(&id, collect).await {
                tracing::warn!(lease = id, %error, "lease not deleted");
            }
        });
    }
}

/// 16 random bytes; the clock stands in where the kernel has none to give.
pub(crate) fn random_hex() -> String {
    let mut bytes = [0_u8; 16];
    if getrandom::fill(&mut bytes).is_err() {
        bytes = jiff::Timestamp::now().as_nanosecond().to_be_bytes();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
