//! Credentials for registries. They travel as base64url JSON in the header `X-Registry-Auth`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::wire::empty;

/// Header with the credentials for one registry.
pub const REGISTRY_AUTH: &str = "X-Registry-Auth";

/// Text that is never printed.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret()" } else { "Secret(…)" })
    }
}

wire! {
    /// Who asks a registry. A base64 `auth` is a user name and a password joined by a colon.
    pub struct AuthConfig {
        username: String = "username" | "empty",
        password: Secret = "password" | "empty",
        auth: Secret = "auth" | "empty",
        email: String = "email" | "empty",
        server_address: String = "serveraddress" | "empty",
        identity_token: Secret = "identitytoken" | "empty",
        registry_token: Secret = "registrytoken" | "empty",
    }

    /// Answer to `POST /auth`.
    pub struct AuthResponse {
        /// Always there: clients read a missing one as an error.
        identity_token: Secret = "IdentityToken",
        status: String = "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_printed() {
        let auth = AuthConfig { username: "u".into(), password: Secret::new("hunter2"), ..AuthConfig::default() };
        assert!(!format!("{auth:?}").contains("hunter2"));
        assert_eq!(serde_json::to_string(&auth).unwrap(), r#"{"username":"u","password":"hunter2"}"#);
    }
}
