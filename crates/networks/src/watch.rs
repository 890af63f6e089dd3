//! What others do to the daemon's table is undone at once: `nft flush ruleset`, a firewall that is reloaded.

use std::time::Duration;

use netlink::nft::base_chains;
use netlink::{Seen, Watch};
use tokio::io::unix::AsyncFd;

use crate::error::Error;
use crate::service::{Inner, Networks};

/// What comes in a burst is undone once; somebody who empties the table again and again does not keep a processor busy.
const PAUSE: Duration = Duration::from_millis(50);
const RETRY: Duration = Duration::from_secs(1);
/// `NF_INET_FORWARD`.
const FORWARD: u32 = 2;
/// `NFPROTO_INET`, `NFPROTO_IPV4`, `NFPROTO_IPV6`.
const FAMILIES: [(u8, &str); 3] = [(1, "inet"), (2, "ip"), (10, "ip6")];

impl Networks {
    /// Runs until the daemon ends.
    pub async fn follow_firewall(&self) {
        loop {
            if let Err(error) = self.watch_firewall().await {
                tracing::error!(error = errors::chain(&error), "cannot watch the packet filter");
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn watch_firewall(&self) -> Result<(), Error> {
        let failed = |source| Error::Watch { source };
        #[expect(
            deprecated,
            reason = "its successor is unsafe for descriptors that may change; a `Watch` keeps its own"
        )]
        let watch = AsyncFd::new(Watch::open()?).map_err(failed)?;
        // What happened before there was a watch.
        self.run(Inner::restore_firewall).await?;
        loop {
            let mut ready = watch.readable().await.map_err(failed)?;
            let seen = ready.get_inner().read()?;
            ready.clear_ready();
            let is_ours = |seen: &Seen| match seen {
                Seen::Lost => true,
                Seen::Deletion { table, by } => self.inner.firewall.is_foreign(table, *by),
            };
            if seen.iter().any(is_ours) {
                self.run(Inner::restore_firewall).await?;
                tracing::warn!(table = self.inner.firewall.table(), "somebody changed the packet filter: restored");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// What `docker info` warns of: packets that others drop whatever our table says of them.
    pub async fn warnings(&self) -> Result<Vec<String>, Error> {
        self.run(Inner::firewall_warnings).await
    }
}

impl Inner {
    fn restore_firewall(&self) -> Result<(), Error> {
        if self.is_prepared() {
            self.firewall.load(|| self.state().firewall_items())?;
            self.apply_docker_chains()?;
        }
        Ok(())
    }

    fn firewall_warnings(&self) -> Result<Vec<String>, Error> {
        if !self.is_prepared() {
            return Ok(Vec::new());
        }
        let dropping = base_chains()?
            .into_iter()
            .filter(|chain| chain.hook == FORWARD && chain.drops && chain.table != self.firewall.table());
        let warnings = dropping.filter_map(|chain| {
            let (_, family) = FAMILIES.iter().find(|(number, _)| *number == chain.family)?;
            Some(format!(
                "WARNING: the host's firewall drops forwarded packets ({family} {} {}): accept those of bridges there, or \
                 mark them and name the mark by --bridge-accept-fwmark",
                chain.table, chain.name
            ))
        });
        Ok(warnings.collect())
    }
}
