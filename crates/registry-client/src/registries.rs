//! All registries that a daemon talks to: their connections, and what was learnt about them.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use http::{Request, StatusCode, Uri};
use ids::Reference;
use tokio::sync::Semaphore;

use crate::ahead::MAX_PARTS;
use crate::auth::{Challenge, challenges};
use crate::connector::Connector;
use crate::credentials::{Credentials, Secret};
use crate::endpoint::{Endpoint, RegistryOptions, Scheme};
use crate::error::RegistryError;
use crate::repository::Repository;
use crate::tls;
use crate::transport::{Transport, answered_error, empty, read_bounded};

/// Registries whose connections are kept.
const MAX_SERVERS: usize = 64;
const MAX_GREETING_BYTES: u64 = 4 << 20;

/// All registries that a daemon talks to: their connections and what was learnt about them.
pub struct Registries {
    options: RwLock<RegistryOptions>,
    servers: Mutex<HashMap<String, Arc<Server>>>,
    /// For parts of blobs that are fetched ahead.
    parts: Arc<Semaphore>,
}

/// A registry's connections.
pub(crate) struct Server {
    pub endpoint: Endpoint,
    pub transport: Transport,
    /// Folders of certificates.
    pub certificates: PathBuf,
    /// Tries of what is pulled, the first included.
    pub download_attempts: u32,
    pub parts: Arc<Semaphore>,
    /// The scheme that last worked.
    scheme: Mutex<Option<Scheme>>,
}

/// What the first answer of a registry told.
#[derive(Clone)]
pub(crate) struct Contact {
    pub scheme: Scheme,
    pub challenges: Vec<Challenge>,
}

impl Registries {
    pub fn new(options: RegistryOptions) -> Self {
        let parts = Arc::new(Semaphore::new(MAX_PARTS));
        Self { options: RwLock::new(options), servers: Mutex::default(), parts }
    }

    /// Takes these options from now on; requests under way go on with the old ones.
    pub fn configure(&self, options: RegistryOptions) {
        *self.options.write().unwrap_or_else(PoisonError::into_inner) = options;
        lock(&self.servers).clear();
    }

    pub(crate) fn options(&self) -> RegistryOptions {
        self.options.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The repository that a reference names.
    pub fn repository(&self, reference: &Reference, credentials: Credentials) -> Repository {
        Repository::new(self.server(reference.domain()), reference.path(), credentials)
    }

    /// Where to pull from: mirrors first, which get no credentials of the registry's, the registry itself last.
    pub fn sources(&self, reference: &Reference, credentials: Credentials) -> Vec<Repository> {
        let options = self.options();
        let mirrors = options.mirrors_of(reference.domain()).into_iter();
        let mirrored = mirrors.map(|mirror| {
            let key = format!("mirror {}://{}", mirror.schemes()[0].name(), mirror.authority);
            Repository::new(self.keep(key, || mirror), reference.path(), Credentials::Anonymous)
        });
        mirrored.chain([self.repository(reference, credentials)]).collect()
    }

    /// Whether the registry of this domain knows the caller; an error in its words if not.
    pub async fn login(&self, domain: &str, credentials: Credentials) -> Result<Option<Secret>, RegistryError> {
        Repository::new(self.server(domain), "", credentials).login().await
    }

    pub(crate) fn server(&self, domain: &str) -> Arc<Server> {
        self.keep(domain.to_owned(), || {
            let options = self.options.read().unwrap_or_else(PoisonError::into_inner);
            Endpoint::of(domain, &options)
        })
    }

    /// The server known by this key, opened if it is not.
    fn keep(&self, key: String, endpoint: impl FnOnce() -> Endpoint) -> Arc<Server> {
        if let Some(server) = lock(&self.servers).get(&key) {
            return server.clone();
        }
        let server = self.open(endpoint());
        let mut servers = lock(&self.servers);
        if servers.len() >= MAX_SERVERS {
            servers.clear();
        }
        servers.entry(key).or_insert(server).clone()
    }

    fn open(&self, endpoint: Endpoint) -> Arc<Server> {
        let options = self.options();
        let (user_agent, proxies) = (options.user_agent.clone(), options.proxies.clone());
        let (certificates, download_attempts) = (options.certificates.clone(), options.download_attempts.max(1));
        let tls_endpoint = endpoint.clone();
        let connector = Connector::new(proxies, move || {
            tls::configuration(&tls_endpoint, &options).map_err(|error| io::Error::other(error.to_string()))
        });
        let transport = Transport::new(connector, &user_agent);
        let parts = Arc::clone(&self.parts);
        Arc::new(Server { endpoint, transport, certificates, download_attempts, parts, scheme: Mutex::default() })
    }
}

impl Server {
    /// Finds the scheme that works, https first; what worked last time is tried alone.
    pub(crate) async fn contact(&self) -> Result<Contact, RegistryError> {
        let known = *lock(&self.scheme);
        let schemes = match &known {
            Some(scheme) => std::slice::from_ref(scheme),
            None => self.endpoint.schemes(),
        };
        let mut failure = None;
        for scheme in schemes {
            match self.greet(*scheme).await {
                Ok(contact) => {
                    *lock(&self.scheme) = Some(*scheme);
                    return Ok(contact);
                }
                // The plain attempt's error is the one to show: with nobody there both say the same.
                Err(error) => failure = Some(error),
            }
        }
        *lock(&self.scheme) = None;
        Err(failure.unwrap_or_else(|| RegistryError::Protocol("no endpoint".to_owned())))
    }

    async fn greet(&self, scheme: Scheme) -> Result<Contact, RegistryError> {
        let url = format!("{}://{}/v2/", scheme.name(), self.endpoint.authority);
        let uri: Uri = url.parse().map_err(|_| RegistryError::Protocol(format!("invalid registry name {url:?}")))?;
        let mut request = Request::new(empty());
        *request.uri_mut() = uri;
        let answer = self.transport.send(request).await?;
        let asked = match answer.status() {
            StatusCode::UNAUTHORIZED => challenges(answer.headers()),
            status if status.is_server_error() => return Err(answered_error(answer).await),
            _ => Vec::new(),
        };
        // Read, so that the connection can be used again.
        let _ = read_bounded(answer.into_body(), "greeting", MAX_GREETING_BYTES).await;
        Ok(Contact { scheme, challenges: asked })
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
