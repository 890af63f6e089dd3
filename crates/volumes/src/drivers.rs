//! The drivers of this daemon: the local one, and plugins as they are asked for.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use plugin_client::{PluginError, Plugins};
use volume::{Driver, LOCAL, LocalDriver, PluginDriver, VolumeError};

pub(crate) struct Drivers {
    pub local: Arc<LocalDriver>,
    plugins: Plugins,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    drivers: BTreeMap<String, Arc<dyn Driver>>,
    /// Plugins that have no volumes.
    others: HashSet<String>,
}

impl Drivers {
    pub fn new(local: Arc<LocalDriver>, plugins: Plugins) -> Self {
        Self { local, plugins, known: Mutex::default() }
    }

    /// The driver of this name; a plugin is shaken hands with once.
    pub async fn find(&self, name: &str) -> Result<Arc<dyn Driver>, VolumeError> {
        if name.is_empty() || name == LOCAL {
            return Ok(Arc::clone(&self.local) as Arc<dyn Driver>);
        }
        if let Some(driver) = self.known().drivers.get(name) {
            return Ok(Arc::clone(driver));
        }
        let failed = |source| VolumeError::NoPlugin { name: name.to_owned(), source };
        let driver = self.activate(name, &self.plugins).await.map_err(failed)?;
        Ok(driver)
    }

    async fn activate(&self, name: &str, plugins: &Plugins) -> Result<Arc<dyn Driver>, PluginError> {
        let activated = PluginDriver::activate(plugins.find(name)?).await;
        let mut known = self.known();
        match activated {
            // Who was quicker may have something mounted by now.
            Ok(driver) => {
                let driver = || Arc::new(driver) as Arc<dyn Driver>;
                Ok(Arc::clone(known.drivers.entry(name.to_owned()).or_insert_with(driver)))
            }
            Err(error) => {
                if matches!(error, PluginError::NotImplemented { .. }) {
                    known.others.insert(name.to_owned());
                }
                Err(error)
            }
        }
    }

    pub fn names(&self) -> Vec<String> {
        std::iter::once(LOCAL.to_owned()).chain(self.known().drivers.keys().cloned()).collect()
    }

    /// All plugins with volumes that answer now.
    pub async fn plugins(&self) -> Vec<Arc<dyn Driver>> {
        let quick = Plugins { patience: Duration::ZERO, ..self.plugins.clone() };
        let unknown: Vec<String> = {
            let known = self.known();
            let new = |name: &String| !known.drivers.contains_key(name) && !known.others.contains(name);
            self.plugins.names().into_iter().filter(new).collect()
        };
        for name in unknown {
            if let Err(error) = self.activate(&name, &quick).await {
                tracing::debug!(plugin = name, error = errors::chain(&error), "not a volume driver");
            }
        }
        self.known().drivers.values().map(Arc::clone).collect()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
