//! Challenges and tokens (RFC 7235; Docker's token authentication specification).

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::credentials::{Credentials, Secret};
use crate::error::RegistryError;
use crate::transport::{Transport, answered_error, empty, full, read_bounded};

const MAX_TOKEN_ANSWER: u64 = 1 << 20;
const MAX_CHALLENGES: usize = 8;
/// What a token is good for when its server does not say, and the least that is believed (the specification's minimum).
const MIN_LIFETIME: Duration = Duration::from_secs(60);
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// How a registry wants to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

/// A bearer token and when to ask for the next.
#[derive(Clone)]
pub(crate) struct Token {
    secret: Secret,
    expires: Instant,
    /// What to come back with instead of a password (`offline_token`).
    identity: Option<Secret>,
}

impl Token {
    /// Kept as it is by whoever made it.
    pub fn fixed(secret: Secret) -> Self {
        Self { secret, expires: Instant::now() + Duration::from_secs(24 * 3600), identity: None }
    }

    pub fn is_fresh(&self) -> bool {
        Instant::now() < self.expires
    }

    pub fn identity(&self) -> Option<&Secret> {
        self.identity.as_ref()
    }

    pub fn header(&self) -> Result<HeaderValue, RegistryError> {
        sensitive(&format!("Bearer {}", self.secret.reveal()))
    }
}

pub(crate) fn sensitive(text: &str) -> Result<HeaderValue, RegistryError> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| RegistryError::Token("credentials contain control characters".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The challenges of an answer; Bearer before Basic, as Docker prefers it.
pub(crate) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let mut found = Vec::new();
    for value in headers.get_all(header::WWW_AUTHENTICATE).iter().take(MAX_CHALLENGES) {
        let Ok(text) = value.to_str() else { continue };
        let (scheme, parameters) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            found.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer") {
            let parameters = parse_parameters(parameters);
            let get =
                |name: &str| parameters.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone());
            if let Some(realm) = get("realm") {
                found.push(Challenge::Bearer { realm, service: get("service") });
            }
        }
    }
    found.sort_by_key(|challenge| matches!(challenge, Challenge::Basic));
    found
}

/// `name="value", name=value`: quoted values may contain commas and escaped characters.
fn parse_parameters(text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut rest = text;
    while let Some((name, behind)) = rest.split_once('=') {
        let name = name.trim_matches([',', ' ', '\t']).to_owned();
        let mut value = String::new();
        if let Some(quoted) = behind.strip_prefix('"') {
            let mut characters = quoted.char_indices();
            let mut end = quoted.len();
            while let Some((at, c)) = characters.next() {
                match c {
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    '\\' => value.extend(characters.next().map(|(_, c)| c)),
                    c => value.push(c),
                }
            }
            rest = &quoted[end..];
        } else {
            let end = behind.find(',').unwrap_or(behind.len());
            value.push_str(behind[..end].trim());
            rest = &behind[end..];
        }
        parameters.push((name, value));
    }
    parameters
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    refresh_token: String,
    #[serde(default)]
    expires_in: u64,
}

/// Asks a token server for a token over these scopes.
pub(crate) async fn fetch_token(
    transport: &Transport,
    realm: &str,
    service: Option<&str>,
    scopes: &[String],
    credentials: &Credentials,
) -> Result<Token, RegistryError> {
    let request = match credentials {
        Credentials::IdentityToken { token, .. } => refresh_request(realm, service, scopes, token)?,
        other => query_request(realm, service, scopes, other)?,
    };
    let answer = transport.send(request).await?;
    if !answer.status().is_success() {
        return Err(answered_error(answer).await);
    }
    let bytes = read_bounded(answer.into_body(), "token", MAX_TOKEN_ANSWER).await?;
    let answer: TokenAnswer = serde_json::from_slice(&bytes)
        .map_err(|error| RegistryError::Token(format!("unable to decode token response: {error}")))?;
    let secret = if answer.token.is_empty() { answer.access_token } else { answer.token };
    if secret.is_empty() {
        return Err(RegistryError::Token("authorization server did not include a token in the response".to_owned()));
    }
    let lifetime = Duration::from_secs(answer.expires_in.min(24 * 3600)).max(MIN_LIFETIME);
    let identity = Some(answer.refresh_token).filter(|token| !token.is_empty()).map(Secret::new);
    // Renewed a little early: it must still be good when it arrives.
    Ok(Token { secret: Secret::new(secret), expires: Instant::now() + lifetime * 9 / 10, identity })
}

fn query_request(
    realm: &str,
    service: Option<&str>,
    scopes: &[String],
    credentials: &Credentials,
) -> Result<Request<crate::transport::RequestBody>, RegistryError> {
    let mut url = realm.to_owned();
    let mut add = |name: &str, value: &str| {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(&format!("{name}={}", utf8_percent_encode(value, QUERY)));
    };
    if let Some(service) = service {
        add("service", service);
    }
    for scope in scopes {
        add("scope", scope);
    }
    if let Credentials::Password { username, .. } = credentials {
        add("account", username);
        // A login: who is known gets a token to come back with, from servers that have such.
        if scopes.is_empty() {
            add("client_id", "docker");
            add("offline_token", "true");
        }
    }
    let mut request = Request::builder().method(Method::GET).uri(url);
    if let Some(basic) = credentials.basic() {
        request = request.header(header::AUTHORIZATION, sensitive(&basic)?);
    }
    request.body(empty()).map_err(|_| bad_realm(realm))
}

fn refresh_request(
    realm: &str,
    service: Option<&str>,
    scopes: &[String],
    token: &Secret,
) -> Result<Request<crate::transport::RequestBody>, RegistryError> {
    let encode = |text: &str| utf8_percent_encode(text, QUERY).to_string();
    let form = format!(
        "grant_type=refresh_token&client_id=docker&service={}&scope={}&refresh_token={}",
        encode(service.unwrap_or_default()),
        encode(&scopes.join(" ")),
        encode(token.reveal())
    );
    Request::builder()
        .method(Method::POST)
        .uri(realm)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(full(Bytes::from(form)))
        .map_err(|_| bad_realm(realm))
}

fn bad_realm(realm: &str) -> RegistryError {
    RegistryError::Token(format!("invalid realm {realm:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (header::WWW_AUTHENTICATE, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn challenges_are_read_and_bearer_comes_first() {
        let found = challenges(&headers(&[
            "Basic realm=\"Registry Realm\"",
            "bearer realm=\"https://auth.example/token?a=b,c\",service=registry.example , scope=\"repository:x:pull,push\"",
            "Negotiate",
        ]));
        let bearer = Challenge::Bearer {
            realm: "https://auth.example/token?a=b,c".to_owned(),
            service: Some("registry.example".to_owned()),
        };
        assert_eq!(found, [bearer, Challenge::Basic]);
    }

    #[test]
    fn broken_challenges_are_none() {
        assert_eq!(challenges(&headers(&["Bearer", "Bearer realm", "Bearer service=\"x"])), []);
        assert_eq!(
            parse_parameters(r#"a="b\"c",d="#),
            [("a".to_owned(), "b\"c".to_owned()), ("d".to_owned(), String::new())]
        );
    }

    #[test]
    fn a_token_request_names_every_scope_and_no_secret_in_its_url() {
        let credentials = Credentials::Password { username: "me".to_owned(), password: Secret::new("pass") };
        let scopes = ["repository:a/b:pull".to_owned(), "repository:c:pull".to_owned()];
        let request = query_request("https://auth.example/token", Some("r e"), &scopes, &credentials).unwrap();
        assert_eq!(
            request.uri().to_string(),
            "https://auth.example/token?service=r%20e&scope=repository%3Aa%2Fb%3Apull&scope=repository%3Ac%3Apull&account=me"
        );
        assert!(request.headers()[header::AUTHORIZATION].is_sensitive());
        assert_eq!(format!("{credentials:?}"), "Password { username: \"me\", password: *** }");
    }
}
