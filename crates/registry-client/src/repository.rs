//! One repository of one registry, asked with one person's credentials.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use ids::Reference;
use tokio::sync::{OnceCell, Semaphore};

use crate::ahead::MAX_PARTS;
use crate::auth::{Challenge, Token, challenges, fetch_token, sensitive};
use crate::connector::Connector;
use crate::credentials::{Credentials, Secret};
use crate::endpoint::{Endpoint, RegistryOptions, Scheme, host_of};
use crate::error::RegistryError;
use crate::realm;
use crate::redirect::{MAX_REDIRECTS, location, same_origin};
use crate::stretch::RESTART_PAUSE;
use crate::tls;
use crate::transport::{RequestBody, Transport, answered_error, empty, read_bounded};

/// Tries of one request, the first included; the pause doubles from this on.
pub(crate) const MAX_TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);
const MAX_LIST_BYTES: u64 = 4 << 20;
const MAX_LIST_PAGES: usize = 1000;
const MAX_TAGS: usize = 1_000_000;
/// Registries whose connections are kept.
const MAX_SERVERS: usize = 64;

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
    certificates: PathBuf,
    /// Tries of what is pulled, the first included.
    download_attempts: u32,
    parts: Arc<Semaphore>,
    /// The scheme that last worked.
    scheme: Mutex<Option<Scheme>>,
}

/// What requests may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Pull,
    Push,
    /// Nothing but the registry's own word that it knows the caller.
    Login,
}

/// A repository with the caller's credentials; cheap to clone, clones share tokens.
#[derive(Clone)]
pub struct Repository(Arc<Inner>);

struct Inner {
    server: Arc<Server>,
    path: String,
    credentials: Credentials,
    contact: OnceCell<Contact>,
    /// By scopes.
    tokens: Mutex<HashMap<String, Token>>,
}

/// What the first answer of a registry told.
#[derive(Clone)]
pub(crate) struct Contact {
    pub scheme: Scheme,
    challenges: Vec<Challenge>,
}

/// A request without its authority and credentials.
pub(crate) struct Ask<'a> {
    pub method: Method,
    /// A path below `/v2/`, or a whole URL that the registry gave.
    pub target: &'a str,
    pub access: Access,
    /// A further repository to read from, for mounts.
    pub also: Option<&'a str>,
    pub headers: HeaderMap,
    /// Makes the body, again for each try.
    pub body: Option<&'a (dyn Fn() -> RequestBody + Send + Sync)>,
}

impl<'a> Ask<'a> {
    pub fn new(method: Method, target: &'a str, access: Access) -> Self {
        Self { method, target, access, also: None, headers: HeaderMap::new(), body: None }
    }
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
        let repository = Repository::new(self.server(domain), "", credentials);
        let contact = repository.contact().await?;
        let url = format!("{}://{}/v2/", contact.scheme.name(), repository.0.server.endpoint.authority);
        let asked = repository.send(&Ask::new(Method::GET, "", Access::Login), &contact, &contact.challenges).await;
        match asked {
            Ok(answer) if answer.status() == StatusCode::OK => {
                Ok(lock(&repository.0.tokens).values().find_map(|token| token.identity().cloned()))
            }
            Ok(answer) => Err(RegistryError::Login { url, status: answer.status() }),
            Err(error @ RegistryError::Api { .. }) => {
                let method = "Get".to_owned();
                Err(RegistryError::Asking { method, url, source: Box::new(error) })
            }
            Err(error) => Err(error),
        }
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

impl Repository {
    fn new(server: Arc<Server>, path: &str, credentials: Credentials) -> Self {
        let contact = OnceCell::new();
        Self(Arc::new(Inner { server, path: path.to_owned(), credentials, contact, tokens: Mutex::default() }))
    }

    /// The server's name and port.
    pub fn authority(&self) -> &str {
        &self.0.server.endpoint.authority
    }

    /// The name within the registry.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Asks whether the registry is there, which also tells how it wants to be asked.
    pub async fn ping(&self) -> Result<(), RegistryError> {
        self.contact().await.map(|_| ())
    }

    /// All tags, in the registry's order.
    pub async fn tags(&self) -> Result<Vec<String>, RegistryError> {
        #[derive(serde::Deserialize)]
        struct Page {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let mut tags = Vec::new();
        let mut target = format!("{}/tags/list?n=1000", self.0.path);
        for _ in 0..MAX_LIST_PAGES {
            let answer = self.ask(&Ask::new(Method::GET, &target, Access::Pull)).await?;
            let next = next_page(answer.headers());
            let bytes = read_bounded(answer.into_body(), "list of tags", MAX_LIST_BYTES).await?;
            let page: Page = serde_json::from_slice(&bytes)
                .map_err(|error| RegistryError::Protocol(format!("list of tags: {error}")))?;
            tags.extend(page.tags.unwrap_or_default());
            match next {
                Some(next) if tags.len() <= MAX_TAGS => target = next,
                _ => return Ok(tags),
            }
        }
        Err(RegistryError::TooLarge { what: "list of tags", limit: MAX_LIST_PAGES as u64 })
    }

    pub(crate) fn download_attempts(&self) -> u32 {
        self.0.server.download_attempts
    }

    /// Room for parts of blobs that are fetched ahead, shared by everybody.
    pub(crate) fn parts(&self) -> &Arc<Semaphore> {
        &self.0.server.parts
    }

    /// Sends until there is a good answer, the error is final, or all tries are used up.
    pub(crate) async fn ask(&self, ask: &Ask<'_>) -> Result<Response<Incoming>, RegistryError> {
        let mut pause = FIRST_PAUSE;
        let tries = if ask.access == Access::Pull { self.download_attempts() } else { MAX_TRIES };
        for attempt in 1.. {
            let failure = match self.ask_once(ask).await {
                Ok(answer) => return Ok(answer),
                Err((error, wait)) if error.is_transient() && attempt < tries => {
                    pause = wait.unwrap_or(pause);
                    error
                }
                // It was there a moment ago.
                Err((error, _)) if error.is_refusal() && self.0.contact.initialized() && attempt < tries => {
                    pause = RESTART_PAUSE;
                    error
                }
                Err((error, _)) => return Err(error),
            };
            tracing::debug!(error = %failure, attempt, "registry request failed, trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_RETRY_AFTER);
        }
        Err(RegistryError::Protocol("no answer".to_owned()))
    }

    /// The whole URL of a target.
    pub(crate) async fn url(&self, target: &str) -> Result<String, RegistryError> {
        let contact = self.contact().await?;
        Ok(format!("{}://{}/v2/{target}", contact.scheme.name(), self.0.server.endpoint.authority))
    }

    /// One try, for what cannot be sent twice; with its error, how long the registry asks to wait.
    pub(crate) async fn ask_once(
        &self,
        ask: &Ask<'_>,
    ) -> Result<Response<Incoming>, (RegistryError, Option<Duration>)> {
        let plain = |error| (error, None);
        let contact = self.contact().await.map_err(plain)?;
        let mut answer = self.send(ask, &contact, &contact.challenges).await.map_err(plain)?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            let asked = challenges(answer.headers());
            if !asked.is_empty() && self.forget_token(ask) | (asked != contact.challenges) {
                answer = self.send(ask, &contact, &asked).await.map_err(plain)?;
            }
        }
        if answer.status().is_success() {
            return Ok(answer);
        }
        let wait = answer.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
        let wait = wait.map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
        Err((answered_error(answer).await, wait))
    }

    async fn send(
        &self,
        ask: &Ask<'_>,
        contact: &Contact,
        asked: &[Challenge],
    ) -> Result<Response<Incoming>, RegistryError> {
        let server = &self.0.server;
        let authorization = self.authorization(ask, contact, asked).await?;
        let home = format!("{}://{}", contact.scheme.name(), server.endpoint.authority);
        let mut url =
            if ask.target.contains("://") { ask.target.to_owned() } else { format!("{home}/v2/{}", ask.target) };
        for _ in 0..=MAX_REDIRECTS {
            let uri: Uri = url.parse().map_err(|_| RegistryError::Protocol(format!("invalid location {url:?}")))?;
            self.check_scheme(&uri)?;
            let mut request = Request::new(ask.body.map_or_else(empty, |body| body()));
            *request.method_mut() = ask.method.clone();
            *request.uri_mut() = uri;
            *request.headers_mut() = ask.headers.clone();
            // Whoever else the registry sends us to gets no credentials of the registry's.
            if let Some(value) = &authorization
                && same_origin(&home, &url)
            {
                request.headers_mut().insert(header::AUTHORIZATION, value.clone());
            }
            let answer = server.transport.send(request).await?;
            let follows = ask.body.is_none() && matches!(ask.method, Method::GET | Method::HEAD);
            if !(answer.status().is_redirection() && follows) || answer.status() == StatusCode::NOT_MODIFIED {
                return Ok(answer);
            }
            url = location(&answer, &url)?;
        }
        Err(RegistryError::Redirects(MAX_REDIRECTS))
    }

    /// A registry that is verified must not send us where nothing is.
    fn check_scheme(&self, uri: &Uri) -> Result<(), RegistryError> {
        match uri.scheme_str() {
            Some("https") => Ok(()),
            Some("http") if self.0.server.endpoint.insecure => Ok(()),
            _ => Err(RegistryError::Protocol(format!(
                "insecure location on {}",
                host_of(uri.host().unwrap_or_default())
            ))),
        }
    }

    async fn contact(&self) -> Result<Contact, RegistryError> {
        self.0.contact.get_or_try_init(|| self.0.server.contact()).await.cloned()
    }

    async fn authorization(
        &self,
        ask: &Ask<'_>,
        contact: &Contact,
        asked: &[Challenge],
    ) -> Result<Option<HeaderValue>, RegistryError> {
        if let Credentials::RegistryToken(token) = &self.0.credentials {
            return Token::fixed(token.clone()).header().map(Some);
        }
        match asked.first() {
            None => Ok(None),
            Some(Challenge::Basic) => match self.0.credentials.basic() {
                Some(basic) => sensitive(&basic).map(Some),
                None => Err(RegistryError::NoCredentials),
            },
            Some(Challenge::Bearer { realm, service }) => {
                self.bearer(ask, contact, realm, service.as_deref()).await.map(Some)
            }
        }
    }

    async fn bearer(
        &self,
        ask: &Ask<'_>,
        contact: &Contact,
        realm: &str,
        service: Option<&str>,
    ) -> Result<HeaderValue, RegistryError> {
        let scopes = self.scopes(ask);
        let key = scopes.join(" ");
        let known = lock(&self.0.tokens).get(&key).filter(|token| token.is_fresh()).cloned();
        if let Some(token) = known {
            return token.header();
        }
        // A password must not travel more openly than the registry itself is asked.
        if !realm.starts_with("https://") && !(contact.scheme == Scheme::Http && realm.starts_with("http://")) {
            return Err(RegistryError::Token(format!("insecure realm {realm:?}")));
        }
        let server = &self.0.server;
        if self.0.credentials != Credentials::Anonymous
            && !realm::is_own(realm, &server.endpoint.authority)
            && !realm::is_listed(realm, &server.certificates, &server.endpoint)
        {
            let registry = server.endpoint.domain.clone();
            return Err(RegistryError::ForeignRealm { realm: realm::host_in(realm).unwrap_or_default(), registry });
        }
        let transport = &server.transport;
        let token = fetch_token(transport, realm, service, &scopes, &self.0.credentials).await?;
        let value = token.header();
        lock(&self.0.tokens).insert(key, token);
        value
    }

    /// True if there was one, so that asking for a new one makes sense.
    fn forget_token(&self, ask: &Ask<'_>) -> bool {
        lock(&self.0.tokens).remove(&self.scopes(ask).join(" ")).is_some()
    }

    fn scopes(&self, ask: &Ask<'_>) -> Vec<String> {
        let actions = match ask.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
            Access::Login => return Vec::new(),
        };
        let own = format!("repository:{}:{actions}", self.0.path);
        let other = ask.also.map(|path| format!("repository:{path}:pull"));
        std::iter::once(own).chain(other).collect()
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
        let _ = read_bounded(answer.into_body(), "greeting", MAX_LIST_BYTES).await;
        Ok(Contact { scheme, challenges: asked })
    }
}

/// `Link: </v2/x/tags/list?last=b&n=1>; rel="next"`, as a target of [`Ask`].
fn next_page(headers: &HeaderMap) -> Option<String> {
    let link = headers.get(header::LINK)?.to_str().ok()?;
    let (target, rest) = link.split_once('>')?;
    let target = target.trim().strip_prefix('<')?;
    rest.contains("next").then(|| target.strip_prefix("/v2/").map(str::to_owned))?
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_below_v2_only() {
        let with = |value: &'static str| HeaderMap::from_iter([(header::LINK, HeaderValue::from_static(value))]);
        assert_eq!(
            next_page(&with("</v2/x/tags/list?n=1&last=a>; rel=\"next\"")).as_deref(),
            Some("x/tags/list?n=1&last=a")
        );
        assert_eq!(next_page(&with("<https://evil/>; rel=\"next\"")), None);
        assert_eq!(next_page(&with("</v2/x>; rel=\"prev\"")), None);
    }
}
