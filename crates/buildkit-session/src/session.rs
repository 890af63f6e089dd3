//! One client's session.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use buildkit_api::health::HealthCheckRequest;
use buildkit_api::health::health_client::HealthClient;
use bytes::Bytes;
use errors::ErrorKind;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::error::SessionError;

/// Pieces of a stream on their way.
pub(crate) const QUEUE: usize = 4;
/// How long a client may take for a single answer, and be silent during a transfer.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// Cheap to clone. As long as somebody but the registry has it, it is in use.
#[derive(Debug, Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    id: String,
    shared_key: String,
    /// Paths of the methods that the client says it serves, in lower case.
    methods: BTreeSet<String>,
    channel: Channel,
    over: CancellationToken,
}

impl Session {
    pub(crate) fn new(
        id: String,
        shared_key: String,
        methods: BTreeSet<String>,
        channel: Channel,
        over: CancellationToken,
    ) -> Self {
        Self { shared: Arc::new(Shared { id, shared_key, methods, channel, over }) }
    }

    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// The same for all sessions of one client about one folder; may be empty.
    pub fn shared_key(&self) -> &str {
        &self.shared.shared_key
    }

    /// Returns when the client serves its session, or fails when it does not.
    pub async fn check(&self) -> Result<(), SessionError> {
        let mut client = HealthClient::new(self.channel());
        match self.in_time(client.check(HealthCheckRequest::default())).await {
            // dockerode's client does not know the question, and is there all the same.
            Err(SessionError::Answer { kind: ErrorKind::NotImplemented, .. }) => Ok(()),
            answered => answered.map(drop),
        }
    }

    /// Returns when the client has gone.
    pub async fn over(&self) {
        self.shared.over.cancelled().await;
    }

    pub(crate) fn end(&self) {
        self.shared.over.cancel();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.shared.over.is_cancelled()
    }

    /// How many have it.
    pub(crate) fn uses(&self) -> usize {
        Arc::strong_count(&self.shared)
    }

    pub(crate) fn channel(&self) -> Channel {
        self.shared.channel.clone()
    }

    /// Whether the client serves it: `/package.Service/Method`.
    pub(crate) fn serves(&self, method: &str) -> bool {
        self.shared.methods.contains(&method.to_ascii_lowercase())
    }

    pub(crate) fn require(&self, method: &str) -> Result<(), SessionError> {
        match self.serves(method) {
            true => Ok(()),
            false => Err(SessionError::refused(
                ErrorKind::FailedPrecondition,
                format!("method {method} not supported by the client"),
            )),
        }
    }

    /// A call of a client that may be busy for long: only its end is waited for.
    pub(crate) async fn while_there<T>(
        &self,
        call: impl Future<Output = Result<T, tonic::Status>>,
    ) -> Result<T, SessionError> {
        tokio::select! {
            answered = call => answered.map_err(Into::into),
            () = self.over() => Err(SessionError::Over),
        }
    }

    /// A call that must be answered in time, by a client that is there.
    pub(crate) async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, tonic::Status>>,
    ) -> Result<T, SessionError> {
        tokio::select! {
            answered = tokio::time::timeout(ANSWER_LIMIT, call) => match answered {
                Ok(answered) => answered.map_err(Into::into),
                Err(_) => Err(SessionError::Silent { seconds: ANSWER_LIMIT.as_secs() }),
            },
            () = self.over() => Err(SessionError::Over),
        }
    }

    /// The bytes of a client's messages, one after the other; an error is the last.
    pub(crate) fn pieces<M: Send + 'static>(
        &self,
        mut incoming: Streaming<M>,
        data: fn(M) -> Bytes,
    ) -> mpsc::Receiver<std::io::Result<Bytes>> {
        let (sender, pieces) = mpsc::channel(QUEUE);
        let session = self.clone();
        tokio::spawn(async move {
            loop {
                let piece = match session.in_time(incoming.message()).await {
                    Ok(Some(message)) => Ok(data(message)),
                    Ok(None) => return,
                    Err(error) => Err(std::io::Error::other(error)),
                };
                let is_last = piece.is_err();
                if sender.send(piece).await.is_err() || is_last {
                    return;
                }
            }
        });
        pieces
    }
}

#[cfg(test)]
mod tests {
    use tonic::service::Routes;
    use tonic::transport::Server;

    use super::*;

    #[tokio::test]
    async fn a_client_that_does_not_know_the_question_is_there() {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (ending, over) = (CancellationToken::new(), CancellationToken::new());
        let client = Server::builder().add_routes(Routes::default());
        let client = tokio::spawn(client.serve_with_incoming(grpc_connection::incoming(theirs, &ending)));
        let channel = grpc_connection::channel(ours, over.clone()).await.unwrap();
        let session = Session::new("a".to_owned(), String::new(), BTreeSet::new(), channel, over);
        session.check().await.unwrap();
        session.end();
        assert!(session.check().await.is_err(), "it is over");
        client.abort();
    }
}
