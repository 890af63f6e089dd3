//! Blobs by digest.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use containerd_api::FieldMask;
use containerd_api::services::content::v1 as api;
use containerd_api::services::content::v1::content_client::ContentClient;
use futures_core::Stream;
use futures_util::StreamExt;
use ids::Digest;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::{Backend, MAX_MESSAGE, digest};
use crate::error::ImagesError;

/// Bytes of one write.
const CHUNK: usize = 1 << 20;

/// What is known of a blob that is there.
#[derive(Debug, Clone)]
pub(crate) struct BlobInfo {
    pub size: u64,
    pub labels: HashMap<String, String>,
}

impl Backend {
    fn content(&self) -> ContentClient<Channel> {
        ContentClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub async fn blob_info(&self, digest: &Digest) -> Result<Option<BlobInfo>, ImagesError> {
        let request = self.request(api::InfoRequest { digest: digest.to_string() });
        match self.content().info(request).await {
            Ok(answer) => {
                let info = answer.into_inner().info.unwrap_or_default();
                Ok(Some(BlobInfo { size: u64::try_from(info.size).unwrap_or(0), labels: info.labels }))
            }
            Err(status) if status.code() == tonic::Code::NotFound => Ok(None),
            Err(status) => Err(status.into()),
        }
    }

    /// Sets these labels and leaves the others.
    pub async fn label_blob(&self, digest: &Digest, labels: HashMap<String, String>) -> Result<(), ImagesError> {
        let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
        let info = api::Info { digest: digest.to_string(), labels, ..Default::default() };
        let request = api::UpdateRequest { info: Some(info), update_mask: Some(FieldMask { paths }) };
        self.content().update(self.request(request)).await?;
        Ok(())
    }

    /// A whole small blob.
    pub async fn read_blob(&self, digest: &Digest, limit: usize) -> Result<Bytes, ImagesError> {
        let mut pieces = self.stream_blob(digest).await?;
        let mut bytes = BytesMut::new();
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece?);
            if bytes.len() > limit {
                return Err(ImagesError::Store { what: "blob", reason: format!("{digest} is over {limit} bytes") });
            }
        }
        Ok(bytes.freeze())
    }

    /// A blob from its beginning.
    pub async fn stream_blob(
        &self,
        digest: &Digest,
    ) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes, ImagesError>> + Send>>, ImagesError> {
        let request = self.request(api::ReadContentRequest { digest: digest.to_string(), offset: 0, size: 0 });
        let digest = *digest;
        let pieces = self.content().read(request).await.map_err(|status| match status.code() {
            tonic::Code::NotFound => ImagesError::MissingBlob(digest),
            _ => status.into(),
        })?;
        Ok(Box::pin(pieces.into_inner().map(move |piece| match piece {
            Ok(piece) => Ok(piece.data),
            Err(status) if status.code() == tonic::Code::NotFound => Err(ImagesError::MissingBlob(digest)),
            Err(status) => Err(status.into()),
        })))
    }

    /// Opens an ingest, where it was left if it was. `None` if the blob is there already.
    pub async fn write_blob(
        &self,
        reference: &str,
        expected: Option<(Digest, u64)>,
    ) -> Result<Option<BlobWriter>, ImagesError> {
        let (sender, receiver) = mpsc::channel(2);
        let (digest, total) = expected.map_or((String::new(), 0), |(digest, size)| (digest.to_string(), signed(size)));
        let first = api::WriteContentRequest {
            action: api::WriteAction::Stat.into(),
            r#ref: reference.to_owned(),
            total,
            expected: digest.clone(),
            ..Default::default()
        };
        // Answers come to requests only: the first must be on its way before the stream's head is awaited.
        let _ = sender.send(first).await;
        let answers = match self.content().write(self.request(ReceiverStream::new(receiver))).await {
            Ok(answers) => answers.into_inner(),
            Err(status) if status.code() == tonic::Code::AlreadyExists => return Ok(None),
            Err(status) => return Err(status.into()),
        };
        let mut writer = BlobWriter {
            sender,
            answers,
            reference: reference.to_owned(),
            expected: digest,
            total,
            offset: 0,
            buffer: BytesMut::new(),
        };
        match writer.answer().await {
            Ok(answer) => writer.offset = u64::try_from(answer.offset).unwrap_or(0),
            Err(error) if error.already_exists() => return Ok(None),
            Err(error) => return Err(error),
        }
        Ok(Some(writer))
    }

    /// Throws away what an ingest has.
    pub async fn abort_write(&self, reference: &str) -> Result<(), ImagesError> {
        let request = self.request(api::AbortRequest { r#ref: reference.to_owned() });
        match self.content().abort(request).await {
            Err(status) if status.code() != tonic::Code::NotFound => Err(status.into()),
            _ => Ok(()),
        }
    }

    /// A small blob in one go.
    pub async fn put_blob(
        &self,
        reference: &str,
        bytes: &Bytes,
        labels: HashMap<String, String>,
    ) -> Result<Digest, ImagesError> {
        let digest = Digest::of(bytes);
        let writer = self.write_blob_in_turn(reference, Some((digest, bytes.len() as u64))).await?;
        let Some(mut writer) = writer else {
            self.label_blob(&digest, labels).await?;
            return Ok(digest);
        };
        let known = usize::try_from(writer.offset()).unwrap_or(usize::MAX).min(bytes.len());
        writer.write(&bytes[known..]).await?;
        match writer.commit(labels.clone()).await {
            Err(error) if error.already_exists() => self.label_blob(&digest, labels).await?,
            answer => drop(answer?),
        }
        Ok(digest)
    }
}

/// An open ingest. Dropped without commit it stays resumable under its reference.
pub(crate) struct BlobWriter {
    sender: mpsc::Sender<api::WriteContentRequest>,
    answers: Streaming<api::WriteContentResponse>,
    reference: String,
    expected: String,
    total: i64,
    offset: u64,
    buffer: BytesMut,
}

impl BlobWriter {
    /// Bytes that are stored; the next write goes there.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes bytes, and sends them when a message is full.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ImagesError> {
        self.buffer.extend_from_slice(bytes);
        while self.buffer.len() >= CHUNK {
            let chunk = self.buffer.split_to(CHUNK).freeze();
            self.send(chunk).await?;
        }
        Ok(())
    }

    /// The same where the digest was not known at first.
    pub async fn commit_as(mut self, digest: Digest, labels: HashMap<String, String>) -> Result<Digest, ImagesError> {
        self.expected = digest.to_string();
        self.commit(labels).await
    }

    /// Sends the rest and makes the blob. containerd compares size and digest with what was announced.
    pub async fn commit(mut self, labels: HashMap<String, String>) -> Result<Digest, ImagesError> {
        let rest = self.buffer.split().freeze();
        if !rest.is_empty() {
            self.send(rest).await?;
        }
        let request = api::WriteContentRequest {
            action: api::WriteAction::Commit.into(),
            r#ref: self.reference.clone(),
            total: signed(self.offset),
            expected: self.expected.clone(),
            offset: signed(self.offset),
            data: Bytes::new(),
            labels,
        };
        self.exchange(request).await.and_then(|answer| digest(&answer.digest))
    }

    async fn send(&mut self, chunk: Bytes) -> Result<(), ImagesError> {
        let length = chunk.len() as u64;
        let request = api::WriteContentRequest {
            action: api::WriteAction::Write.into(),
            r#ref: self.reference.clone(),
            total: self.total,
            expected: self.expected.clone(),
            offset: signed(self.offset),
            data: chunk,
            labels: HashMap::new(),
        };
        self.exchange(request).await?;
        self.offset += length;
        Ok(())
    }

    async fn exchange(&mut self, request: api::WriteContentRequest) -> Result<api::WriteContentResponse, ImagesError> {
        // A closed channel means that the stream has ended: its answer says why.
        let _ = self.sender.send(request).await;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<api::WriteContentResponse, ImagesError> {
        let ended = || ImagesError::Store { what: "content", reason: "the write ended without an answer".to_owned() };
        self.answers.message().await?.ok_or_else(ended)
    }
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// The stream as one of I/O results, for who knows nothing of this crate's errors.
pub(crate) fn as_io(
    pieces: Pin<Box<dyn Stream<Item = Result<Bytes, ImagesError>> + Send>>,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    pieces.map(|piece| piece.map_err(io::Error::other))
}
