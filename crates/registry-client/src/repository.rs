//! One repository of one registry, asked with one person's credentials.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use jiff::Timestamp;
use tokio::sync::{OnceCell, Semaphore};

use crate::auth::{Challenge, Token, challenges, fetch_token, sensitive};
use crate::credentials::{Credentials, Secret};
use crate::endpoint::{Scheme, host_of};
use crate::error::RegistryError;
use crate::realm;
use crate::redirect::{MAX_REDIRECTS, location, same_origin};
use crate::registries::{Contact, Server, lock};
use crate::retry::{FIRST_PAUSE, MAX_PAUSE, MAX_TRIES, RESTART_PAUSE, retry_after};
use crate::transport::{RequestBody, answered_error, empty, read_bounded};

const MAX_LIST_BYTES: u64 = 4 << 20;
const MAX_LIST_PAGES: usize = 1000;
const MAX_TAGS: usize = 1_000_000;

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
pub struct Repository {
    shared: Arc<Shared>,
    /// Who hears of pauses.
    pauses: Option<Arc<dyn Fn(u64) + Send + Sync>>,
}

struct Shared {
    server: Arc<Server>,
    path: String,
    credentials: Credentials,
    contact: OnceCell<Contact>,
    /// By scopes.
    tokens: Mutex<HashMap<String, Token>>,
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

impl Repository {
    pub(crate) fn new(server: Arc<Server>, path: &str, credentials: Credentials) -> Self {
        let contact = OnceCell::new();
        let shared = Shared { server, path: path.to_owned(), credentials, contact, tokens: Mutex::default() };
        Self { shared: Arc::new(shared), pauses: None }
    }

    /// The same repository, which tells of every pause before something is tried again: the seconds that are left, each.
    pub fn telling_pauses(&self, tell: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self { shared: self.shared.clone(), pauses: Some(Arc::new(tell)) }
    }

    /// Waits before something is tried again.
    pub(crate) async fn pause(&self, mut left: Duration) {
        let second = Duration::from_secs(1);
        while !left.is_zero() {
            if let Some(tell) = &self.pauses {
                tell(left.as_millis().div_ceil(1000) as u64);
            }
            let step = left.min(second);
            tokio::time::sleep(step).await;
            left -= step;
        }
    }

    /// Whether the registry knows the caller; an error in its words if not.
    pub(crate) async fn login(&self) -> Result<Option<Secret>, RegistryError> {
        let contact = self.contact().await?;
        let url = format!("{}://{}/v2/", contact.scheme.name(), self.authority());
        match self.send(&Ask::new(Method::GET, "", Access::Login), &contact, &contact.challenges).await {
            Ok(answer) if answer.status() == StatusCode::OK => {
                Ok(lock(&self.shared.tokens).values().find_map(|token| token.identity().cloned()))
            }
            Ok(answer) => Err(RegistryError::Login { url, status: answer.status() }),
            Err(error @ RegistryError::Api { .. }) => {
                let method = "Get".to_owned();
                Err(RegistryError::Asking { method, url, source: Box::new(error) })
            }
            Err(error) => Err(error),
        }
    }

    /// The server's name and port.
    pub fn authority(&self) -> &str {
        &self.shared.server.endpoint.authority
    }

    /// The name within the registry.
    pub fn path(&self) -> &str {
        &self.shared.path
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
        let mut target = format!("{}/tags/list?n=1000", self.shared.path);
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
        self.shared.server.download_attempts
    }

    /// Room for parts of blobs that are fetched ahead, shared by everybody.
    pub(crate) fn parts(&self) -> &Arc<Semaphore> {
        &self.shared.server.parts
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
                Err((error, _)) if error.is_refusal() && self.shared.contact.initialized() && attempt < tries => {
                    pause = RESTART_PAUSE;
                    error
                }
                Err((error, _)) => return Err(error),
            };
            tracing::debug!(error = %failure, attempt, "registry request failed, trying again");
            self.pause(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
        Err(RegistryError::Protocol("no answer".to_owned()))
    }

    /// The whole URL of a target.
    pub(crate) async fn url(&self, target: &str) -> Result<String, RegistryError> {
        let contact = self.contact().await?;
        Ok(format!("{}://{}/v2/{target}", contact.scheme.name(), self.shared.server.endpoint.authority))
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
        let wait = retry_after(answer.headers(), Timestamp::now());
        Err((answered_error(answer).await, wait))
    }

    async fn send(
        &self,
        ask: &Ask<'_>,
        contact: &Contact,
        asked: &[Challenge],
    ) -> Result<Response<Incoming>, RegistryError> {
        let server = &self.shared.server;
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
            Some("http") if self.shared.server.endpoint.insecure => Ok(()),
            _ => Err(RegistryError::Protocol(format!(
                "insecure location on {}",
                host_of(uri.host().unwrap_or_default())
            ))),
        }
    }

    async fn contact(&self) -> Result<Contact, RegistryError> {
        self.shared.contact.get_or_try_init(|| self.shared.server.contact()).await.cloned()
    }

    async fn authorization(
        &self,
        ask: &Ask<'_>,
        contact: &Contact,
        asked: &[Challenge],
    ) -> Result<Option<HeaderValue>, RegistryError> {
        if let Credentials::RegistryToken(token) = &self.shared.credentials {
            return Token::fixed(token.clone()).header().map(Some);
        }
        match asked.first() {
            None => Ok(None),
            Some(Challenge::Basic) => match self.shared.credentials.basic() {
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
        let known = lock(&self.shared.tokens).get(&key).filter(|token| token.is_fresh()).cloned();
        if let Some(token) = known {
            return token.header();
        }
        // A password must not travel more openly than the registry itself is asked.
        if !realm.starts_with("https://") && !(contact.scheme == Scheme::Http && realm.starts_with("http://")) {
            return Err(RegistryError::Token(format!("insecure realm {realm:?}")));
        }
        let server = &self.shared.server;
        if self.shared.credentials != Credentials::Anonymous
            && !realm::is_own(realm, &server.endpoint.authority)
            && !realm::is_listed(realm, &server.certificates, &server.endpoint)
        {
            let registry = server.endpoint.domain.clone();
            return Err(RegistryError::ForeignRealm { realm: realm::host_in(realm).unwrap_or_default(), registry });
        }
        let transport = &server.transport;
        let token = fetch_token(transport, realm, service, &scopes, &self.shared.credentials).await?;
        let value = token.header();
        lock(&self.shared.tokens).insert(key, token);
        value
    }

    /// True if there was one, so that asking for a new one makes sense.
    fn forget_token(&self, ask: &Ask<'_>) -> bool {
        lock(&self.shared.tokens).remove(&self.scopes(ask).join(" ")).is_some()
    }

    fn scopes(&self, ask: &Ask<'_>) -> Vec<String> {
        let actions = match ask.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
            Access::Login => return Vec::new(),
        };
        let own = format!("repository:{}:{actions}", self.shared.path);
        let other = ask.also.map(|path| format!("repository:{path}:pull"));
        std::iter::once(own).chain(other).collect()
    }
}

/// `Link: </v2/x/tags/list?last=b&n=1>; rel="next"`, as a target of [`Ask`].
fn next_page(headers: &HeaderMap) -> Option<String> {
    let link = headers.get(header::LINK)?.to_str().ok()?;
    let (target, rest) = link.split_once('>')?;
    let target = target.trim().strip_prefix('<')?;
    rest.contains("next").then(|| target.strip_prefix("/v2/").map(str::to_owned))?
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
