//! Calls to one shim. Every call has a limit or ends with the connection, so that a sick shim holds nobody up but its own
//! task.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use containerd_api::method;
use containerd_api::prost::Message;
use errors::{ErrorKind, Kind};
use ttrpc::asynchronous::Client;

use crate::error::{Error, Result};
use crate::shim_program::Bootstrap;

/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// How long a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// A question that a healthy shim answers from memory.
    Question,
    /// An operation that the shim has to start something for.
    Operation,
    /// As long as the shim lives: it ends when the container does.
    Endless,
}

impl Limit {
    fn duration(self) -> Option<Duration> {
        match self {
            Self::Question => Some(Duration::from_secs(2)),
            Self::Operation => Some(Duration::from_secs(120)),
            Self::Endless => None,
        }
    }
}

/// A connection to a shim.
#[derive(Debug, Clone)]
pub struct ShimClient {
    client: Client,
    service: &'static str,
}

impl ShimClient {
    pub async fn connect(bootstrap: &Bootstrap) -> Result<Self> {
        let path = socket_path(&bootstrap.address)?;
        let client = match tokio::time::timeout(CONNECT_LIMIT, Client::connect(&path)).await {
            Ok(connected) => connected.map_err(error)?,
            Err(_) => return Err(Error::Unavailable(format!("the shim at {:?} does not answer", bootstrap.address))),
        };
        let service = if bootstrap.version >= 3 { method::TASK_V3 } else { method::TASK_V2 };
        Ok(Self { client, service })
    }

    pub async fn call<A: Message + Default>(&self, method: &str, request: &impl Message, limit: Limit) -> Result<A> {
        let payload = request.encode_to_vec();
        let answer = self.client.call(self.service, method, payload, &[], limit.duration()).await.map_err(error)?;
        A::decode(answer.as_slice())
            .map_err(|source| Error::Stored { what: format!("cannot decode the shim's answer to {method}"), source })
    }

    /// Resolves when the shim is gone.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.client.closed()
    }

    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

fn error(error: ttrpc::Error) -> Error {
    let kind = error.kind();
    let message = match &error {
        ttrpc::Error::Status(status) => status.message.clone(),
        ttrpc::Error::Closed => "ttrpc: closed".to_owned(),
        ttrpc::Error::TimedOut => "the shim did not answer in time".to_owned(),
        other => errors::chain(other),
    };
    Error::Shim { kind: if matches!(error, ttrpc::Error::TimedOut) { ErrorKind::Unavailable } else { kind }, message }
}

/// `unix:///path` or a bare path; an abstract name of early shims is refused: it would be shared by everyone in the network
/// namespace (CVE-2020-15257).
fn socket_path(address: &str) -> Result<PathBuf> {
    let path = Path::new(address.strip_prefix("unix://").unwrap_or(address));
    if path.is_absolute() {
        Ok(path.to_path_buf())
    } else {
        Err(Error::Shim { kind: ErrorKind::Internal, message: format!("the shim's address {address:?} is no path") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_paths() {
        assert_eq!(socket_path("unix:///run/s/x").expect("path"), Path::new("/run/s/x"));
        assert_eq!(socket_path("/run/s/x").expect("path"), Path::new("/run/s/x"));
        assert!(socket_path("unix://relative").is_err());
        assert!(socket_path("\0abstract").is_err());
    }
}
