//! An SSH agent of this machine's, forwarded to a step: bytes both ways.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;

use buildkit_api::ssh::ssh_server::Ssh;
use buildkit_api::ssh::{BytesMessage, CheckAgentRequest, CheckAgentResponse};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Names the agent that a connection is for.
const ID: &str = "buildkit.ssh.id";
const DEFAULT: &str = "default";
const PIECE: usize = 32 << 10;
const QUEUE: usize = 4;

/// Sockets of agents by their names.
pub(crate) struct Agents(pub BTreeMap<String, PathBuf>);

impl Agents {
    fn socket(&self, id: &str) -> Result<&PathBuf, Status> {
        let id = if id.is_empty() { DEFAULT } else { id };
        self.0.get(id).ok_or_else(|| Status::not_found(format!("unset ssh forward key {id}")))
    }
}

#[tonic::async_trait]
impl Ssh for Agents {
    type ForwardAgentStream = Pin<Box<dyn Stream<Item = Result<BytesMessage, Status>> + Send>>;

    async fn check_agent(&self, request: Request<CheckAgentRequest>) -> Result<Response<CheckAgentResponse>, Status> {
        self.socket(&request.into_inner().id)?;
        Ok(Response::new(CheckAgentResponse {}))
    }

    async fn forward_agent(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::ForwardAgentStream>, Status> {
        let id = request.metadata().get(ID).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let socket = self.socket(id)?;
        let failed =
            |error: std::io::Error| Status::unavailable(format!("failed to connect to {}: {error}", socket.display()));
        let (mut reader, mut writer) = UnixStream::connect(socket).await.map_err(failed)?.into_split();
        let mut incoming = request.into_inner();
        tokio::spawn(async move {
            while let Some(Ok(message)) = incoming.next().await {
                if writer.write_all(&message.data).await.is_err() {
                    return;
                }
            }
            let _: std::io::Result<()> = writer.shutdown().await;
        });
        let (sender, answers) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut buffer = vec![0; PIECE];
            while let Ok(length @ 1..) = reader.read(&mut buffer).await {
                let data = Bytes::copy_from_slice(&buffer[..length]);
                if sender.send(Ok(BytesMessage { data })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}
