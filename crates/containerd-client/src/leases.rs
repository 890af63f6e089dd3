//! Leases: what is made under one is not collected as garbage while it lasts.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use containerd_api::services::leases::v1::{
    AddResourceRequest, CreateRequest, DeleteRequest, Lease, ListRequest, Resource,
};
use errors::{ErrorKind, Kind};

use crate::{Client, Error};

/// Label with the time after which a lease is void, as containerd's collector reads it.
const EXPIRE_LABEL: &str = "containerd.io/gc.expire";

impl Client {
    /// Makes a lease; one of that id that is there already is as good.
    pub async fn create_lease(
        &self,
        id: &str,
        mut labels: HashMap<String, String>,
        expires_in: Option<Duration>,
    ) -> Result<(), Error> {
        let expiry = expires_in.and_then(|life| SystemTime::now().checked_add(life));
        if let Some(Ok(time)) = expiry.map(jiff::Timestamp::try_from) {
            labels.insert(EXPIRE_LABEL.to_owned(), format!("{time:.0}"));
        }
        let answer = self.leases().create(CreateRequest { id: id.to_owned(), labels }).await;
        unless(answer.map(drop).map_err(Error::from), ErrorKind::AlreadyExists)
    }

    /// Ends a lease; one that is not there is no error. `synchronous`: garbage is gone when this returns.
    pub async fn delete_lease(&self, id: &str, synchronous: Synchronous) -> Result<(), Error> {
        let request = DeleteRequest { id: id.to_owned(), sync: synchronous == Synchronous::Yes };
        unless(self.leases().delete(request).await.map(drop).map_err(Error::from), ErrorKind::NotFound)
    }

    pub async fn list_leases(&self, filters: Vec<String>) -> Result<Vec<Lease>, Error> {
        Ok(self.leases().list(ListRequest { filters }).await?.into_inner().leases)
    }

    /// Puts a thing under a lease. `kind` is `content`, `snapshots/overlayfs`, `ingests`.
    pub async fn add_to_lease(&self, lease: &str, kind: &str, id: &str) -> Result<(), Error> {
        let resource = Some(Resource { id: id.to_owned(), r#type: kind.to_owned() });
        self.leases().add_resource(AddResourceRequest { id: lease.to_owned(), resource }).await?;
        Ok(())
    }
}

/// Whether to wait for the collection of garbage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synchronous {
    Yes,
    No,
}

fn unless(answer: Result<(), Error>, harmless: ErrorKind) -> Result<(), Error> {
    match answer {
        Err(error) if error.kind() != harmless => Err(error),
        _ => Ok(()),
    }
}
