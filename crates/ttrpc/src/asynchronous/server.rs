//! A server: each connection is a task, each call a task of it, bounded by [`MAX_IN_FLIGHT`].

use super::read_message;
use crate::frame::{self, MAX_MESSAGE};
use crate::{Code, Request, Status};
use prost::Message;
use std::future::Future;
use std::sync::Arc;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// Calls of one connection that are worked on at the same time; the next waits in the socket.
pub const MAX_IN_FLIGHT: usize = 128;
/// Connections at the same time; the next waits in the listener's queue.
pub const MAX_CONNECTIONS: usize = 4096;

/// What answers the calls of a server.
pub trait Service: Send + Sync + 'static {
    /// Answers one call with an encoded message.
    fn call(&self, request: Request) -> impl Future<Output = Result<Vec<u8>, Status>> + Send;
}

/// Accepts and serves until it is dropped, which closes all connections.
pub async fn serve(listener: UnixListener, service: Arc<impl Service>) -> std::io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((socket, _)) => {
                    connections.spawn(serve_connection(socket, service.clone()));
                }
                // Descriptors have run out for a moment: let others finish first (accept(2)).
                Err(error) if matches!(error.raw_os_error(), Some(23 | 24)) => {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection until the peer goes away.
pub async fn serve_connection(socket: UnixStream, service: Arc<impl Service>) {
    let (read, mut write) = socket.into_split();
    let (answers, mut queue) = mpsc::channel::<Vec<u8>>(MAX_IN_FLIGHT);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Some(bytes) = queue.recv().await {
            if write.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let mut socket = BufReader::new(read);
    let (slots, mut last_stream) = (Arc::new(Semaphore::new(MAX_IN_FLIGHT)), 0);
    while let Ok((header, body)) = read_message(&mut socket).await {
        while tasks.try_join_next().is_some() {}
        let request = match accept(header, body, last_stream) {
            Ok(Some(request)) => request,
            Ok(None) => continue,
            Err(status) => {
                if answers.send(encode(header.stream, Err(status))).await.is_err() {
                    break;
                }
                continue;
            }
        };
        last_stream = header.stream;
        let Ok(slot) = slots.clone().acquire_owned().await else { break };
        let (service, answers) = (service.clone(), answers.clone());
        tasks.spawn(async move {
            let result = service.call(request).await;
            // Fails when the peer is gone; then nobody waits for the answer.
            let _ = answers.send(encode(header.stream, result)).await;
            drop(slot);
        });
    }
}

/// The request in a message; `None` for types that later versions may bring.
fn accept(header: frame::Header, body: Option<Vec<u8>>, last_stream: u32) -> Result<Option<Request>, Status> {
    let invalid = |text: &str| Err(Status::new(Code::InvalidArgument, text));
    let Some(body) = body else {
        return Err(too_long(header.length as usize));
    };
    match header.kind {
        frame::TYPE_REQUEST if header.stream % 2 != 1 => invalid("StreamID must be odd for client initiated streams"),
        frame::TYPE_REQUEST if header.stream <= last_stream => invalid("StreamID cannot be re-used and must increment"),
        frame::TYPE_REQUEST => match Request::decode(body.as_slice()) {
            Ok(request) => Ok(Some(request)),
            Err(error) => invalid(&format!("unmarshal request error: {error}")),
        },
        frame::TYPE_DATA => invalid("StreamID is no longer active"),
        _ => Ok(None),
    }
}

fn encode(stream: u32, result: Result<Vec<u8>, Status>) -> Vec<u8> {
    frame::encode_response(stream, result)
        .or_else(|length| frame::encode_response(stream, Err(too_long(length))))
        .expect("an error message is short")
}

fn too_long(length: usize) -> Status {
    let text = format!("message length {length} exceed maximum message size of {MAX_MESSAGE}");
    Status::new(Code::ResourceExhausted, text)
}
