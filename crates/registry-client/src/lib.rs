//! The distribution protocol (OCI distribution-spec, Docker Registry HTTP API V2) from the client's side.
//!
//! Entry point: [`Registries`], one a daemon, holds connections; [`Registries::repository`] gives a [`Repository`] with
//! the caller's [`Credentials`], whose methods are the protocol's operations.
//!
//! Invariants: every body is bounded; credentials go to the registry they were given for and to the token server it names,
//! never along a redirect to another host, and a token server must be the registry's own; a manifest asked for by digest has that digest; a registry speaks https unless it
//! is insecure by address or configuration. Nothing is written to disk. Names are resolved by [`resolver`], never by the
//! C library, which a static program does not have.

mod ahead;
mod auth;
mod blob;
mod connector;
mod credentials;
mod device_login;
mod endpoint;
mod error;
mod manifest;
mod proxy;
mod realm;
mod redirect;
mod registries;
mod repository;
mod retry;
mod search;
mod socks;
mod stretch;
mod tls;
mod transport;
mod upload;
mod web;

pub use blob::{BlobReader, Verify};
pub use credentials::{Credentials, Secret};
pub use device_login::{Account, DeviceLogin, Hub, revoke};
pub use endpoint::RegistryOptions;
pub use error::{ApiError, RegistryError};
pub use manifest::FetchedManifest;
pub use proxy::Proxies;
pub use registries::Registries;
pub use repository::Repository;
pub use search::SearchHit;
pub use upload::{BlobSource, OpenBlob, Pushed};
pub use web::{WebFile, get_file};
