//! Containers want volumes, the volumes service has them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use containers::{Parting, PortError, Volume, VolumeRequest, VolumeSource};
use errors::Kind;
use volumes::{ANONYMOUS, CreateVolume, Lifetime, LiveMount, Volumes};

/// The volumes service, as containers see it.
pub struct VolumeProvider(pub Volumes);

#[async_trait]
impl VolumeSource for VolumeProvider {
    fn driver_of(&self, name: &str) -> Option<String> {
        self.0.driver_of(name)
    }

    fn refer(&self, name: &str, container: &str) {
        self.0.refer(name, container);
    }

    async fn acquire(&self, request: VolumeRequest) -> Result<Volume, PortError> {
        let lifetime = if request.lasting { Lifetime::Lasting } else { Lifetime::Ephemeral };
        let mut labels = request.labels;
        if request.anonymous {
            labels.insert(ANONYMOUS.to_owned(), String::new());
        }
        let given = |map: BTreeMap<String, String>| Some(map).filter(|map| !map.is_empty());
        let wanted = CreateVolume {
            name: request.name,
            driver: request.driver,
            options: given(request.options),
            labels: given(labels),
        };
        let made = self.0.acquire(wanted, &request.container, lifetime).await.map_err(refused)?;
        Ok(Volume { driver: made.driver, mountpoint: made.mountpoint })
    }

    async fn release(&self, name: &str, container: &str, parting: Parting) -> Result<(), PortError> {
        let lifetime = match parting {
            Parting::Keep => {
                self.0.release(name, container);
                return Ok(());
            }
            Parting::Remove => Lifetime::Lasting,
            Parting::RemoveEphemeral => Lifetime::Ephemeral,
        };
        self.0.dispose(name, container, lifetime).await.map_err(refused)
    }

    async fn mount(&self, name: &str, id: &str) -> Result<PathBuf, PortError> {
        self.0.mount(name, id).await.map_err(refused)
    }

    async fn unmount(&self, name: &str, id: &str) -> Result<(), PortError> {
        self.0.unmount(name, id).await.map_err(refused)
    }

    async fn restore(&self, live: &[(String, String)]) {
        let live = live.iter().map(|(volume, id)| LiveMount { volume: volume.clone(), id: id.clone() });
        self.0.restore(&live.collect::<Vec<_>>()).await;
    }
}

fn refused(error: volumes::Error) -> PortError {
    PortError { kind: error.kind(), message: errors::chain(&error) }
}
