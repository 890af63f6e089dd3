//! After a restart: what is live stays untouched, what is not is given back, strays are removed.

use std::collections::{HashMap, HashSet};

use netlink::namespace;
use network_core::names;
use network_core::netd::Reply;

use crate::error::Error;
use crate::service::Inner;

impl Inner {
    pub(crate) fn restore(&self, live: &HashMap<String, Option<Vec<String>>>) -> Result<(), Error> {
        let dead: Vec<String> = {
            let state = self.state();
            state.sandboxes.keys().filter(|id| !live.contains_key(*id)).cloned().collect()
        };
        for id in dead {
            if let Err(error) = self.release(&id) {
                tracing::warn!(
                    container = id,
                    error = errors::chain(&error),
                    "cannot release a dead container's network"
                );
            }
        }
        self.remove_unfinished();
        self.remove_stray_namespaces()?;
        self.prepare()?;
        self.greet_netd()?;
        for (id, wanted) in live {
            if let Err(error) = self.repair(id, wanted.as_deref()) {
                tracing::warn!(container = id, error = errors::chain(&error), "cannot repair a container's network");
            }
        }
        Ok(())
    }

    /// Brings docker-netd to what the records say. Where nothing is to be said none is started, but one that runs may
    /// hold what a former daemon left.
    pub(crate) fn greet_netd(&self) -> Result<(), Error> {
        if !self.has_statements() && self.netd.watch().is_err() {
            return Ok(());
        }
        let reply = self.netd.say_all(|| self.statements())?;
        if let Reply::Partly(failures) = reply {
            for failure in failures {
                tracing::warn!(container = failure.sandbox, reason = failure.message, "not served by docker-netd");
            }
        }
        Ok(())
    }

    /// Namespace files that no record names: a daemon died between making one and having written it down.
    fn remove_stray_namespaces(&self) -> Result<(), Error> {
        let folder = self.config.netns_folder();
        let failed = |source| Error::Folder { path: folder.clone(), source };
        let known: HashSet<String> =
            self.state().sandboxes.keys().map(|id| names::sandbox_file(id).to_owned()).collect();
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if !known.contains(entry.file_name().to_string_lossy().as_ref()) {
                namespace::remove(&entry.path())?;
            }
        }
        Ok(())
    }
}
