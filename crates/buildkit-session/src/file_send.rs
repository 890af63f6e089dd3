//! A build's result, sent to the client: one file, or a folder in fsutil's packets with the daemon as their sender.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use buildkit_api::filesync::BytesMessage;
use buildkit_api::filesync::file_send_client::FileSendClient;
use buildkit_api::fsutil::packet::PacketType;
use buildkit_api::fsutil::{Packet, Stat};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue};
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

use crate::error::SessionError;
use crate::go_mode;
use crate::session::Session;

const METHOD: &str = "/moby.filesync.v1.FileSend/DiffCopy";
/// Messages on their way to the client.
const QUEUE: usize = 16;
const PIECE: usize = 32 << 10;
/// Files that the client asks for and that are not sent yet; it waits beyond that.
const MAX_ASKED: usize = 128;
/// A reason that the client gives.
const MAX_REASON: usize = 4096;

/// What a name of a folder is, on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    File { size: u64 },
    Folder,
    Link(String),
    Fifo,
    CharacterDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingName {
    pub path: String,
    pub kind: Outgoing,
    /// Permissions, in Unix's bits.
    pub mode: u32,
    /// Seconds since 1970.
    pub modified: i64,
}

/// A folder to send. Blocks.
pub trait FolderSource: Send + Sync + 'static {
    /// Sorted part by part; each folder before what is in it.
    fn names(&self) -> Box<dyn Iterator<Item = OutgoingName> + '_>;
    fn open(&self, path: &str) -> std::io::Result<Box<dyn Read + '_>>;
}

impl Session {
    /// Sends one file. `headers` tell the client what it is.
    pub async fn send_file(
        &self,
        headers: &BTreeMap<String, String>,
        mut pieces: mpsc::Receiver<std::io::Result<Bytes>>,
    ) -> Result<(), SessionError> {
        self.require(METHOD)?;
        let (sender, outgoing) = mpsc::channel(QUEUE);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        for (key, value) in headers {
            let wrong = || SessionError::hostile(format!("{key:?} cannot be told to a client"));
            let name = AsciiMetadataKey::from_bytes(format!("exporter-md-{key}").as_bytes()).map_err(|_| wrong())?;
            let value = AsciiMetadataValue::try_from(value.as_str()).map_err(|_| wrong())?;
            request.metadata_mut().insert(name, value);
        }
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

    /// Sends a folder.
    pub async fn send_folder(&self, folder: Arc<dyn FolderSource>) -> Result<(), SessionError> {
        self.require(METHOD)?;
        let (sender, outgoing) = mpsc::channel(QUEUE);
        let (numbers, asked) = mpsc::channel(MAX_ASKED);
        let working = tokio::task::spawn_blocking(move || send(folder.as_ref(), asked, &sender));
        // The head of its answer comes with the first file that it asks for.
        let followed = match self.while_there(open(self, ReceiverStream::new(outgoing))).await {
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

/// The method as it is declared takes other messages than a folder's packets.
async fn open(
    session: &Session,
    outgoing: ReceiverStream<Packet>,
) -> Result<tonic::Response<Streaming<Packet>>, tonic::Status> {
    let mut grpc = tonic::client::Grpc::new(session.channel());
    grpc.ready().await.map_err(|error| tonic::Status::from_error(Box::new(error)))?;
    let path = PathAndQuery::from_static(METHOD);
    grpc.streaming(Request::new(outgoing), path, ProstCodec::<Packet, Packet>::default()).await
}

/// All names, then the files that are asked for.
fn send(
    folder: &dyn FolderSource,
    mut asked: mpsc::Receiver<u32>,
    sender: &mpsc::Sender<Packet>,
) -> std::io::Result<()> {
    let gone = |_| std::io::Error::from(std::io::ErrorKind::BrokenPipe);
    let packet = |kind: PacketType| Packet { r#type: kind.into(), ..Packet::default() };
    let mut files = BTreeMap::new();
    for (number, name) in (0_u32..).zip(folder.names()) {
        if let Outgoing::File { .. } = name.kind {
            files.insert(number, name.path.clone());
        }
        let stat = Some(stat_of(name));
        sender.blocking_send(Packet { stat, ..packet(PacketType::PacketStat) }).map_err(gone)?;
    }
    sender.blocking_send(packet(PacketType::PacketStat)).map_err(gone)?;
    let mut buffer = vec![0; PIECE];
    while let Some(id) = asked.blocking_recv() {
        let missing = || std::io::Error::other(format!("the client asks for file {id}, which there is not"));
        let mut content = folder.open(&files.remove(&id).ok_or_else(missing)?)?;
        loop {
            let length = content.read(&mut buffer)?;
            let data = Bytes::copy_from_slice(&buffer[..length]);
            sender.blocking_send(Packet { id, data, ..packet(PacketType::PacketData) }).map_err(gone)?;
            if length == 0 {
                break;
            }
        }
    }
    sender.blocking_send(packet(PacketType::PacketFin)).map_err(gone)
}

fn stat_of(name: OutgoingName) -> Stat {
    let OutgoingName { path, kind, mode, modified } = name;
    let mut stat = Stat { path, mod_time: modified.saturating_mul(1_000_000_000), ..Stat::default() };
    let (kind, device) = match kind {
        Outgoing::File { size } => {
            stat.size = i64::try_from(size).unwrap_or(i64::MAX);
            (0, None)
        }
        Outgoing::Folder => (go_mode::FOLDER, None),
        Outgoing::Link(target) => {
            stat.linkname = target;
            (go_mode::SYMLINK, None)
        }
        Outgoing::Fifo => (go_mode::FIFO, None),
        Outgoing::CharacterDevice { major, minor } => (go_mode::DEVICE | go_mode::CHARACTER, Some((major, minor))),
        Outgoing::BlockDevice { major, minor } => (go_mode::DEVICE, Some((major, minor))),
    };
    if let Some((major, minor)) = device {
        (stat.devmajor, stat.devminor) = (major.into(), minor.into());
    }
    stat.mode = kind | go_mode::of_permissions(mode);
    stat
}
