//! Search of a registry's catalogue: `/v1/search`, which Docker Hub has and few others.

use http::{HeaderMap, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::auth::sensitive;
use crate::credentials::Credentials;
use crate::endpoint::Scheme;
use crate::error::RegistryError;
use crate::redirect::get_following;
use crate::registries::{Registries, Server};
use crate::transport::read_bounded;

const MAX_ANSWER_BYTES: u64 = 4 << 20;
/// Where Docker Hub's catalogue is.
const HUB: &str = "index.docker.io";

/// A repository that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SearchHit {
    pub name: String,
    pub description: String,
    pub star_count: i64,
    pub is_official: bool,
    pub is_automated: bool,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    results: Option<Vec<SearchHit>>,
}

impl Registries {
    /// At most `limit` repositories of the registry of this domain that have to do with the term, in its order.
    pub async fn search(
        &self,
        domain: &str,
        term: &str,
        limit: u32,
        credentials: &Credentials,
    ) -> Result<Vec<SearchHit>, RegistryError> {
        // The Hub's catalogue is another server's than its blobs.
        let domain = if domain == "docker.io" { HUB } else { domain };
        let server = self.server(domain);
        let endpoint = endpoint(&server).await?;
        let encoded = utf8_percent_encode(term, NON_ALPHANUMERIC);
        let url = format!("{endpoint}search?q={encoded}&n={limit}");
        let mut headers = HeaderMap::new();
        if let Some(basic) = credentials.basic() {
            headers.insert(header::AUTHORIZATION, sensitive(&basic)?);
        }
        let (answer, _) = get_following(&server.transport, &url, &headers).await?;
        if answer.status() != StatusCode::OK {
            return Err(RegistryError::NoSearch { registry: domain.to_owned(), status: answer.status().as_u16() });
        }
        let bytes = read_bounded(answer.into_body(), "search result", MAX_ANSWER_BYTES).await?;
        let answer: Answer = serde_json::from_slice(&bytes)
            .map_err(|error| RegistryError::Protocol(format!("unable to decode search results: {error}")))?;
        let mut hits = answer.results.unwrap_or_default();
        hits.truncate(limit as usize);
        Ok(hits)
    }
}

/// Where searches are asked: the Hub's place is known, others are looked for by https first, and by http where that may be.
async fn endpoint(server: &Server) -> Result<String, RegistryError> {
    let at = |scheme: Scheme| format!("{}://{}/v1/", scheme.name(), server.endpoint.authority);
    let secure = at(Scheme::Https);
    if server.endpoint.domain == HUB {
        return Ok(secure);
    }
    let ping = async |endpoint: &str| {
        let asked = get_following(&server.transport, &format!("{endpoint}_ping"), &HeaderMap::new()).await;
        // Whatever it answers, it is there.
        asked.map(drop).map_err(|error| errors::chain(&error))
    };
    let Err(https) = ping(&secure).await else { return Ok(secure) };
    if !server.endpoint.insecure {
        let host = &server.endpoint.authority;
        return Err(RegistryError::SearchEndpoint(format!(
            "{secure}: {https}. If this private registry supports only HTTP or HTTPS with an unknown CA certificate, please \
             add `--insecure-registry {host}` to the daemon's arguments. In the case of HTTPS, if you have access to the \
             registry's CA certificate, no need for the flag; simply place the CA certificate at \
             /etc/docker/certs.d/{host}/ca.crt"
        )));
    }
    let plain = at(Scheme::Http);
    match ping(&plain).await {
        Ok(()) => Ok(plain),
        Err(http) => {
            Err(RegistryError::SearchEndpoint(format!("{plain:?}. HTTPS attempt: {https}. HTTP attempt: {http}")))
        }
    }
}
