//! The content service.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use containerd_api::services::content::v1::content_server::Content;
use containerd_api::services::content::v1::{
    AbortRequest, DeleteContentRequest, Info, InfoRequest, InfoResponse, ListContentRequest, ListContentResponse,
    ListStatusesRequest, ListStatusesResponse, ReadContentRequest, ReadContentResponse, StatusRequest, StatusResponse,
    UpdateRequest, UpdateResponse, WriteAction, WriteContentRequest, WriteContentResponse,
};
use containerd_api::{services::content::v1 as api, time};
use content::WriteRequest;
use futures_core::Stream;
use futures_util::stream;
use ids::Digest;
use supervisor::Scope;
use supervisor::contents::{Contents, Write};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::Services;
use crate::scope::{namespace, scope};
use crate::status::{invalid, status};

/// Blobs in one message of a list.
const LISTED: usize = 100;
/// Bytes in one message of a read; gRPC clients take 4 MiB at most unless told otherwise.
const CHUNK: u64 = 1024 * 1024;

pub struct ContentService(pub Services);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Content for ContentService {
    type ListStream = Answers<ListContentResponse>;
    type ReadStream = Answers<ReadContentResponse>;
    type WriteStream = Answers<WriteContentResponse>;

    async fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let namespace = namespace(&request)?;
        let digest = parse(&request.get_ref().digest)?;
        let found = self.0.contents.info(&namespace, &digest).map_err(status)?;
        Ok(Response::new(InfoResponse { info: Some(info(found)) }))
    }

    async fn update(&self, request: Request<UpdateRequest>) -> Result<Response<UpdateResponse>, Status> {
        let namespace = namespace(&request)?;
        let UpdateRequest { info: given, update_mask } = request.into_inner();
        let given = given.ok_or_else(|| invalid("no info given"))?;
        let digest = parse(&given.digest)?;
        let paths = update_mask.map(|mask| mask.paths).unwrap_or_default();
        let labels = given.labels.into_iter().collect();
        let updated = self.0.contents.update(&namespace, digest, labels, paths).await.map_err(status)?;
        Ok(Response::new(UpdateResponse { info: Some(info(updated)) }))
    }

    async fn list(&self, request: Request<ListContentRequest>) -> Result<Response<Self::ListStream>, Status> {
        let namespace = namespace(&request)?;
        let found = self.0.contents.list(&namespace, request.into_inner().filters).await.map_err(status)?;
        let mut infos = found.into_iter().map(info).peekable();
        let messages = std::iter::from_fn(move || {
            infos.peek()?;
            Some(Ok(ListContentResponse { info: infos.by_ref().take(LISTED).collect() }))
        });
        Ok(Response::new(Box::pin(stream::iter(messages))))
    }

    async fn delete(&self, request: Request<DeleteContentRequest>) -> Result<Response<()>, Status> {
        let namespace = namespace(&request)?;
        let digest = parse(&request.get_ref().digest)?;
        self.0.contents.delete(&namespace, digest).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn read(&self, request: Request<ReadContentRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let namespace = namespace(&request)?;
        let ReadContentRequest { digest, offset, size } = request.into_inner();
        let reader = self.0.contents.reader(&namespace, &parse(&digest)?).map_err(status)?;
        let start = u64::try_from(offset).unwrap_or(0);
        if start > reader.size() {
            return Err(Status::out_of_range(format!("read past object length {} bytes", reader.size())));
        }
        let left = reader.size() - start;
        let end = start + u64::try_from(size).ok().filter(|size| *size > 0).map_or(left, |size| size.min(left));
        let first = Chunk::read(&Arc::new(reader), start, end);
        let chunks = stream::try_unfold(first, move |chunk| async move {
            let Some(chunk) = chunk else { return Ok(None) };
            let Chunk { reader, position, reading } = chunk;
            let data = reading
                .await
                .map_err(|_| Status::internal("the read was given up"))?
                .map_err(|error| Status::data_loss(format!("cannot read the blob: {error}")))?;
            if data.is_empty() {
                return Err(Status::data_loss("the blob is shorter than it was"));
            }
            // The next one is read while this one is sent.
            let next = Chunk::read(&reader, position + data.len() as u64, end);
            let offset = i64::try_from(position).unwrap_or(i64::MAX);
            Ok(Some((ReadContentResponse { offset, data }, next)))
        });
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let namespace = namespace(&request)?;
        let found = self.0.contents.status(&namespace, request.into_inner().r#ref).await.map_err(status)?;
        Ok(Response::new(StatusResponse { status: Some(progress(&found)) }))
    }

    async fn list_statuses(
        &self,
        request: Request<ListStatusesRequest>,
    ) -> Result<Response<ListStatusesResponse>, Status> {
        let namespace = namespace(&request)?;
        let found = self.0.contents.statuses(&namespace, request.into_inner().filters).await.map_err(status)?;
        Ok(Response::new(ListStatusesResponse { statuses: found.iter().map(progress).collect() }))
    }

    async fn write(
        &self,
        request: Request<Streaming<WriteContentRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        let scope = scope(&request)?;
        let (contents, requests) = (self.0.contents.clone(), request.into_inner());
        let (answers, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            if let Err(failure) = serve_write(contents, scope, requests, &answers).await {
                // A client that has gone does not hear why; the write can be resumed.
                let _ = answers.send(Err(failure)).await;
            }
        });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver))))
    }

    async fn abort(&self, request: Request<AbortRequest>) -> Result<Response<()>, Status> {
        let namespace = namespace(&request)?;
        self.0.contents.abort(&namespace, request.into_inner().r#ref).await.map_err(status)?;
        Ok(Response::new(()))
    }
}

/// A part of a blob on its way from the disk, read by a thread that may block.
struct Chunk {
    reader: Arc<content::Reader>,
    position: u64,
    reading: JoinHandle<io::Result<Bytes>>,
}

impl Chunk {
    /// Begins to read from this position on; `None` at the end.
    fn read(reader: &Arc<content::Reader>, position: u64, end: u64) -> Option<Self> {
        let length = usize::try_from(CHUNK.min(end.checked_sub(position)?)).ok().filter(|length| *length > 0)?;
        let reader = Arc::clone(reader);
        let source = Arc::clone(&reader);
        let reading = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; length];
            let count = source.read_at(&mut buffer, position)?;
            buffer.truncate(count);
            Ok(Bytes::from(buffer))
        });
        Some(Self { reader, position, reading })
    }
}

/// One stream of a write: the first request opens it, each is answered, a commit ends it.
async fn serve_write(
    contents: Contents,
    scope: Scope,
    mut requests: Streaming<WriteContentRequest>,
    answers: &mpsc::Sender<Result<WriteContentResponse, Status>>,
) -> Result<(), Status> {
    let Some(mut request) = requests.message().await? else {
        return Err(invalid("the stream ended before its first message"));
    };
    if request.r#ref.is_empty() {
        return Err(invalid("first message must have a reference"));
    }
    let mut total = size(request.total)?;
    let mut expected = optional(&request.expected)?;
    let open = WriteRequest { reference: request.r#ref.clone(), total, expected, ..WriteRequest::default() };
    let mut write = contents.write(scope, open).await.map_err(status)?;
    loop {
        if let Some(digest) = optional(&request.expected)? {
            expected = Some(digest);
            if write.exists(&digest) {
                write.abort().await.map_err(status)?;
                return Err(Status::already_exists(format!("blob with expected digest {digest} exists")));
            }
        }
        if request.total > 0 {
            total = size(request.total)?;
        }
        let action = WriteAction::try_from(request.action).map_err(|_| invalid("unknown action of a write"))?;
        if action != WriteAction::Stat {
            let data = std::mem::take(&mut request.data);
            // A commit without data does not begin anew, whatever its offset is.
            if action == WriteAction::Write || !data.is_empty() {
                write = append(write, request.offset, data).await?;
            }
        }
        let mut answer = answer(&write, action, total);
        if action == WriteAction::Commit {
            let labels = std::mem::take(&mut request.labels).into_iter().collect();
            let wanted = (total > 0).then_some(total);
            answer.digest = write.commit(wanted, expected, labels).await.map_err(status)?.to_string();
            let _ = answers.send(Ok(answer)).await;
            return Ok(());
        }
        if answers.send(Ok(answer)).await.is_err() {
            return Ok(());
        }
        match requests.message().await? {
            Some(next) => request = next,
            None => return Ok(()),
        }
    }
}

/// Puts data at an offset: the current one, or 0 to begin anew.
async fn append(mut write: Write, offset: i64, data: Bytes) -> Result<Write, Status> {
    let current = write.status().offset;
    let offset = size(offset)?;
    if offset > 0 && offset != current {
        let message = format!("write @{offset} must occur at current offset {current}");
        return Err(Status::new(Code::OutOfRange, message));
    }
    let begin_anew = offset == 0 && current > 0;
    if data.is_empty() && !begin_anew {
        return Ok(write);
    }
    tokio::task::spawn_blocking(move || {
        write.write_at(begin_anew.then_some(0), &data)?;
        Ok(write)
    })
    .await
    .map_err(|_| Status::internal("the write was given up"))?
    .map_err(|error: supervisor::Error| status(error))
}

fn answer(write: &Write, action: WriteAction, total: u64) -> WriteContentResponse {
    let now = write.status();
    let mut answer = WriteContentResponse {
        action: action.into(),
        offset: i64::try_from(now.offset).unwrap_or(i64::MAX),
        ..WriteContentResponse::default()
    };
    if action == WriteAction::Stat {
        answer.started_at = Some(time::to_timestamp(now.started_at));
        answer.updated_at = Some(time::to_timestamp(now.updated_at));
        answer.total = i64::try_from(total).unwrap_or(i64::MAX);
    }
    if action != WriteAction::Commit {
        answer.digest = write.digest().to_string();
    }
    answer
}

fn parse(digest: &str) -> Result<Digest, Status> {
    digest.parse().map_err(|_| invalid(format!("{digest:?} failed validation")))
}

fn optional(digest: &str) -> Result<Option<Digest>, Status> {
    if digest.is_empty() { Ok(None) } else { parse(digest).map(Some) }
}

fn size(value: i64) -> Result<u64, Status> {
    u64::try_from(value).map_err(|_| invalid("a size or offset is negative"))
}

fn info(found: content::Info) -> Info {
    Info {
        digest: found.digest.to_string(),
        size: i64::try_from(found.size).unwrap_or(i64::MAX),
        created_at: Some(time::to_timestamp(found.created_at)),
        updated_at: Some(time::to_timestamp(found.updated_at)),
        labels: found.labels.into_iter().collect::<HashMap<_, _>>(),
    }
}

fn progress(found: &content::Status) -> api::Status {
    api::Status {
        started_at: Some(time::to_timestamp(found.started_at)),
        updated_at: Some(time::to_timestamp(found.updated_at)),
        r#ref: found.reference.clone(),
        offset: i64::try_from(found.offset).unwrap_or(i64::MAX),
        total: i64::try_from(found.total).unwrap_or(i64::MAX),
        expected: String::new(),
    }
}
