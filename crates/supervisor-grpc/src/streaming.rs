//! The streaming service: a client's messages to whatever takes the stream by its name, and back.

use ::transfer::{Broken, Remote, Streams};
use containerd_api::any::unpack;
use containerd_api::services::streaming::v1::StreamInit;
use containerd_api::services::streaming::v1::streaming_server::Streaming;
use containerd_api::{Any, prost};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::scope::namespace;
use crate::status::{invalid, status};

/// Answers on their way to a client.
const QUEUE: usize = 4;

pub struct StreamingService(pub Streams);

#[tonic::async_trait]
impl Streaming for StreamingService {
    type StreamStream = ReceiverStream<Result<Any, Status>>;

    async fn stream(&self, request: Request<tonic::Streaming<Any>>) -> Result<Response<Self::StreamStream>, Status> {
        let namespace = namespace(&request)?;
        let mut requests = request.into_inner();
        let first = requests.message().await?.ok_or_else(|| invalid("the stream ended before its first message"))?;
        let init: StreamInit = unpack(&first).map_err(|error| invalid(error.to_string()))?;
        let remote = self.0.enter(&namespace, &init.id).map_err(status)?;
        let (answers, answered) = mpsc::channel(QUEUE);
        tokio::spawn(carry(requests, remote, answers));
        Ok(Response::new(ReceiverStream::new(answered)))
    }
}

/// Until whoever took the stream is done with it, or the client is gone.
async fn carry(mut requests: tonic::Streaming<Any>, remote: Remote, answers: mpsc::Sender<Result<Any, Status>>) {
    let Remote { incoming, mut outgoing, entry } = remote;
    let forward = async {
        loop {
            match requests.message().await {
                // A reader that has gone on without the rest is told by the other direction.
                Ok(Some(message)) => drop(incoming.send(Ok(message)).await),
                Ok(None) => break,
                Err(_) => {
                    drop(incoming.send(Err(Broken)).await);
                    return;
                }
            }
        }
        drop(incoming);
        // The client has sent all and waits for answers.
        answers.closed().await;
    };
    let back = async {
        let entered = Any { type_url: <() as prost::Name>::full_name(), value: Vec::new() };
        let mut next = Some(entered);
        while let Some(message) = next {
            if answers.send(Ok(message)).await.is_err() {
                return;
            }
            next = outgoing.recv().await;
        }
    };
    tokio::select! {
        () = forward => {}
        () = back => {}
    }
    drop(entry);
}
