//! Streams that take the connection over: attach, exec start, and a build client's.
//!
//! A client that sends `Upgrade: tcp` gets 101 and the raw connection. One that does not gets 200 and the output as a
//! body that ends with the process; what it sends as a body is the process's stdin.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use container_core::{DetachKeys, Typed};
use engine_api::ApiVersion;
use engine_api::adapt;
use futures_util::StreamExt;
use futures_util::stream::Stream;
use http::header::{CONNECTION, CONTENT_TYPE, UPGRADE, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};
use tokio_util::io::StreamReader;
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;
use crate::reply::{self, Reply};
use crate::request::RequestBody;

const COPY_BUFFER: usize = 32 * 1024;
/// docker-py reads the head of an answer through a buffer and goes on below it: what arrives together with the head is lost.
/// Docker is too slow for that to happen.
const READS_AHEAD: [&str; 2] = ["docker-sdk-python/", "docker-compose/1."];
/// As long as Docker needs for the first byte of an exec.
const HEAD_IS_READ: Duration = Duration::from_millis(40);

/// How the output is framed, named for the client in the content type.
#[derive(Clone, Copy)]
pub struct Framing(&'static str);

impl Framing {
    pub fn of(tty: bool, version: ApiVersion) -> Self {
        Self(adapt::stream_type(tty, version))
    }
}

/// What becomes of what the client sends.
pub enum Inbound {
    /// The process has no stdin, or this client is not to feed it.
    Ignored,
    Plain,
    /// From a terminal, on which keys may be typed that detach the client.
    Typed(DetachKeys),
}

/// The client's two directions.
pub struct Client {
    input: Box<dyn AsyncRead + Send + Unpin>,
    output: Box<dyn AsyncWrite + Send + Unpin>,
    /// Cancelled when the daemon goes down.
    ending: CancellationToken,
    /// When it will have read the head of the answer, of a client to whom that matters.
    patience: Option<Instant>,
}

impl Client {
    /// Gives a client that needs it time to read the head of the answer.
    pub async fn settle(&mut self) {
        if let Some(patience) = self.patience.take() {
            sleep_until(patience).await;
        }
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes).await?;
        self.output.flush().await
    }

    /// Everything that the stream has.
    pub async fn send_all<S: Stream<Item = io::Result<Bytes>>>(&mut self, pieces: S) -> io::Result<()> {
        let mut pieces = std::pin::pin!(pieces);
        while let Some(piece) = pieces.next().await {
            self.send(&piece?).await?;
        }
        Ok(())
    }

    pub async fn close(mut self) {
        // The client may be gone already; there is nobody to tell.
        let _ = self.output.shutdown().await;
    }
}

/// The answer to give now, and the client's streams, which are there once the answer has been sent.
pub struct Hijack {
    pub reply: Reply,
    pub client: Pin<Box<dyn Future<Output = Option<Client>> + Send>>,
}

/// Takes the connection of this request over. The body is `None` when it has been read for something else.
pub fn hijack(parts: Parts, body: Option<RequestBody>, framing: Framing) -> Hijack {
    let content_type = HeaderValue::from_static(framing.0);
    let ending = parts.extensions.get::<Connection>().map(|connection| connection.ending.clone()).unwrap_or_default();
    match parts.headers.get(UPGRADE).cloned() {
        Some(protocol) => upgraded(parts, protocol, content_type, ending),
        // Without an upgrade the type says nothing of frames, in any version.
        None => as_body(body, HeaderValue::from_static(engine_api::RAW_STREAM), ending),
    }
}

/// A connection that is nothing but a stream of bytes, once the answer has been sent.
pub struct Raw {
    pub reply: Reply,
    pub stream: Pin<Box<dyn Future<Output = Option<TokioIo<Upgraded>>> + Send>>,
}

/// Takes the connection of this request over, for a protocol of its own.
pub fn raw(parts: Parts, protocol: &'static str) -> Raw {
    let mut reply = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    reply.headers_mut().insert(UPGRADE, HeaderValue::from_static(protocol));
    let stream = async move { hyper::upgrade::on(Request::from_parts(parts, ())).await.ok().map(TokioIo::new) };
    Raw { reply, stream: Box::pin(stream) }
}

fn upgraded(parts: Parts, protocol: HeaderValue, content_type: HeaderValue, ending: CancellationToken) -> Hijack {
    let mut reply = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    reply.headers_mut().insert(UPGRADE, protocol);
    let agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let reads_ahead = READS_AHEAD.iter().any(|name| agent.starts_with(name));
    let client = async move {
        let connection = hyper::upgrade::on(Request::from_parts(parts, ())).await.ok()?;
        let (input, output) = tokio::io::split(TokioIo::new(connection));
        let patience = reads_ahead.then(|| Instant::now() + HEAD_IS_READ);
        Some(Client { input: Box::new(input), output: Box::new(output), ending, patience })
    };
    Hijack { reply, client: Box::pin(client) }
}

fn as_body(body: Option<RequestBody>, content_type: HeaderValue, ending: CancellationToken) -> Hijack {
    let (output, answer) = tokio::io::duplex(COPY_BUFFER);
    let reply = reply::reader(content_type, answer, COPY_BUFFER);
    let input: Box<dyn AsyncRead + Send + Unpin> = match body {
        Some(body) => Box::new(StreamReader::new(body.into_data_stream().map(|chunk| chunk.map_err(io::Error::other)))),
        None => Box::new(tokio::io::empty()),
    };
    let client = Client { input, output: Box::new(output), ending, patience: None };
    Hijack { reply, client: Box::pin(async move { Some(client) }) }
}

/// Why a connection between client and process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The process's output is over, or the client is gone.
    Closed,
    /// The client typed the detach keys.
    Detached,
    /// The daemon goes down; the process runs on.
    Down,
}

/// A client whose stream is over and not yet closed.
pub struct Held {
    pub ended: Ended,
    output: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Held {
    pub async fn close(mut self) {
        // The client may be gone already; there is nobody to tell.
        let _ = self.output.shutdown().await;
    }
}

/// Copies both ways until the process's output ends, the client goes, it types the detach keys, or the daemon goes down.
pub async fn connect<P: AsyncRead + AsyncWrite>(client: Client, process: P, inbound: Inbound) -> Held {
    let (from_process, to_process) = tokio::io::split(process);
    let Client { input, mut output, ending, .. } = client;
    let ended = {
        let send = send_input(input, to_process, inbound);
        let receive = receive_output(from_process, &mut output);
        tokio::pin!(send, receive);
        // An input that is over leaves the output going.
        tokio::select! {
            ended = &mut receive => ended,
            Some(ended) = &mut send => ended,
            () = ending.cancelled() => Ended::Down,
        }
    };
    Held { ended, output }
}

/// `None` when the input ended, and was passed on as ended.
async fn send_input<I, P>(mut input: I, mut process: P, mut inbound: Inbound) -> Option<Ended>
where
    I: AsyncRead + Unpin,
    P: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; COPY_BUFFER];
    loop {
        let length = match input.read(&mut buffer).await {
            Ok(0) => break,
            Ok(length) => length,
            Err(_) => return Some(Ended::Closed),
        };
        let sent = match &mut inbound {
            Inbound::Ignored => continue,
            Inbound::Plain => process.write_all(&buffer[..length]).await,
            Inbound::Typed(keys) => {
                let Typed { pass, detached } = keys.typed(&buffer[..length]);
                let sent = process.write_all(&pass).await;
                if detached {
                    return Some(Ended::Detached);
                }
                sent
            }
        };
        if sent.is_err() {
            break;
        }
    }
    // The process may have gone first.
    let _ = process.shutdown().await;
    None
}

async fn receive_output<P: AsyncRead + Unpin, O: AsyncWrite + Unpin>(mut process: P, output: &mut O) -> Ended {
    let mut buffer = vec![0; COPY_BUFFER];
    loop {
        let length = match process.read(&mut buffer).await {
            Ok(0) | Err(_) => return Ended::Closed,
            Ok(length) => length,
        };
        if output.write_all(&buffer[..length]).await.is_err() || output.flush().await.is_err() {
            return Ended::Closed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(input: &'static [u8]) -> (Client, tokio::io::DuplexStream) {
        let (output, seen) = tokio::io::duplex(1024);
        (
            Client {
                input: Box::new(input),
                output: Box::new(output),
                ending: CancellationToken::new(),
                patience: None,
            },
            seen,
        )
    }

    #[tokio::test]
    async fn input_that_ends_leaves_the_output_going() {
        let (client, mut seen) = client(b"in");
        let (process, mut inside) = tokio::io::duplex(1024);
        let inside = tokio::spawn(async move {
            let mut read = Vec::new();
            inside.read_to_end(&mut read).await.unwrap();
            inside.write_all(b"out").await.unwrap();
            read
        });
        let held = connect(client, process, Inbound::Plain).await;
        assert_eq!(held.ended, Ended::Closed);
        held.close().await;
        let mut text = String::new();
        seen.read_to_string(&mut text).await.unwrap();
        assert_eq!((inside.await.unwrap().as_slice(), text.as_str()), (&b"in"[..], "out"));
    }

    #[tokio::test]
    async fn the_detach_keys_end_the_connection_and_stay_outside() {
        let (client, _seen) = client(b"ls\x10\x11rest");
        let (process, mut inside) = tokio::io::duplex(1024);
        let held = connect(client, process, Inbound::Typed(DetachKeys::parse("").unwrap())).await;
        assert_eq!(held.ended, Ended::Detached);
        let mut read = Vec::new();
        inside.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"ls");
    }

    #[tokio::test]
    async fn a_daemon_that_goes_down_ends_the_connection() {
        let (client, mut seen) = client(b"");
        let ending = client.ending.clone();
        let (process, _inside) = tokio::io::duplex(1024);
        let connected = tokio::spawn(connect(client, process, Inbound::Plain));
        ending.cancel();
        let held = connected.await.unwrap();
        assert_eq!(held.ended, Ended::Down);
        held.close().await;
        assert_eq!(seen.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    }
}
