//! Docker Hub's login by a web page: a code is shown, the user enters it in a browser, and an access token of their account
//! comes back (RFC 8628, then the Hub's own request for a token that does as a password).

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::auth::sensitive;
use crate::credentials::Secret;
use crate::error::RegistryError;
use crate::proxy::Proxies;
use crate::transport::{RequestBody, Transport, full, read_bounded};
use crate::web::transport;

const MAX_ANSWER_BYTES: u64 = 1 << 20;
/// The least time between two questions, and the longest that a code is waited for, whatever the server says.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// Where the Hub is asked, and as whom the client makes itself known.
#[derive(Debug, Clone)]
pub struct Hub {
    pub tenant: String,
    pub audience: String,
    pub client_id: String,
}

impl Default for Hub {
    /// Docker Hub's own, and the id of Docker's client.
    fn default() -> Self {
        Self {
            tenant: "https://login.docker.com".to_owned(),
            audience: "https://hub.docker.com".to_owned(),
            client_id: "L4v0dmlNBpYUjGGab0C2JtgTgXr1Qz4d".to_owned(),
        }
    }
}

/// A login that waits for its user.
pub struct DeviceLogin {
    hub: Hub,
    transport: Transport,
    state: State,
}

/// Who has logged in.
#[derive(Debug, Clone)]
pub struct Account {
    pub username: String,
    /// An access token that does as a password at the registry.
    pub password: Secret,
    pub access_token: Secret,
    pub refresh_token: Secret,
}

#[derive(Deserialize)]
struct State {
    #[serde(default)]
    device_code: String,
    #[serde(default)]
    user_code: String,
    #[serde(default)]
    verification_uri_complete: String,
    #[serde(default)]
    expires_in: u64,
    #[serde(default)]
    interval: u64,
}

#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    refresh_token: String,
    error: Option<String>,
    #[serde(default)]
    error_description: String,
}

#[derive(Deserialize)]
struct Generated {
    data: GeneratedToken,
}

#[derive(Deserialize)]
struct GeneratedToken {
    token: String,
}

/// What the access token says of its owner.
#[derive(Deserialize)]
struct Claims {
    #[serde(rename = "https://hub.docker.com")]
    domain: Domain,
}

#[derive(Deserialize)]
struct Domain {
    username: String,
}

impl DeviceLogin {
    /// Asks for a code.
    pub async fn start(hub: Hub, user_agent: &str, proxies: Proxies) -> Result<Self, RegistryError> {
        let transport = transport(user_agent, proxies);
        let fields = [("client_id", &*hub.client_id), ("audience", &*hub.audience), ("scope", "openid offline_access")];
        let request = form(&format!("{}/oauth/device/code", hub.tenant), &fields)?;
        let (status, answer) = ask(&transport, request).await?;
        let state: State = if status == StatusCode::OK { decode(&answer)? } else { return Err(unexpected(status)) };
        if state.user_code.is_empty() {
            return Err(RegistryError::Hub("missing user code".to_owned()));
        }
        Ok(Self { hub, transport, state })
    }

    /// What the user enters.
    pub fn code(&self) -> &str {
        &self.state.user_code
    }

    /// Where the user enters it, with the code in the address already.
    pub fn address(&self) -> &str {
        &self.state.verification_uri_complete
    }

    /// Waits until the user has entered the code.
    pub async fn wait(&self) -> Result<Account, RegistryError> {
        let tokens = self.tokens().await?;
        let username = owner(&tokens.access_token)?;
        let access_token = Secret::new(tokens.access_token);
        let password = self.generate(&access_token).await?;
        Ok(Account { username, password, access_token, refresh_token: Secret::new(tokens.refresh_token) })
    }

    /// The client's id, which is kept with the refresh token.
    pub fn client_id(&self) -> &str {
        &self.hub.client_id
    }

    async fn tokens(&self) -> Result<Tokens, RegistryError> {
        let interval = Duration::from_secs(self.state.interval).max(MIN_INTERVAL);
        let deadline = Instant::now() + Duration::from_secs(self.state.expires_in).min(MAX_WAIT);
        let fields = [
            ("client_id", &*self.hub.client_id),
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", &*self.state.device_code),
        ];
        loop {
            tokio::time::sleep(interval).await;
            let request = form(&format!("{}/oauth/token", self.hub.tenant), &fields)?;
            let tokens: Tokens = decode(&ask(&self.transport, request).await?.1)?;
            match tokens.error.as_deref() {
                None => return Ok(tokens),
                Some("authorization_pending" | "slow_down") if Instant::now() < deadline => {}
                Some("authorization_pending" | "slow_down") => {
                    return Err(RegistryError::Hub("timed out waiting for device token".to_owned()));
                }
                Some(_) => return Err(RegistryError::Hub(tokens.error_description)),
            }
        }
    }

    /// A token that does as a password.
    async fn generate(&self, access_token: &Secret) -> Result<Secret, RegistryError> {
        let address = format!("{}/v2/access-tokens/desktop-generate", self.hub.audience);
        let request = Request::builder()
            .method(Method::POST)
            .uri(&address)
            .header(header::AUTHORIZATION, sensitive(&format!("Bearer {}", access_token.reveal()))?)
            .header(header::CONTENT_TYPE, "application/json")
            .body(full(Bytes::new()))
            .map_err(|_| RegistryError::Address(address.clone()))?;
        match ask(&self.transport, request).await? {
            (StatusCode::CREATED, answer) => Ok(Secret::new(decode::<Generated>(&answer)?.data.token)),
            (status, _) => Err(unexpected(status)),
        }
    }
}

/// Has the Hub forget a refresh token.
pub async fn revoke(hub: &Hub, refresh_token: &str, user_agent: &str, proxies: Proxies) -> Result<(), RegistryError> {
    let fields = [("client_id", &*hub.client_id), ("token", refresh_token)];
    let request = form(&format!("{}/oauth/revoke", hub.tenant), &fields)?;
    match ask(&transport(user_agent, proxies), request).await? {
        (StatusCode::OK, _) => Ok(()),
        (status, _) => Err(unexpected(status)),
    }
}

/// The user's name in the middle part of a token (RFC 7519); its signature is the registry's business.
fn owner(token: &str) -> Result<String, RegistryError> {
    let wrong = || RegistryError::Hub("failed to parse token claims".to_owned());
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).ok_or_else(wrong)?;
    let claims: Claims = serde_json::from_slice(&claims).map_err(|_| wrong())?;
    Ok(claims.domain.username)
}

async fn ask(transport: &Transport, request: Request<RequestBody>) -> Result<(StatusCode, Bytes), RegistryError> {
    let answer = transport.send(request).await?;
    let status = answer.status();
    Ok((status, read_bounded(answer.into_body(), "answer of Docker Hub", MAX_ANSWER_BYTES).await?))
}

fn form(address: &str, fields: &[(&str, &str)]) -> Result<Request<RequestBody>, RegistryError> {
    let pairs = fields.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
    let body = pairs.collect::<Vec<_>>().join("&");
    Request::builder()
        .method(Method::POST)
        .uri(address)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(full(Bytes::from(body)))
        .map_err(|_| RegistryError::Address(address.to_owned()))
}

fn decode<T: DeserializeOwned>(answer: &[u8]) -> Result<T, RegistryError> {
    serde_json::from_slice(answer).map_err(|error| RegistryError::Hub(format!("failed to decode response: {error}")))
}

fn unexpected(status: StatusCode) -> RegistryError {
    RegistryError::Hub(format!("unexpected response from Hub: {status}"))
}
