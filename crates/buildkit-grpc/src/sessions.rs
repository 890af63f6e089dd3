//! A session inside of a call: bytes of messages as a connection's.

use std::io;

use buildkit_api::control::BytesMessage;
use buildkit_session::Introduction;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Status, Streaming};

/// Bytes of a direction on their way, and of one message.
const BUFFER: usize = 64 << 10;
const PIECE: usize = 32 << 10;
const QUEUE: usize = 4;

/// What a client says of its session, in headers of the call.
pub(crate) fn introduction(metadata: &MetadataMap) -> Introduction {
    let text = |value: &tonic::metadata::AsciiMetadataValue| value.to_str().unwrap_or_default().to_owned();
    let one = |name: &str| metadata.get(name).map(text).unwrap_or_default();
    Introduction {
        id: one("x-docker-expose-session-uuid"),
        shared_key: one("x-docker-expose-session-sharedkey"),
        methods: metadata.get_all("x-docker-expose-session-grpc-method").iter().map(text).collect(),
    }
}

/// The client's bytes as a stream, and what answers the call.
pub(crate) fn tunnel(
    incoming: Streaming<BytesMessage>,
) -> (DuplexStream, impl Stream<Item = Result<BytesMessage, Status>> + Send + use<>) {
    let (ours, theirs) = tokio::io::duplex(BUFFER);
    let (mut reader, mut writer) = tokio::io::split(theirs);
    tokio::spawn(async move {
        let mut incoming = incoming;
        while let Some(Ok(message)) = incoming.next().await {
            if writer.write_all(&message.data).await.is_err() {
                return;
            }
        }
        // A client that sends no more has gone.
        let _: io::Result<()> = writer.shutdown().await;
    });
    let (sender, outgoing) = tokio::sync::mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let mut buffer = vec![0; PIECE];
        while let Ok(length @ 1..) = reader.read(&mut buffer).await {
            let data = buffer[..length].to_vec();
            if sender.send(Ok(BytesMessage { data })).await.is_err() {
                return;
            }
        }
    });
    (ours, ReceiverStream::new(outgoing))
}
