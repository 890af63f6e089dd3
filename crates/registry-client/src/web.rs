//! Files at any address of the web, by the connections that registries are reached with: what an import or a build asks
//! for. No credentials go along.

use std::io;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use hyper::body::Incoming;

use crate::connector::Connector;
use crate::error::{RegistryError, printable};
use crate::proxy::Proxies;
use crate::redirect::get_following;
use crate::registries::Registries;
use crate::transport::{Transport, failed, next_piece, read_bounded};

/// Bytes of a refusal that are shown.
const MAX_REFUSAL: u64 = 512;

/// A file on its way.
pub struct WebFile {
    /// Where it was in the end.
    pub address: String,
    /// As far as the server says so.
    pub size: Option<u64>,
    /// What its head says: `Last-Modified`, the name in `Content-Disposition`.
    pub last_modified: String,
    pub disposition: String,
    body: Incoming,
}

impl WebFile {
    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let broken = |error| failed(&Method::GET, &self.address.parse().unwrap_or_default(), error);
        next_piece(&mut self.body).await.map_err(broken)
    }
}

impl Registries {
    /// Asks for the file at this address as a registry would be asked: by the daemon's proxies.
    pub async fn web_file(&self, address: &str) -> Result<WebFile, RegistryError> {
        let options = self.options();
        get_file(address, &options.user_agent, options.proxies).await
    }
}

/// Asks for a file over http or https, with the system's certificates; redirects are followed.
pub async fn get_file(address: &str, user_agent: &str, proxies: Proxies) -> Result<WebFile, RegistryError> {
    let uri: Uri = address.parse().map_err(|_| RegistryError::Address(address.to_owned()))?;
    let named = uri.authority().filter(|authority| !authority.as_str().contains('@'));
    if uri.scheme().is_none() || named.is_none() {
        return Err(RegistryError::Address(address.to_owned()));
    }
    let transport = transport(user_agent, proxies);
    let (answer, address) = get_following(&transport, address, &HeaderMap::new()).await?;
    let status = answer.status();
    if !status.is_success() {
        return Err(RegistryError::Page { address, status, body: refusal(answer.into_body(), status).await });
    }
    let text = |name: header::HeaderName| {
        answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    Ok(WebFile {
        address,
        size: text(header::CONTENT_LENGTH).parse().ok(),
        last_modified: text(header::LAST_MODIFIED),
        disposition: text(header::CONTENT_DISPOSITION),
        body: answer.into_body(),
    })
}

/// To servers that are no registries.
pub(crate) fn transport(user_agent: &str, proxies: Proxies) -> Transport {
    let connector = Connector::new(proxies, || {
        let builder = tls_trust::builder().map_err(io::Error::other)?;
        Ok(builder.with_root_certificates(tls_trust::system_roots()).with_no_client_auth())
    });
    Transport::new(connector, user_agent)
}

/// What the server says about it, as far as that is short.
async fn refusal(body: Incoming, status: StatusCode) -> String {
    let read = read_bounded(body, "error", MAX_REFUSAL).await;
    read.map_or_else(|_| status.to_string(), |bytes| printable(&String::from_utf8_lossy(&bytes)))
}
