//! Blobs in folders that are lent, by containerd's content service: a cache that the builder reads and writes. A folder is
//! an OCI layout (image-spec, image-layout.md).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use containerd_api::services::content::v1::content_server::Content;
use containerd_api::services::content::v1::{
    AbortRequest, DeleteContentRequest, Info, InfoRequest, InfoResponse, ListContentRequest, ListContentResponse,
    ListStatusesRequest, ListStatusesResponse, ReadContentRequest, ReadContentResponse, StatusRequest, StatusResponse,
    UpdateRequest, UpdateResponse, WriteAction, WriteContentRequest, WriteContentResponse,
};
use futures_util::Stream;
use ids::{Digest, Hasher};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

/// Says which folder is meant.
const STORE: &str = "buildkit-attachable-store-id";
const PIECE: usize = 512 << 10;
const QUEUE: usize = 4;

/// Folders by the names that the builder has for them.
pub(crate) struct Contents(pub BTreeMap<String, PathBuf>);

impl Contents {
    fn folder(&self, metadata: &MetadataMap) -> Result<PathBuf, Status> {
        let name = metadata.get(STORE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let missing = || Status::not_found(format!("there is no folder {name:?}"));
        self.0.get(name).cloned().ok_or_else(missing)
    }
}

/// A blob's place; a digest names nothing else.
fn place(folder: &Path, digest: &str) -> Result<(PathBuf, Digest), Status> {
    let digest: Digest = digest.parse().map_err(|_| Status::invalid_argument(format!("{digest:?} is no digest")))?;
    Ok((folder.join("blobs").join(digest.algorithm()).join(digest.hex()), digest))
}

fn failed(action: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Status {
    let told = format!("cannot {action} {}", path.display());
    move |error| match error.kind() {
        std::io::ErrorKind::NotFound => Status::not_found(format!("{told}: not found")),
        _ => Status::internal(format!("{told}: {error}")),
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Content for Contents {
    type ListStream = Answers<ListContentResponse>;
    type ReadStream = Answers<ReadContentResponse>;
    type WriteStream = Answers<WriteContentResponse>;

    async fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let folder = self.folder(request.metadata())?;
        let (path, digest) = place(&folder, &request.into_inner().digest)?;
        let size = fs::metadata(&path).map_err(failed("look at", &path))?.len();
        let info = Info { digest: digest.to_string(), size: number(size), ..Info::default() };
        Ok(Response::new(InfoResponse { info: Some(info) }))
    }

    async fn read(&self, request: Request<ReadContentRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let folder = self.folder(request.metadata())?;
        let wanted = request.into_inner();
        let (path, _) = place(&folder, &wanted.digest)?;
        let mut file = File::open(&path).map_err(failed("read", &path))?;
        let from = u64::try_from(wanted.offset).unwrap_or(0);
        file.seek(SeekFrom::Start(from)).map_err(failed("read", &path))?;
        let length = u64::try_from(wanted.size).ok().filter(|size| *size > 0).unwrap_or(u64::MAX);
        let (sender, pieces) = mpsc::channel(QUEUE);
        tokio::task::spawn_blocking(move || {
            let (mut file, mut buffer, mut offset) = (file.take(length), vec![0; PIECE], from);
            loop {
                let piece = match file.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(length) => {
                        let data = Bytes::copy_from_slice(&buffer[..length]);
                        let at = number(offset);
                        offset += length as u64;
                        Ok(ReadContentResponse { offset: at, data })
                    }
                    Err(error) => Err(failed("read", &path)(error)),
                };
                let is_last = piece.is_err();
                if sender.blocking_send(piece).is_err() || is_last {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(pieces))))
    }

    async fn write(
        &self,
        request: Request<Streaming<WriteContentRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        let folder = self.folder(request.metadata())?;
        let mut incoming = request.into_inner();
        let (sender, answers) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut writing = Writing::new(folder);
            while let Ok(Some(message)) = incoming.message().await {
                let taken = tokio::task::spawn_blocking(move || {
                    let answer = writing.take(&message);
                    (writing, answer)
                });
                let Ok((same, answer)) = taken.await else { return };
                writing = same;
                let is_last = answer.is_err();
                if sender.send(answer).await.is_err() || is_last {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn update(&self, _: Request<UpdateRequest>) -> Result<Response<UpdateResponse>, Status> {
        Err(only_blobs())
    }

    async fn list(&self, _: Request<ListContentRequest>) -> Result<Response<Self::ListStream>, Status> {
        Err(only_blobs())
    }

    async fn delete(&self, _: Request<DeleteContentRequest>) -> Result<Response<()>, Status> {
        Err(only_blobs())
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Err(only_blobs())
    }

    async fn list_statuses(&self, _: Request<ListStatusesRequest>) -> Result<Response<ListStatusesResponse>, Status> {
        Err(only_blobs())
    }

    async fn abort(&self, _: Request<AbortRequest>) -> Result<Response<()>, Status> {
        Err(only_blobs())
    }
}

fn only_blobs() -> Status {
    Status::unimplemented("the folder's blobs are read and written, and nothing else")
}

fn number(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// One blob on its way into a folder: a file without its name until it is whole.
struct Writing {
    folder: PathBuf,
    expected: String,
    file: Option<Partial>,
    hasher: Hasher,
    offset: u64,
}

impl Writing {
    fn new(folder: PathBuf) -> Self {
        Self { folder, expected: String::new(), file: None, hasher: Hasher::new(), offset: 0 }
    }

    fn take(&mut self, message: &WriteContentRequest) -> Result<WriteContentResponse, Status> {
        if !message.expected.is_empty() {
            self.expected.clone_from(&message.expected);
            let (path, _) = place(&self.folder, &self.expected)?;
            if path.exists() {
                return Err(Status::already_exists(format!("content {}", self.expected)));
            }
        }
        if message.action() != WriteAction::Stat && !message.data.is_empty() {
            self.write(message)?;
        }
        if message.action() == WriteAction::Commit {
            self.commit(message.total)?;
        }
        let (action, offset, total) = (message.action, number(self.offset), message.total);
        Ok(WriteContentResponse {
            action,
            offset,
            total,
            digest: self.expected.clone(),
            ..WriteContentResponse::default()
        })
    }

    fn write(&mut self, message: &WriteContentRequest) -> Result<(), Status> {
        if u64::try_from(message.offset) != Ok(self.offset) {
            return Err(Status::out_of_range(format!("a piece for {} comes at {}", message.offset, self.offset)));
        }
        let failed = failed("write to", &self.folder);
        let file = match self.file.take() {
            Some(file) => Ok(file),
            None => Partial::new(&self.folder),
        };
        let written = file.and_then(|mut partial| partial.file.write_all(&message.data).map(|()| partial));
        self.file = Some(written.map_err(failed)?);
        self.hasher.update(&message.data);
        self.offset += message.data.len() as u64;
        Ok(())
    }

    fn commit(&mut self, total: i64) -> Result<(), Status> {
        let found = std::mem::replace(&mut self.hasher, Hasher::new()).finish();
        let expected = if self.expected.is_empty() { found.to_string() } else { self.expected.clone() };
        if expected != found.to_string() || total > 0 && total != number(self.offset) {
            return Err(Status::failed_precondition(format!("unexpected commit digest {found}, expected {expected}")));
        }
        let (path, _) = place(&self.folder, &expected)?;
        let failed = failed("write", &path);
        let file = match self.file.take() {
            Some(file) => Ok(file),
            None => Partial::new(&self.folder),
        };
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and(file).and_then(|partial| fs::rename(&partial.path, &path)).map_err(failed)?;
        self.expected = expected;
        Ok(())
    }
}

/// A file that has its name not yet; dropped, it is gone.
struct Partial {
    path: PathBuf,
    file: File,
}

impl Partial {
    fn new(folder: &Path) -> std::io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(folder)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".ingest-{}-{number}", std::process::id()));
        Ok(Self { file: File::options().write(true).create_new(true).open(&path)?, path })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It has its name by now, or there is nobody who could be told.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(action: WriteAction, data: &'static [u8], offset: i64, expected: &str) -> WriteContentRequest {
        let (data, expected) = (Bytes::from_static(data), expected.to_owned());
        WriteContentRequest { action: action.into(), data, offset, expected, ..WriteContentRequest::default() }
    }

    #[test]
    fn a_blob_is_there_when_it_is_whole_and_right() {
        let home = tempfile::tempdir().unwrap();
        let digest = Digest::of("onetwo").to_string();
        let mut writing = Writing::new(home.path().to_owned());
        writing.take(&message(WriteAction::Stat, b"", 0, &digest)).unwrap();
        writing.take(&message(WriteAction::Write, b"one", 0, "")).unwrap();
        assert!(writing.take(&message(WriteAction::Write, b"x", 9, "")).is_err());
        writing.take(&message(WriteAction::Commit, b"two", 3, "")).unwrap();
        let (path, _) = place(home.path(), &digest).unwrap();
        assert_eq!(fs::read(path).unwrap(), b"onetwo");
        let again = Writing::new(home.path().to_owned()).take(&message(WriteAction::Stat, b"", 0, &digest));
        assert_eq!(again.unwrap_err().code(), tonic::Code::AlreadyExists);
        let mut wrong = Writing::new(home.path().to_owned());
        let other = Digest::of("other").to_string();
        wrong.take(&message(WriteAction::Write, b"x", 0, &other)).unwrap();
        assert!(wrong.take(&message(WriteAction::Commit, b"", 1, "")).is_err());
        drop(wrong);
        let left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["blobs"]);
    }

    #[test]
    fn digests_name_blobs_and_nothing_else() {
        for hostile in ["", "sha256:../../etc/passwd", "../x", "sha256:zz"] {
            assert!(place(Path::new("/f"), hostile).is_err(), "{hostile}");
        }
    }
}
