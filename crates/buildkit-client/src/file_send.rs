//! `FileSend.DiffCopy`: results that the builder sends, one file or a folder.
//!
//! The method is declared with messages of bytes, and folders travel over it as packets: only whoever gave the place knows
//! which. So messages are taken as they are here, and read by what the place is.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use buildkit_api::filesync::BytesMessage;
use buildkit_api::fsutil::Packet;
use buildkit_api::fsutil::packet::PacketType;
use buildkit_api::prost::Message;
use bytes::{Buf, BufMut, Bytes};
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{Service, http};
use tonic::metadata::MetadataMap;
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};

use crate::lending::Target;
use crate::receiving::Receiving;

/// By which a builder names the exporter that a result is of.
const EXPORTER: &str = "buildkit-attachable-exporter-id";
/// Messages that came and are not written yet.
const QUEUE: usize = 16;

/// Places for results, by their exporters; each is filled once.
#[derive(Clone)]
pub(crate) struct Results(Arc<Mutex<BTreeMap<String, Target>>>);

impl Results {
    pub fn new(targets: BTreeMap<String, Target>) -> Self {
        Self(Arc::new(Mutex::new(targets)))
    }

    /// A builder that names none means the only one there is.
    fn take(&self, metadata: &MetadataMap) -> Result<Target, Status> {
        let mut targets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = metadata.get(EXPORTER).and_then(|value| value.to_str().ok());
        let taken = match named {
            Some(name) => targets.remove(name),
            None => targets.pop_first().map(|(_, target)| target),
        };
        taken.ok_or_else(|| Status::not_found("there is no place for such a result"))
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

impl StreamingService<Bytes> for Results {
    type Response = Bytes;
    type ResponseStream = Answers;
    type Future = BoxFuture<'static, Result<Response<Answers>, Status>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let results = self.clone();
        Box::pin(async move {
            let target = results.take(request.metadata())?;
            let incoming = request.into_inner();
            match target {
                Target::Folder(path) => Ok(Response::new(folder(incoming, path))),
                Target::File(file) => {
                    write(incoming, file).await?;
                    let nothing: Answers = Box::pin(futures_util::stream::empty());
                    Ok(Response::new(nothing))
                }
            }
        })
    }
}

/// Answers when everything is written.
async fn write(mut incoming: Streaming<Bytes>, mut file: Box<dyn Write + Send>) -> Result<(), Status> {
    let (sender, mut pieces) = mpsc::channel::<Bytes>(QUEUE);
    let writing = tokio::task::spawn_blocking(move || {
        while let Some(piece) = pieces.blocking_recv() {
            file.write_all(&piece)?;
        }
        file.flush()
    });
    let mut broken = None;
    while let Some(message) = incoming.next().await {
        let piece = message.and_then(|bytes| BytesMessage::decode(bytes).map_err(wrong));
        match piece {
            Ok(piece) => {
                if sender.send(piece.data).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                broken = Some(error);
                break;
            }
        }
    }
    drop(sender);
    let written = writing.await.map_err(|error| Status::internal(error.to_string()))?;
    written.map_err(|error| Status::internal(format!("failed to write the result: {error}")))?;
    broken.map_or(Ok(()), Err)
}

fn wrong(error: buildkit_api::prost::DecodeError) -> Status {
    Status::invalid_argument(error.to_string())
}

/// Takes packets and answers them, as long as they come.
fn folder(mut incoming: Streaming<Bytes>, path: PathBuf) -> Answers {
    let (sender, mut packets) = mpsc::channel::<Packet>(QUEUE);
    let (replies, answers) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        while let Some(Ok(bytes)) = incoming.next().await {
            let Ok(packet) = Packet::decode(bytes) else { return };
            if sender.send(packet).await.is_err() {
                return;
            }
        }
    });
    tokio::task::spawn_blocking(move || {
        let done = Receiving::new(path).and_then(|mut receiving| {
            while !receiving.is_over() {
                let Some(packet) = packets.blocking_recv() else { return Ok(()) };
                let answers = receiving.take(packet)?;
                if receiving.is_over() {
                    return receiving.finish();
                }
                for reply in answers {
                    // A builder that has gone is noticed where it is read from.
                    let _ = replies.blocking_send(Ok(reply.encode_to_vec().into()));
                }
            }
            Ok(())
        });
        if let Err(error) = done {
            let data = error.to_string().into_bytes().into();
            let told = Packet { r#type: PacketType::PacketErr.into(), data, ..Packet::default() };
            let _ = replies.blocking_send(Ok(told.encode_to_vec().into()));
        }
    });
    Box::pin(ReceiverStream::new(answers))
}

/// The service, for a server.
#[derive(Clone)]
pub(crate) struct FileSendServer(pub Results);

impl NamedService for FileSendServer {
    const NAME: &'static str = "moby.filesync.v1.FileSend";
}

impl Service<http::Request<Body>> for FileSendServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let results = self.0.clone();
        Box::pin(async move { Ok(Grpc::new(AsTheyAre).streaming(results, request).await) })
    }
}

/// Messages as they are.
#[derive(Debug, Clone, Copy, Default)]
struct AsTheyAre;

impl Codec for AsTheyAre {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for AsTheyAre {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for AsTheyAre {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
