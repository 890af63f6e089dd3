//! Volumes of a plugin (docs.docker.com, "Docker volume plugins").

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use plugin_client::{Plugin, PluginError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::VolumeError;
use crate::driver::{Driver, Found, Options, Scope};

const KIND: &str = "VolumeDriver";
/// For what may take its time, and for questions: Docker's numbers.
const LONG: Duration = Duration::from_secs(120);
const SHORT: Duration = Duration::from_secs(60);
/// Volumes of one plugin that are read.
const MAX_VOLUMES: usize = 10_000;

/// The volumes of one plugin.
pub struct PluginDriver {
    plugin: Plugin,
    scope: OnceCell<Scope>,
    /// What this daemon has mounted, so that nothing is unmounted twice.
    mounted: Mutex<HashMap<String, BTreeSet<String>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Request<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    opts: Option<&'a Options>,
    #[serde(rename = "ID", skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    err: Option<String>,
    mountpoint: Option<String>,
    volume: Option<Told>,
    volumes: Option<Vec<Told>>,
    capabilities: Option<Capabilities>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Told {
    name: String,
    mountpoint: Option<String>,
    created_at: Option<String>,
    status: Option<serde_json::Value>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Capabilities {
    scope: String,
}

impl PluginDriver {
    /// Shakes hands; an error unless the plugin has volumes.
    pub async fn activate(plugin: Plugin) -> Result<Self, PluginError> {
        plugin.activate(KIND).await?;
        Ok(Self { plugin, scope: OnceCell::new(), mounted: Mutex::default() })
    }

    async fn call(&self, method: &'static str, request: &Request<'_>, limit: Duration) -> Result<Answer, VolumeError> {
        let answer: Answer = self.send(method, request, limit).await?;
        match answer.err.filter(|text| !text.is_empty()) {
            Some(text) => Err(VolumeError::Refused(text)),
            None => Ok(Answer { err: None, ..answer }),
        }
    }

    async fn send<B: DeserializeOwned>(
        &self,
        method: &str,
        request: &Request<'_>,
        limit: Duration,
    ) -> Result<B, VolumeError> {
        Ok(self.plugin.call_within(method, request, limit).await?)
    }
}

impl<'a> Request<'a> {
    fn of(name: &'a str) -> Self {
        Self { name, opts: None, id: None }
    }
}

impl From<Told> for Found {
    fn from(told: Told) -> Self {
        Self {
            name: told.name,
            mountpoint: told.mountpoint.unwrap_or_default(),
            created: told.created_at.unwrap_or_default(),
            status: told.status.filter(|status| !status.is_null()),
        }
    }
}

#[async_trait]
impl Driver for PluginDriver {
    fn name(&self) -> &str {
        self.plugin.name()
    }

    /// A plugin need not answer this: then it is a local one.
    async fn scope(&self) -> Scope {
        let ask = || async {
            match self.call("VolumeDriver.Capabilities", &Request::of(""), SHORT).await {
                Ok(answer) => {
                    let scope = answer.capabilities.unwrap_or_default().scope;
                    if scope.eq_ignore_ascii_case("global") { Scope::Global } else { Scope::Local }
                }
                Err(error) => {
                    tracing::debug!(plugin = self.plugin.name(), error = errors::chain(&error), "no capabilities");
                    Scope::Local
                }
            }
        };
        *self.scope.get_or_init(ask).await
    }

    /// Which names and options it takes is the plugin's to say.
    fn check(&self, _name: &str, _options: &Options) -> Result<(), VolumeError> {
        Ok(())
    }

    async fn create(&self, name: &str, options: &Options) -> Result<(), VolumeError> {
        // As Docker: who finds the volume there has nothing to make.
        if matches!(self.get(name).await, Ok(Some(_))) {
            return Ok(());
        }
        let request = Request { opts: Some(options), ..Request::of(name) };
        self.call("VolumeDriver.Create", &request, LONG).await.map(|_| ())
    }

    async fn remove(&self, name: &str) -> Result<(), VolumeError> {
        match self.call("VolumeDriver.Remove", &Request::of(name), LONG).await {
            Ok(_) => Ok(()),
            // Gone is gone, however a plugin puts it.
            Err(VolumeError::Refused(text)) => match self.get(name).await {
                Ok(None) => Ok(()),
                _ => Err(VolumeError::Refused(text)),
            },
            Err(error) => Err(error),
        }
    }

    async fn get(&self, name: &str) -> Result<Option<Found>, VolumeError> {
        match self.call("VolumeDriver.Get", &Request::of(name), SHORT).await {
            Ok(answer) => Ok(answer.volume.map(Found::from)),
            // A plugin says in words of its own that there is no such volume; only silence is an error.
            Err(
                VolumeError::Refused(_)
                | VolumeError::Plugin(PluginError::Refused { .. } | PluginError::Unknown { .. }),
            ) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn list(&self) -> Result<Vec<Found>, VolumeError> {
        let answer = self.call("VolumeDriver.List", &Request::of(""), SHORT).await?;
        let told = answer.volumes.unwrap_or_default().into_iter().take(MAX_VOLUMES);
        Ok(told.map(Found::from).filter(|found| !found.name.is_empty()).collect())
    }

    async fn mount(&self, name: &str, _options: &Options, id: &str) -> Result<PathBuf, VolumeError> {
        const METHOD: &str = "VolumeDriver.Mount";
        let request = Request { id: Some(id), ..Request::of(name) };
        let path = self.call(METHOD, &request, LONG).await?.mountpoint.unwrap_or_default();
        if !path.starts_with('/') {
            return Err(VolumeError::Path { method: METHOD, path });
        }
        let mut mounted = self.mounted.lock().unwrap_or_else(PoisonError::into_inner);
        mounted.entry(name.to_owned()).or_default().insert(id.to_owned());
        Ok(path.into())
    }

    async fn unmount(&self, name: &str, id: &str) -> Result<(), VolumeError> {
        let known = {
            let mut mounted = self.mounted.lock().unwrap_or_else(PoisonError::into_inner);
            mounted.get_mut(name).is_some_and(|ids| ids.remove(id))
        };
        if !known {
            return Ok(());
        }
        let request = Request { id: Some(id), ..Request::of(name) };
        self.call("VolumeDriver.Unmount", &request, LONG).await.map(|_| ())
    }

    /// The plugin has outlived the daemon, and its mounts with it.
    async fn restore(&self, name: &str, _options: &Options, ids: &[String]) -> Result<(), VolumeError> {
        let mut mounted = self.mounted.lock().unwrap_or_else(PoisonError::into_inner);
        mounted.insert(name.to_owned(), ids.iter().cloned().collect());
        Ok(())
    }
}
