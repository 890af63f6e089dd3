//! Who asks.

use std::fmt;

/// A password or token that cannot be printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the wire only.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What a client passed along as X-Registry-Auth, decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    #[default]
    Anonymous,
    Password {
        username: String,
        password: Secret,
    },
    /// A refresh token of an earlier login (OAuth2).
    IdentityToken {
        username: String,
        token: Secret,
    },
    /// A bearer token, to be sent as it is.
    RegistryToken(Secret),
}

impl Credentials {
    pub(crate) fn basic(&self) -> Option<String> {
        use base64::Engine;
        let Self::Password { username, password } = self else { return None };
        let pair = format!("{username}:{}", password.reveal());
        Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
    }
}
