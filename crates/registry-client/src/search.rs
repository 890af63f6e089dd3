//! Search of a registry's catalogue: `/v1/search`, which Docker Hub has and few others.

use http::{HeaderMap, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::auth::sensitive;
use crate::credentials::Credentials;
use crate::error::RegistryError;
use crate::redirect::get_following;
use crate::registries::Registries;
use crate::transport::read_bounded;

const MAX_ANSWER_BYTES: u64 = 4 << 20;

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
        let domain = if domain == "docker.io" { "index.docker.io" } else { domain };
        let server = self.server(domain);
        let contact = server.contact().await?;
        let encoded = utf8_percent_encode(term, NON_ALPHANUMERIC);
        let url = format!("{}://{}/v1/search?q={encoded}&n={limit}", contact.scheme.name(), server.endpoint.authority);
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
