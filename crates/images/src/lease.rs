//! What keeps an operation's blobs and snapshots until a record refers to them.

use std::time::Duration;

use errors::{ErrorKind, Kind};

use crate::backend::{Backend, Collect};
use crate::error::ImagesError;
use crate::service::{Images, lock};

/// The first words of our leases' ids; the operation stands behind them.
pub(crate) const PREFIX: &str = "longshore-";
/// Operations that begin anew after a daemon's death: what they have left is of no use. A pull is gone on with.
const PASSING: [&str; 7] = ["commit", "image", "import", "load", "prune", "push", "save"];
/// How often the end of a lease is tried while containerd is away, a second each time.
const END_TRIES: u32 = 60;
/// After this long containerd may collect what a daemon that died has left.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// A lease of containerd's; given back when it is dropped, also by an operation that is given up. What no record refers to
/// then is collected at once: half an image serves nobody, and one that was removed meanwhile gives its space back. Ingests
/// stay where the store keeps them, for an attempt that goes on from there.
pub(crate) struct Lease {
    backend: Backend,
    id: String,
}

impl Lease {
    /// For an operation by its word: `pull`, `load`.
    pub async fn new(backend: &Backend, operation: &str) -> Result<Self, ImagesError> {
        let id = format!("{PREFIX}{operation}-{}", random_hex());
        let backend = backend.create_lease(&id, LIFETIME).await?;
        Ok(Self { backend, id })
    }

    /// Lets it stand until it expires or [`Images::end_left`] ends it: what it keeps is gone on with.
    pub fn leave(mut self) -> String {
        std::mem::take(&mut self.id)
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
        if id.is_empty() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let mut tries = END_TRIES;
            loop {
                match backend.delete_lease(&id, Collect::Now).await {
                    Err(error) if error.kind() == ErrorKind::Unavailable && tries > 0 => tries -= 1,
                    // It ends by itself if this fails.
                    Err(error) => return tracing::warn!(lease = id, %error, "lease not deleted"),
                    Ok(()) => return,
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
    }
}

impl Images {
    /// Returns when nothing is stored any more that nobody refers to. containerd collects at once when a lease ends; it has
    /// no call for that alone.
    pub(crate) async fn collect(&self) -> Result<(), ImagesError> {
        let lease = format!("{PREFIX}prune-{}", random_hex());
        self.backend.create_lease(&lease, LIFETIME).await?;
        self.backend.delete_lease(&lease, Collect::Now).await
    }

    /// Lets go of what operations of a daemon that died have left. To be called before the first one begins.
    pub async fn recover(&self) -> Result<(), ImagesError> {
        for id in self.backend.lease_ids().await? {
            let operation = id.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
            match operation {
                Some((operation, _)) if PASSING.contains(&operation) => {
                    tracing::info!(lease = id, "letting go of what was left half done");
                    self.backend.delete_lease(&id, Collect::Now).await?;
                }
                Some(("pull", rest)) => {
                    let reference = rest.split('-').next().unwrap_or_default().to_owned();
                    lock(&self.shared.left).entry(reference).or_default().push(id);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Notes a lease of a pull that broke off.
    pub(crate) fn note_left(&self, reference: &str, lease: Lease) {
        lock(&self.shared.left).entry(reference.to_owned()).or_default().push(lease.leave());
    }

    /// Ends what earlier pulls of this reference have left, now that one has come to its end.
    pub(crate) async fn end_left(&self, reference: &str) {
        let left = lock(&self.shared.left).remove(reference).unwrap_or_default();
        for id in left {
            if let Err(error) = self.backend.delete_lease(&id, Collect::Later).await {
                tracing::warn!(lease = id, %error, "lease not deleted");
            }
        }
    }
}

/// By which the lease of a pull says what it pulls: of the full reference.
pub(crate) fn pull_word(reference: &str) -> String {
    ids::Digest::of(reference).hex()[..16].to_owned()
}

/// 16 random bytes; the clock stands in where the kernel has none to give.
pub(crate) fn random_hex() -> String {
    let mut bytes = [0_u8; 16];
    if getrandom::fill(&mut bytes).is_err() {
        bytes = jiff::Timestamp::now().as_nanosecond().to_be_bytes();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
