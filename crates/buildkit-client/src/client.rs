//! BuildKit's calls: a build, what it tells, the cache.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use buildkit_api::control::control_client::ControlClient;
use buildkit_api::control::{
    DiskUsageRequest, ListWorkersRequest, PruneRequest, SolveRequest, StatusRequest, StatusResponse, UsageRecord,
};
use buildkit_api::prost::Message;
use buildkit_api::rpc;
use buildkit_api::types::WorkerRecord;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

/// What a detail with a place is called; its value is JSON.
const SOURCE_TYPE: &str = "github.com/moby/buildkit/errdefs.Source+json";
/// The longest message that is read: a step's output comes in pieces of 32 KiB, a list of the cache is one message.
const MAX_MESSAGE: usize = 64 << 20;

/// Why a call failed, and the place in the Dockerfile where there is one.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct SolveFailure {
    pub message: String,
    pub place: Option<SourcePlace>,
}

/// Lines of a file, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePlace {
    pub filename: String,
    pub text: Vec<u8>,
    pub first: u32,
    pub last: u32,
}

/// One connection to a builder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BuildClient {
    control: ControlClient<Channel>,
}

impl BuildClient {
    /// Over a connection that is there; `over` is cancelled when it ends.
    pub async fn connect<S>(stream: S, over: CancellationToken) -> Result<Self, SolveFailure>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let failed = |error: tonic::transport::Error| SolveFailure { message: errors::chain(&error), place: None };
        let channel = grpc_connection::channel(stream, over).await.map_err(failed)?;
        Ok(Self { control: ControlClient::new(channel).max_decoding_message_size(MAX_MESSAGE) })
    }

    /// Builds; dropped before its end, it ends the build.
    pub async fn solve(&self, request: SolveRequest) -> Result<BTreeMap<String, String>, SolveFailure> {
        let answer = self.control.clone().solve(request).await?.into_inner();
        Ok(answer.exporter_response.into_iter().collect())
    }

    /// What a build tells, from its beginning to its end.
    pub async fn statuses(&self, reference: &str) -> Result<Streaming<StatusResponse>, SolveFailure> {
        let request = StatusRequest { r#ref: reference.to_owned() };
        Ok(self.control.clone().status(request).await?.into_inner())
    }

    pub async fn disk_usage(&self, filter: Vec<String>) -> Result<Vec<UsageRecord>, SolveFailure> {
        let request = DiskUsageRequest { filter, ..DiskUsageRequest::default() };
        Ok(self.control.clone().disk_usage(request).await?.into_inner().record)
    }

    /// What goes, as it goes.
    pub async fn prune(&self, request: PruneRequest) -> Result<Streaming<UsageRecord>, SolveFailure> {
        Ok(self.control.clone().prune(request).await?.into_inner())
    }

    pub async fn workers(&self) -> Result<Vec<WorkerRecord>, SolveFailure> {
        Ok(self.control.clone().list_workers(ListWorkersRequest::default()).await?.into_inner().record)
    }
}

impl From<Status> for SolveFailure {
    fn from(status: Status) -> Self {
        // A build that fails has no code; others are named, as Go's clients show them.
        let message = match status.code() {
            Code::Unknown => status.message().to_owned(),
            code => format!("{code:?}: {}", status.message()),
        };
        Self { message, place: place(status.details()) }
    }
}

/// The first place among the details of a status.
fn place(details: &[u8]) -> Option<SourcePlace> {
    #[derive(Deserialize)]
    struct Source {
        info: Info,
        ranges: Vec<Range>,
    }
    #[derive(Deserialize)]
    struct Info {
        #[serde(default)]
        filename: String,
        #[serde(default)]
        data: String,
    }
    #[derive(Deserialize)]
    struct Range {
        start: Position,
        #[serde(default)]
        end: Position,
    }
    #[derive(Deserialize, Default)]
    struct Position {
        #[serde(default)]
        line: u32,
    }
    let status = rpc::Status::decode(details).ok()?;
    let detail = status.details.into_iter().find(|detail| detail.type_url == SOURCE_TYPE)?;
    let Source { info, ranges } = serde_json::from_slice(&detail.value).ok()?;
    let first = ranges.iter().map(|range| range.start.line).min()?;
    let last = ranges.iter().map(|range| range.end.line.max(range.start.line)).max()?;
    Some(SourcePlace { filename: info.filename, text: STANDARD.decode(info.data).ok()?, first, last })
}

#[cfg(test)]
mod tests {
    use buildkit_api::Any;

    use super::*;

    #[test]
    fn a_failure_has_its_place() {
        let value = r#"{"info":{"filename":"Dockerfile","data":"RlJPTSB4Cg==","language":"Dockerfile"},
            "ranges":[{"start":{"line":2},"end":{"line":3}}]}"#;
        let detail = Any { type_url: SOURCE_TYPE.to_owned(), value: value.into() };
        let details = rpc::Status { code: 2, message: String::new(), details: vec![detail] }.encode_to_vec();
        let failure = SolveFailure::from(Status::with_details(Code::Unknown, "process failed", details.into()));
        assert_eq!(failure.message, "process failed");
        let place = failure.place.unwrap();
        assert_eq!((place.text.as_slice(), place.first, place.last), (&b"FROM x\n"[..], 2, 3));
        let refused = SolveFailure::from(Status::not_found("no such job x"));
        assert_eq!((refused.message.as_str(), refused.place), ("NotFound: no such job x", None));
    }
}
