//! A build's result, sent to the client: one file, or a folder in fsutil's packets with the daemon as their sender.

use std::sync::Arc;

use buildkit_api::filesync::BytesMessage;
use buildkit_api::filesync::file_send_client::FileSendClient;
use buildkit_api::fsutil::Packet;
use buildkit_api::fsutil::packet::PacketType;
use bytes::Bytes;
use fsutil::{FolderSource, MAX_ASKED};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

use crate::error::SessionError;
use crate::session::Session;

const METHOD: &str = "/moby.filesync.v1.FileSend/DiffCopy";
/// Messages on their way to the client.
const QUEUE: usize = 16;
/// By which the client knows whose result comes.
const EXPORTER: &str = "buildkit-attachable-exporter-id";
/// A reason that the client gives.
const MAX_REASON: usize = 4096;

impl Session {
    /// Sends one file, the result of the exporter that the client knows by this name; an empty one names none.
    pub async fn send_file(
        &self,
        exporter: &str,
        mut pieces: mpsc::Receiver<std::io::Result<Bytes>>,
    ) -> Result<(), SessionError> {
        self.require(METHOD)?;
        let (sender, outgoing) = mpsc::channel(QUEUE);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        name_exporter(request.metadata_mut(), exporter)?;
        let feed = async move {
            while let Some(piece) = pieces.recv().await {
                let data = piece.map_err(SessionError::file("read the build's result"))?;
                if sender.send(BytesMessage { data }).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        // It answers when it has written everything: not even the head of its answer comes before.
        let mut client = FileSendClient::new(self.channel());
        let answer = async {
            let mut incoming = self.while_there(client.diff_copy(request)).await?.into_inner();
            while self.while_there(incoming.message()).await?.is_some() {}
            Ok(())
        };
        let (fed, answered) = tokio::join!(feed, answer);
        fed.and(answered)
    }

    /// Sends a folder; `exporter` is as above.
    pub async fn send_folder(&self, exporter: &str, folder: Arc<dyn FolderSource>) -> Result<(), SessionError> {
        self.require(METHOD)?;
        let (sender, outgoing) = mpsc::channel(QUEUE);
        let (numbers, asked) = mpsc::channel(MAX_ASKED);
        let working = tokio::task::spawn_blocking(move || fsutil::send(folder.as_ref(), asked, &sender));
        let mut request = Request::new(ReceiverStream::new(outgoing));
        name_exporter(request.metadata_mut(), exporter)?;
        // The head of its answer comes with the first file that it asks for.
        let followed = match self.while_there(open(self, request)).await {
            Ok(incoming) => self.follow(incoming.into_inner(), numbers).await,
            Err(error) => Err(error),
        };
        let sent = working.await.map_err(std::io::Error::other);
        let sent = sent.and_then(|sent| sent).map_err(SessionError::file("send the build's result"));
        followed.and(sent)
    }

    /// Passes on which files the client wants, until it has them all.
    async fn follow(&self, mut incoming: Streaming<Packet>, numbers: mpsc::Sender<u32>) -> Result<(), SessionError> {
        loop {
            let message = self.while_there(incoming.message()).await?.ok_or(SessionError::Over)?;
            match message.r#type() {
                // Who sends has a reason to stop, and tells it.
                PacketType::PacketReq => drop(numbers.send(message.id).await),
                PacketType::PacketFin => return Ok(()),
                PacketType::PacketErr => {
                    let reason = String::from_utf8_lossy(&message.data[..message.data.len().min(MAX_REASON)]);
                    return Err(SessionError::refused(
                        errors::ErrorKind::Internal,
                        format!("error from receiver: {reason}"),
                    ));
                }
                _ => return Err(SessionError::hostile("the receiver sends files")),
            }
        }
    }
}

fn name_exporter(metadata: &mut MetadataMap, exporter: &str) -> Result<(), SessionError> {
    if !exporter.is_empty() {
        let wrong = |_| SessionError::hostile(format!("{exporter:?} names no exporter"));
        metadata.insert(EXPORTER, AsciiMetadataValue::try_from(exporter).map_err(wrong)?);
    }
    Ok(())
}

/// The method as it is declared takes other messages than a folder's packets.
async fn open(
    session: &Session,
    request: Request<ReceiverStream<Packet>>,
) -> Result<tonic::Response<Streaming<Packet>>, tonic::Status> {
    let mut grpc = tonic::client::Grpc::new(session.channel());
    grpc.ready().await.map_err(|error| tonic::Status::from_error(Box::new(error)))?;
    let path = PathAndQuery::from_static(METHOD);
    grpc.streaming(request, path, ProstCodec::<Packet, Packet>::default()).await
}
