//! Blobs in and out without the streams.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use containerd_api::services::content::v1::{
    AbortRequest, Info, InfoRequest, ListContentRequest, ReadContentRequest, WriteAction, WriteContentRequest,
    WriteContentResponse,
};
use errors::{ErrorKind, Kind};
use futures_util::StreamExt;
use ids::Digest;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::StreamReader;
use tonic::Streaming;

use crate::{Client, Error};

/// Bytes in one message; far below every containerd's limit of 4 MB.
const CHUNK_BYTES: usize = 1024 * 1024;
/// How long a write under a reference waits for one before it that has not been noticed to be gone.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How often an abort is tried again.
const ABORT_TRIES: u32 = 5;
const LOCK_POLL: Duration = Duration::from_millis(50);

/// A blob's bytes as they arrive.
pub type BlobReader = Pin<Box<dyn AsyncRead + Send>>;

/// What is to be written.
#[derive(Debug, Clone, Default)]
pub struct WriteBlob {
    /// Names the write: the same name goes on where an interrupted one ended.
    pub reference: String,
    /// 0 if not known.
    pub total: u64,
    pub expected: Option<Digest>,
}

/// An open write. Dropped without commit, what was written stays and can be resumed.
pub struct BlobWriter {
    requests: mpsc::Sender<WriteContentRequest>,
    answers: Streaming<WriteContentResponse>,
    write: WriteBlob,
    offset: u64,
}

impl Client {
    pub async fn blob_info(&self, digest: &Digest) -> Result<Info, Error> {
        let request = InfoRequest { digest: digest.to_string() };
        let answer = self.content().info(request).await?.into_inner();
        answer.info.ok_or(Error::Ended { what: "content information" })
    }

    /// Every blob that matches the filters.
    pub async fn list_blobs(&self, filters: Vec<String>) -> Result<Vec<Info>, Error> {
        let mut stream = self.content().list(ListContentRequest { filters }).await?.into_inner();
        let mut infos = Vec::new();
        while let Some(part) = stream.message().await? {
            infos.extend(part.info);
        }
        Ok(infos)
    }

    /// A whole blob, if it has at most `limit` bytes and they are those of its digest.
    pub async fn read_blob(&self, digest: &Digest, limit: usize) -> Result<Vec<u8>, Error> {
        let request = ReadContentRequest { digest: digest.to_string(), offset: 0, size: 0 };
        let mut stream = self.content().read(request).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(part) = stream.message().await? {
            if bytes.len() + part.data.len() > limit {
                return Err(Error::TooLarge { digest: digest.to_string(), limit });
            }
            bytes.extend_from_slice(&part.data);
        }
        if Digest::of(&bytes) != *digest {
            let message = format!("content {digest}: the bytes have another digest");
            return Err(Error::Status { kind: ErrorKind::DataLoss, message });
        }
        Ok(bytes)
    }

    /// Reads a blob from `offset` to its end. The bytes are not verified.
    pub async fn open_blob(&self, digest: &Digest, offset: u64) -> Result<BlobReader, Error> {
        let offset = i64::try_from(offset).map_err(|_| Error::Ended { what: "content" })?;
        let request = ReadContentRequest { digest: digest.to_string(), offset, size: 0 };
        let stream = self.content().read(request).await?.into_inner();
        let parts =
            stream.map(|part| part.map(|part| part.data).map_err(|status| io::Error::other(Error::from(status))));
        Ok(Box::pin(StreamReader::new(parts)))
    }

    /// Opens a write. `AlreadyExists` when the namespace has the expected blob.
    pub async fn write_blob(&self, write: WriteBlob) -> Result<BlobWriter, Error> {
        let deadline = tokio::time::Instant::now() + LOCK_WAIT;
        loop {
            match self.try_write_blob(write.clone()).await {
                Err(error) if is_locked(&error) && tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(LOCK_POLL).await;
                }
                answer => return answer,
            }
        }
    }

    /// Writes bytes that are at hand, with labels; it is no error when they are there already.
    pub async fn write_bytes(
        &self,
        reference: &str,
        bytes: impl Into<Bytes>,
        labels: HashMap<String, String>,
    ) -> Result<Digest, Error> {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        let write = WriteBlob { reference: reference.to_owned(), total: bytes.len() as u64, expected: Some(digest) };
        let written = async {
            let mut writer = self.write_blob(write).await?;
            let offset = usize::try_from(writer.offset()).unwrap_or(usize::MAX).min(bytes.len());
            writer.write(bytes.slice(offset..)).await?;
            writer.commit(labels).await
        };
        match written.await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(digest),
            answer => answer,
        }
    }

    /// Removes what an interrupted write left; one that is not there is no error.
    pub async fn abort_blob(&self, reference: &str) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            let answer = self.content().abort(AbortRequest { r#ref: reference.to_owned() }).await;
            match answer.map_err(Error::from) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                // A dropped writer is closed by containerd in its own time, and puts a file into the folder then.
                Err(error) if error.kind() == ErrorKind::Internal && tries < ABORT_TRIES => tries += 1,
                answer => return answer.map(drop),
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }

    async fn try_write_blob(&self, write: WriteBlob) -> Result<BlobWriter, Error> {
        let (requests, queue) = mpsc::channel(1);
        let first = request(&write, WriteAction::Stat);
        requests.send(first).await.map_err(|_| Error::Ended { what: "a write" })?;
        let answers = self.content().write(ReceiverStream::new(queue)).await?.into_inner();
        let mut writer = BlobWriter { requests, answers, write, offset: 0 };
        writer.offset = offset_of(&writer.answer().await?);
        Ok(writer)
    }
}

impl BlobWriter {
    /// Bytes that containerd has: a resumed write begins here, and at the end for a blob of another namespace.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Appends; returns when containerd has it.
    pub async fn write(&mut self, mut data: Bytes) -> Result<(), Error> {
        while !data.is_empty() {
            let chunk = data.split_to(data.len().min(CHUNK_BYTES));
            let expected = self.offset + chunk.len() as u64;
            let mut next = request(&self.write, WriteAction::Write);
            next.offset = i64::try_from(self.offset).unwrap_or(i64::MAX);
            next.data = chunk;
            let answer = self.exchange(next).await?;
            self.offset = offset_of(&answer);
            if self.offset != expected {
                let message = format!("containerd has {} bytes of the write, expected {expected}", self.offset);
                return Err(Error::Status { kind: ErrorKind::DataLoss, message });
            }
        }
        Ok(())
    }

    /// Begins anew at the start, for a source that cannot be continued.
    pub async fn restart(&mut self) -> Result<(), Error> {
        if self.offset > 0 {
            // containerd truncates to the offset of a write, data or not.
            let answer = self.exchange(request(&self.write, WriteAction::Write)).await?;
            self.offset = offset_of(&answer);
        }
        Ok(())
    }

    /// Publishes what was written, under the expected digest if there is one.
    pub async fn commit(mut self, labels: HashMap<String, String>) -> Result<Digest, Error> {
        let mut last = request(&self.write, WriteAction::Commit);
        last.total = i64::try_from(self.offset).unwrap_or(i64::MAX);
        last.offset = last.total;
        last.labels = labels;
        let answer = self.exchange(last).await?;
        answer.digest.parse().map_err(|_| Error::Ended { what: "a commit" })
    }

    /// Ends the write without a commit and returns when containerd has let go of it.
    pub async fn close(self) -> Result<(), Error> {
        let Self { requests, mut answers, .. } = self;
        drop(requests);
        while answers.message().await?.is_some() {}
        Ok(())
    }

    async fn exchange(&mut self, next: WriteContentRequest) -> Result<WriteContentResponse, Error> {
        if self.requests.send(next).await.is_err() {
            // The call is over: its status says why.
            self.answer().await?;
            return Err(Error::Ended { what: "a write" });
        }
        self.answer().await
    }

    async fn answer(&mut self) -> Result<WriteContentResponse, Error> {
        self.answers.message().await?.ok_or(Error::Ended { what: "a write" })
    }
}

fn request(write: &WriteBlob, action: WriteAction) -> WriteContentRequest {
    WriteContentRequest {
        action: action.into(),
        r#ref: write.reference.clone(),
        total: i64::try_from(write.total).unwrap_or(0),
        expected: write.expected.map(|digest| digest.to_string()).unwrap_or_default(),
        ..WriteContentRequest::default()
    }
}

fn offset_of(answer: &WriteContentResponse) -> u64 {
    u64::try_from(answer.offset).unwrap_or(0)
}

fn is_locked(error: &Error) -> bool {
    error.kind() == ErrorKind::Unavailable && error.to_string().contains("locked")
}
