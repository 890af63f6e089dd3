//! An image at a registry, as a request names it, and the credentials that the client is asked for.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use containerd_api::any::{pack, unpack};
use containerd_api::types::transfer::{AuthRequest, AuthResponse, AuthType, HttpDebug, OciRegistry, RegistryResolver};
use ids::Reference;
use registry_client::{Credentials, Registries, RegistryOptions, Repository, Secret};

use crate::Task;
use crate::error::TransferError;

/// How long a client may look for its credentials: it may ask a person.
const CREDENTIALS_LIMIT: Duration = Duration::from_secs(300);

/// Where an image comes from, or goes to.
pub(crate) struct RemoteImage {
    pub repository: Repository,
    pub reference: Reference,
    /// As the client wrote it.
    text: String,
}

impl RemoteImage {
    /// The tag or digest that the registry is asked for.
    pub fn wanted(&self) -> String {
        match self.reference.digest() {
            Some(digest) => digest.to_string(),
            None => self.reference.tag().unwrap_or_default().to_owned(),
        }
    }
}

/// As containerd shows it in its progress.
impl fmt::Display for RemoteImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OCI Registry ({})", self.text)
    }
}

impl Task<'_> {
    pub(crate) async fn remote_image(&self, registry: OciRegistry) -> Result<RemoteImage, TransferError> {
        let text = registry.reference;
        let reference = Reference::parse_familiar(&text)
            .map_err(|error| TransferError::InvalidArgument(format!("invalid reference {text:?}: {error}")))?;
        if reference.is_name_only() {
            return Err(TransferError::InvalidArgument(format!("invalid reference {text:?}: object required")));
        }
        let resolver = registry.resolver.unwrap_or_default();
        let options = options(&resolver, reference.domain())?;
        let credentials = match resolver.auth_stream.as_str() {
            "" => Credentials::Anonymous,
            name => self.credentials(name, &reference, &text).await?,
        };
        let repository = Registries::new(options).repository(&reference, credentials);
        Ok(RemoteImage { repository, reference, text })
    }

    async fn credentials(&self, stream: &str, reference: &Reference, text: &str) -> Result<Credentials, TransferError> {
        let mut stream = self.streams.take(&self.scope.namespace, stream)?;
        let host = if reference.domain() == "docker.io" { "registry-1.docker.io" } else { reference.domain() };
        let ask = AuthRequest { host: host.to_owned(), reference: text.to_owned(), wwwauthenticate: Vec::new() };
        let missing = || TransferError::Credentials(text.to_owned());
        stream.outgoing.send(pack(&ask)).await.map_err(|_| missing())?;
        let answer = tokio::time::timeout(CREDENTIALS_LIMIT, stream.incoming.recv()).await;
        match answer {
            Ok(Some(Ok(answer))) => credentials(unpack(&answer)?),
            _ => Err(missing()),
        }
    }
}

/// How the registry is spoken to.
fn options(resolver: &RegistryResolver, domain: &str) -> Result<RegistryOptions, TransferError> {
    let refused = |what: &str| Err(TransferError::NotImplemented(format!("{what} of a registry")));
    if !resolver.headers.is_empty() {
        return refused("headers");
    }
    if resolver.http_debug() != HttpDebug::Disabled {
        return refused("the log of requests");
    }
    let mut options = RegistryOptions::default();
    match resolver.default_scheme.as_str() {
        "" | "https" => {}
        "http" => options.insecure.push(domain.to_owned()),
        other => return Err(TransferError::InvalidArgument(format!("unknown scheme {other:?} of a registry"))),
    }
    if !resolver.host_dir.is_empty() {
        let folder = PathBuf::from(&resolver.host_dir);
        // Certificates lie there as in Docker's certs.d; containerd's own files say more than is understood here.
        for name in [domain, "_default"] {
            let file = folder.join(name).join("hosts.toml");
            if file.exists() {
                return refused(&file.display().to_string());
            }
        }
        options.certificates = folder;
    }
    Ok(options)
}

fn credentials(answer: AuthResponse) -> Result<Credentials, TransferError> {
    let secret = Secret::new(answer.secret.clone());
    match answer.auth_type() {
        AuthType::None => Ok(Credentials::Anonymous),
        AuthType::Refresh if secret.is_empty() => Ok(Credentials::Anonymous),
        AuthType::Refresh => Ok(Credentials::IdentityToken { username: answer.username, token: secret }),
        AuthType::Credentials => Ok(Credentials::Password { username: answer.username, password: secret }),
        AuthType::Header => header(&answer.secret),
    }
}

/// A whole `Authorization` header.
fn header(text: &str) -> Result<Credentials, TransferError> {
    let unknown = || TransferError::InvalidArgument("unknown authorization header".to_owned());
    let (scheme, rest) = text.split_once(' ').ok_or_else(unknown)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Credentials::RegistryToken(Secret::new(rest.trim())));
    }
    let pair = STANDARD.decode(rest.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"));
    let pair = pair.and_then(|pair| String::from_utf8(pair).ok()).ok_or_else(unknown)?;
    let (username, password) = pair.split_once(':').ok_or_else(unknown)?;
    Ok(Credentials::Password { username: username.to_owned(), password: Secret::new(password) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(auth_type: AuthType, username: &str, secret: &str) -> Result<Credentials, TransferError> {
        let (username, secret) = (username.to_owned(), secret.to_owned());
        credentials(AuthResponse { auth_type: auth_type.into(), username, secret, expire_at: None })
    }

    #[test]
    fn credentials_come_in_four_forms() {
        let password = Credentials::Password { username: "me".into(), password: Secret::new("pw") };
        assert_eq!(answered(AuthType::Credentials, "me", "pw").unwrap(), password);
        assert_eq!(answered(AuthType::Header, "", "Basic bWU6cHc=").unwrap(), password);
        assert_eq!(answered(AuthType::Refresh, "", "").unwrap(), Credentials::Anonymous);
        assert!(matches!(answered(AuthType::Refresh, "", "t"), Ok(Credentials::IdentityToken { .. })));
        assert!(matches!(answered(AuthType::Header, "", "Bearer t"), Ok(Credentials::RegistryToken(_))));
        assert!(answered(AuthType::Header, "", "Digest x").is_err());
    }

    #[test]
    fn what_is_not_done_is_refused() {
        let schemes =
            |scheme: &str| options(&RegistryResolver { default_scheme: scheme.into(), ..Default::default() }, "r");
        assert_eq!(schemes("http").unwrap().insecure, ["r"]);
        assert!(schemes("ftp").is_err());
        let debug = RegistryResolver { http_debug: HttpDebug::Trace.into(), ..Default::default() };
        assert!(options(&debug, "r").is_err());
    }
}
