//! Blobs of a client's folders, by containerd's content service over the session: caches are read and written there.

use bytes::Bytes;
use containerd_api::services::content::v1::content_client::ContentClient;
use containerd_api::services::content::v1::{
    InfoRequest, ReadContentRequest, WriteAction, WriteContentRequest, WriteContentResponse,
};
use errors::{ErrorKind, Kind};
use futures_util::{Stream, StreamExt};
use ids::Digest;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Request, Streaming};

use crate::error::SessionError;
use crate::session::{QUEUE, Session};

const READ: &str = "/containerd.services.content.v1.Content/Read";
const WRITE: &str = "/containerd.services.content.v1.Content/Write";
/// Says which of the client's folders is meant.
const STORE: &str = "buildkit-attachable-store-id";
/// A piece of a blob, within what gRPC takes as one message.
const PIECE: usize = 1 << 20;

impl Session {
    /// Whether the client has such folders.
    pub fn has_content(&self) -> bool {
        self.serves(READ) && self.serves(WRITE)
    }

    /// A blob's bytes, to be verified by whoever reads them.
    pub async fn read_content(
        &self,
        store: &str,
        digest: &Digest,
    ) -> Result<mpsc::Receiver<std::io::Result<Bytes>>, SessionError> {
        self.require(READ)?;
        let wanted = ReadContentRequest { digest: digest.to_string(), ..ReadContentRequest::default() };
        let mut client = ContentClient::new(self.channel());
        let incoming = self.in_time(client.read(named(store, wanted)?)).await?.into_inner();
        Ok(self.pieces(incoming, |message| message.data))
    }

    /// Stores a blob that is not there yet.
    pub async fn write_content(
        &self,
        store: &str,
        digest: &Digest,
        size: u64,
        pieces: impl Stream<Item = std::io::Result<Bytes>> + Send,
    ) -> Result<(), SessionError> {
        self.require(WRITE)?;
        if self.has_blob(store, digest, size).await? {
            return Ok(());
        }
        match self.write_blob(store, digest, size, pieces).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            written => written,
        }
    }

    async fn has_blob(&self, store: &str, digest: &Digest, size: u64) -> Result<bool, SessionError> {
        let mut client = ContentClient::new(self.channel());
        let wanted = InfoRequest { digest: digest.to_string() };
        match self.in_time(client.info(named(store, wanted)?)).await {
            Ok(answer) => Ok(answer.into_inner().info.is_some_and(|info| u64::try_from(info.size) == Ok(size))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn write_blob(
        &self,
        store: &str,
        digest: &Digest,
        size: u64,
        pieces: impl Stream<Item = std::io::Result<Bytes>> + Send,
    ) -> Result<(), SessionError> {
        let (sender, outgoing) = mpsc::channel(QUEUE);
        let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let (reference, expected, total) = (format!("longshore-{digest}"), digest.to_string(), number(size));
        let first = WriteContentRequest {
            action: WriteAction::Stat.into(),
            r#ref: reference,
            total,
            expected: expected.clone(),
            ..WriteContentRequest::default()
        };
        let gone = |_| SessionError::Over;
        sender.send(first).await.map_err(gone)?;
        let mut client = ContentClient::new(self.channel());
        let mut answers = self.in_time(client.write(named(store, ReceiverStream::new(outgoing))?)).await?.into_inner();
        // What an earlier attempt has left is written anew.
        self.next(&mut answers).await?;
        let (mut offset, mut pieces) = (0_u64, std::pin::pin!(pieces));
        while let Some(piece) = pieces.next().await {
            let mut piece = piece.map_err(SessionError::file("read a blob of the cache"))?;
            while !piece.is_empty() {
                let data = piece.split_to(piece.len().min(PIECE));
                let length = data.len() as u64;
                let action = WriteAction::Write.into();
                let message =
                    WriteContentRequest { action, offset: number(offset), data, ..WriteContentRequest::default() };
                sender.send(message).await.map_err(gone)?;
                self.next(&mut answers).await?;
                offset += length;
            }
        }
        let (action, offset) = (WriteAction::Commit.into(), number(offset));
        let last = WriteContentRequest { action, offset, total, expected, ..WriteContentRequest::default() };
        sender.send(last).await.map_err(gone)?;
        self.next(&mut answers).await.map(drop)
    }

    async fn next(&self, answers: &mut Streaming<WriteContentResponse>) -> Result<WriteContentResponse, SessionError> {
        self.in_time(answers.message()).await?.ok_or(SessionError::Over)
    }
}

fn named<T>(store: &str, message: T) -> Result<Request<T>, SessionError> {
    let mut request = Request::new(message);
    let wrong = |_| SessionError::refused(ErrorKind::InvalidArgument, format!("{store:?} names no folder of a client"));
    request.metadata_mut().insert(STORE, AsciiMetadataValue::try_from(store).map_err(wrong)?);
    Ok(request)
}
