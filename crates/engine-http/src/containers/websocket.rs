//! `GET /containers/x/attach/ws`: attach over a WebSocket (RFC 6455). Output of both streams comes as it is, without frames.

use std::sync::Arc;

use bytes::Bytes;
use container_core::{DetachKeys, Typed};
use engine_api::adapt;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderValue, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::Api;
use crate::reply;
use crate::request::Request;
use crate::status::{Answer, Failure};
use crate::streams::{Prefixes, log_pieces};
use ::containers::{AttachRequest, Attached, Logs, LogsRequest};

const COPY_BUFFER: usize = 32 * 1024;
/// The longest message that a client may send.
const MAX_MESSAGE: usize = 1 << 20;
/// Bytes before each piece of a multiplexed stream; the last four say how long it is.
const FRAME_HEADER: usize = 8;

pub async fn attach(api: Arc<Api>, request: Request) -> Answer {
    let query = &request.query;
    let version = request.version;
    let wants = |name| !adapt::websocket_streams_are_chosen(version) || query.flag(name);
    let streams = AttachRequest { stdin: wants("stdin"), stdout: wants("stdout"), stderr: wants("stderr") };
    let keys = DetachKeys::parse(query.text("detachKeys").unwrap_or_default())?;
    let accept = accept_key(&request)?;
    let service = &api.containers.streams;
    let logs = if query.flag("logs") {
        let wanted = LogsRequest { stdout: streams.stdout, stderr: streams.stderr, ..LogsRequest::default() };
        Some(service.logs(&request.name, wanted).await?)
    } else {
        None
    };
    let attached = if query.flag("stream") { Some(service.attach(&request.name, streams)?) } else { None };
    let mut reply = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = reply.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    let connection = hyper::upgrade::on(http::Request::from_parts(request.parts, ()));
    let session =
        Session { logs, attached, keys, takes_input: streams.stdin, binary: adapt::websocket_is_binary(version) };
    // It ends with the connection or with the process's output.
    tokio::spawn(async move {
        let Ok(connection) = connection.await else { return };
        let limits = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(connection), Role::Server, Some(limits)).await;
        session.run(socket).await;
    });
    Ok(reply)
}

/// The answer to the client's key, which proves that a WebSocket is meant.
fn accept_key(request: &Request) -> Result<HeaderValue, Failure> {
    let is = |name: &str, word: &str| {
        let value = request.header(name).unwrap_or_default();
        value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word))
    };
    if !is(UPGRADE.as_str(), "websocket") || !is(CONNECTION.as_str(), "upgrade") {
        return Err(Failure::bad_request("not websocket protocol"));
    }
    if request.header(SEC_WEBSOCKET_VERSION.as_str()) != Some("13") {
        return Err(Failure::bad_request("missing or bad WebSocket Version"));
    }
    let key = request.header(SEC_WEBSOCKET_KEY.as_str()).filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| Failure::bad_request("mismatch challenge/response"))?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|error| Failure::bad_request(error.to_string()))
}

struct Session {
    logs: Option<Logs>,
    attached: Option<Attached>,
    keys: DetachKeys,
    takes_input: bool,
    binary: bool,
}

impl Session {
    async fn run<S: AsyncRead + AsyncWrite + Unpin>(self, socket: WebSocketStream<S>) {
        let (mut sender, receiver) = socket.split();
        let binary = self.binary;
        if let Some(logs) = self.logs {
            let mut plain = Plain::new(logs.tty);
            let mut pieces = std::pin::pin!(log_pieces(logs, Prefixes { timestamps: false, details: false }));
            while let Some(Ok(piece)) = pieces.next().await {
                if send(&mut sender, plain.take(&piece), binary).await.is_err() {
                    return;
                }
            }
        }
        if let Some(attached) = self.attached {
            let tty = attached.tty;
            match attached.stream().await {
                Ok(Some(process)) => {
                    let (output, input) = tokio::io::split(process);
                    let keys = (tty && self.takes_input).then_some(self.keys);
                    let receive = receive(receiver, input, self.takes_input, keys);
                    let forward = forward(output, &mut sender, Plain::new(tty), binary);
                    tokio::select! {
                        () = forward => {}
                        () = receive => {}
                    }
                }
                // The container was removed, or its start failed.
                Ok(None) => {}
                Err(error) => tracing::debug!(error = errors::chain(&error), "cannot attach"),
            }
        }
        // The client may be gone already.
        let _ = sender.close().await;
    }
}

/// The process's output until it ends or the client is gone.
async fn forward<P, S>(
    mut process: P,
    sender: &mut SplitSink<WebSocketStream<S>, Message>,
    mut plain: Plain,
    binary: bool,
) where
    P: AsyncRead + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = vec![0; COPY_BUFFER];
    while let Ok(length @ 1..) = process.read(&mut buffer).await {
        if send(sender, plain.take(&buffer[..length]), binary).await.is_err() {
            return;
        }
    }
}

async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    sender: &mut SplitSink<WebSocketStream<S>, Message>,
    bytes: Vec<u8>,
    binary: bool,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    if bytes.is_empty() {
        return Ok(());
    }
    let message = match binary {
        true => Message::Binary(Bytes::from(bytes)),
        false => Message::Text(Utf8Bytes::from(String::from_utf8_lossy(&bytes).into_owned())),
    };
    sender.send(message).await
}

/// What the client types, until it closes, types the detach keys, or the process reads no more. Who does not feed the
/// process is listened to as well: its close ends the session.
async fn receive<P, S>(
    mut receiver: SplitStream<WebSocketStream<S>>,
    mut process: P,
    takes_input: bool,
    mut keys: Option<DetachKeys>,
) where
    P: AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut open = takes_input;
    while let Some(Ok(message)) = receiver.next().await {
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => Bytes::from(text),
            Message::Close(_) => return,
            _ => continue,
        };
        if !open {
            continue;
        }
        let sent = match &mut keys {
            Some(keys) => {
                let Typed { pass, detached } = keys.typed(&bytes);
                let sent = process.write_all(&pass).await;
                if detached {
                    return;
                }
                sent
            }
            None => process.write_all(&bytes).await,
        };
        open = sent.is_ok();
    }
}

/// A process's output without the frames that tell its two streams apart.
struct Plain {
    raw: bool,
    header: Vec<u8>,
    /// Bytes of the current frame still to come.
    left: usize,
}

impl Plain {
    fn new(tty: bool) -> Self {
        Self { raw: tty, header: Vec::with_capacity(FRAME_HEADER), left: 0 }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        if self.raw {
            return bytes.to_vec();
        }
        let mut plain = Vec::with_capacity(bytes.len());
        while !bytes.is_empty() {
            if self.left > 0 {
                let (piece, rest) = bytes.split_at(self.left.min(bytes.len()));
                plain.extend_from_slice(piece);
                self.left -= piece.len();
                bytes = rest;
                continue;
            }
            let missing = (FRAME_HEADER - self.header.len()).min(bytes.len());
            let (piece, rest) = bytes.split_at(missing);
            self.header.extend_from_slice(piece);
            bytes = rest;
            if let [_, _, _, _, a, b, c, d] = self.header[..] {
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                self.header.clear();
            }
        }
        plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_off_wherever_they_are_cut() {
        let framed =
            [&[1, 0, 0, 0, 0, 0, 0, 3][..], b"out", &[2, 0, 0, 0, 0, 0, 0, 0], &[2, 0, 0, 0, 0, 0, 0, 2], b"er"]
                .concat();
        for size in 1..framed.len() {
            let mut plain = Plain::new(false);
            let taken: Vec<u8> = framed.chunks(size).flat_map(|chunk| plain.take(chunk)).collect();
            assert_eq!(taken, b"outer", "pieces of {size}");
        }
        assert_eq!(Plain::new(true).take(b"\x01raw"), b"\x01raw");
    }

    #[tokio::test]
    async fn a_client_types_and_reads_and_its_close_ends_the_session() {
        let (server, client) = tokio::io::duplex(4096);
        let (process, mut inside) = tokio::io::duplex(4096);
        let server = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
        let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
        let session = tokio::spawn(async move {
            let (mut sender, receiver) = server.split();
            let (output, input) = tokio::io::split(process);
            tokio::select! {
                () = forward(output, &mut sender, Plain::new(true), true) => {}
                () = receive(receiver, input, true, None) => {}
            }
        });
        client.send(Message::Text("hello".into())).await.unwrap();
        let mut read = [0; 5];
        inside.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"hello");
        inside.write_all(b"answer").await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::Binary(Bytes::from_static(b"answer")));
        client.close(None).await.unwrap();
        session.await.unwrap();
    }
}
