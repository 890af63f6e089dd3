//! An SSH agent of the client's, at a socket of a step's: `RUN --mount=type=ssh`.

use std::path::{Path, PathBuf};

use buildkit_api::ssh::ssh_client::SshClient;
use buildkit_api::ssh::{BytesMessage, CheckAgentRequest};
use bytes::Bytes;
use errors::{ErrorKind, Kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::metadata::AsciiMetadataValue;

use crate::error::SessionError;
use crate::session::Session;

const CHECK: &str = "/moby.sshforward.v1.SSH/CheckAgent";
/// Programs of a step that talk to the agent at a time.
const MAX_CLIENTS: usize = 32;
const PIECE: usize = 32 << 10;
/// Pieces on their way to the agent.
const QUEUE: usize = 4;

/// A socket that leads to the client's agent; dropped, it is gone.
#[derive(Debug)]
pub struct AgentSocket {
    path: PathBuf,
    serving: JoinHandle<()>,
}

impl Drop for AgentSocket {
    fn drop(&mut self) {
        self.serving.abort();
        // The folder goes with the step.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Session {
    /// Whether the client has an agent of this name.
    pub async fn has_agent(&self, id: &str) -> Result<bool, SessionError> {
        if !self.serves(CHECK) {
            return Ok(false);
        }
        let mut client = SshClient::new(self.channel());
        match self.in_time(client.check_agent(CheckAgentRequest { id: id.to_owned() })).await {
            Ok(_) => Ok(true),
            Err(SessionError::Over) => Err(SessionError::Over),
            Err(error) if error.kind() == ErrorKind::Unavailable => Err(error),
            // Clients say in many ways that they have none.
            Err(_) => Ok(false),
        }
    }

    /// Makes a socket that leads to it.
    pub fn forward_agent(&self, id: &str, path: &Path) -> Result<AgentSocket, SessionError> {
        let wrong = |_| SessionError::hostile(format!("{id:?} names no agent"));
        let id = AsciiMetadataValue::try_from(id).map_err(wrong)?;
        let listener = UnixListener::bind(path).map_err(SessionError::file("make an agent's socket"))?;
        let serving = tokio::spawn(serve(self.clone(), id, listener));
        Ok(AgentSocket { path: path.to_owned(), serving })
    }
}

async fn serve(session: Session, id: AsciiMetadataValue, listener: UnixListener) {
    let room = std::sync::Arc::new(Semaphore::new(MAX_CLIENTS));
    let mut clients = JoinSet::new();
    loop {
        let Ok(place) = std::sync::Arc::clone(&room).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = session.over() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        let (session, id) = (session.clone(), id.clone());
        clients.spawn(async move {
            if let Err(error) = forward(&session, id, stream).await {
                tracing::debug!(error = errors::chain(&error), "a step's agent connection broke");
            }
            drop(place);
        });
        while clients.try_join_next().is_some() {}
    }
}

async fn forward(session: &Session, id: AsciiMetadataValue, stream: UnixStream) -> Result<(), SessionError> {
    let failed = "talk to a step";
    let (sender, outgoing) = mpsc::channel(QUEUE);
    let mut request = Request::new(ReceiverStream::new(outgoing));
    request.metadata_mut().insert("buildkit.ssh.id", id);
    let mut client = SshClient::new(session.channel());
    let (mut reader, mut writer) = stream.into_split();
    let to_agent = async {
        let mut buffer = vec![0; PIECE];
        while let Ok(length @ 1..) = reader.read(&mut buffer).await {
            let data = Bytes::copy_from_slice(&buffer[..length]);
            if sender.send(BytesMessage { data }).await.is_err() {
                break;
            }
        }
        drop(sender);
    };
    // The agent speaks when it is spoken to: not even the head of the answer comes before.
    let to_step = async {
        let mut incoming = session.while_there(client.forward_agent(request)).await?.into_inner();
        while let Some(message) = incoming.message().await? {
            writer.write_all(&message.data).await.map_err(SessionError::file(failed))?;
        }
        writer.shutdown().await.map_err(SessionError::file(failed))
    };
    let ((), answered) = tokio::join!(to_agent, to_step);
    answered
}
