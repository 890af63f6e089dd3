//! Who asks a registry: the header `X-Registry-Auth`, base64url of JSON.

use base64::Engine;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use engine_api::auth::{AuthConfig, REGISTRY_AUTH};
use images::{Credentials, Secret};

use crate::request::Request;
use crate::status::Failure;

/// Clients send it with padding and without.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Anonymous without the header; an error when it is there and cannot be read.
pub fn of(request: &Request) -> Result<Credentials, Failure> {
    match request.header(REGISTRY_AUTH) {
        None | Some("") => Ok(Credentials::Anonymous),
        Some(header) => parse(header).ok_or_else(|| Failure::bad_request(format!("invalid {REGISTRY_AUTH} header"))),
    }
}

fn parse(header: &str) -> Option<Credentials> {
    let bytes = BASE64URL.decode(header).ok()?;
    if bytes.is_empty() {
        return Some(Credentials::Anonymous);
    }
    from_config(engine_api::go_json::decode(&bytes).ok()?)
}

/// What a client wrote into a header or into a login; `None` when its pair is no pair.
pub fn from_config(auth: AuthConfig) -> Option<Credentials> {
    let secret = |secret: &engine_api::auth::Secret| Secret::new(secret.expose());
    if !auth.registry_token.is_empty() {
        return Some(Credentials::RegistryToken(secret(&auth.registry_token)));
    }
    if !auth.identity_token.is_empty() {
        return Some(Credentials::IdentityToken { username: auth.username, token: secret(&auth.identity_token) });
    }
    if !auth.username.is_empty() {
        return Some(Credentials::Password { username: auth.username, password: secret(&auth.password) });
    }
    if auth.auth.is_empty() {
        return Some(Credentials::Anonymous);
    }
    let pair = String::from_utf8(BASE64.decode(auth.auth.expose()).ok()?).ok()?;
    let (username, password) = pair.split_once(':')?;
    Some(Credentials::Password { username: username.to_owned(), password: Secret::new(password) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(json: &str) -> String {
        BASE64URL.encode(json)
    }

    #[test]
    fn a_header_is_read_with_and_without_padding() {
        let text = header(r#"{"username":"u","password":"pw"}"#);
        for text in [text.clone(), text.trim_end_matches('=').to_owned()] {
            assert!(matches!(parse(&text), Some(Credentials::Password { username, .. }) if username == "u"));
        }
        assert!(matches!(parse(&header("{}")), Some(Credentials::Anonymous)));
        assert!(matches!(parse(&header(r#"{"identitytoken":"t"}"#)), Some(Credentials::IdentityToken { .. })));
        let pair = BASE64.encode("u:p:w");
        assert!(matches!(parse(&header(&format!(r#"{{"auth":"{pair}"}}"#))), Some(Credentials::Password { .. })));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        assert!(parse("***").is_none());
        assert!(parse(&header("[1]")).is_none());
    }
}
