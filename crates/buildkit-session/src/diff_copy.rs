//! A folder of the client's, brought here: `FileSync.DiffCopy`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use buildkit_api::filesync::file_sync_client::FileSyncClient;
use buildkit_api::fsutil::Packet;
use buildkit_api::fsutil::packet::PacketType;
use buildkit_api::prost::Message;
use fsutil::MAX_COMING;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::{Request, Streaming};

use crate::context_store::{Contents, ContextStore, Index};
use crate::entry::Entry;
use crate::error::SessionError;
use crate::receiving::{Received, Receiving};
use crate::session::Session;

const METHOD: &str = "/moby.filesync.v1.FileSync/DiffCopy";
/// Packets that came and are not written yet.
const QUEUE: usize = 16;
/// How long the end of a transfer is waited for when everything has come.
const END_LIMIT: Duration = Duration::from_secs(1);

/// Which folder, and what of it.
#[derive(Debug, Clone, Default)]
pub struct SyncRequest {
    /// The client's name for it: `context`, `dockerfile`.
    pub name: String,
    /// Only these, and what they lead to; empty: everything.
    pub follow_paths: Vec<String>,
    /// In the words of an ignore file.
    pub exclude: Vec<String>,
    /// Files that have not changed since the last time do not come again.
    pub incremental: bool,
}

/// A folder that came.
#[derive(Debug, Clone)]
pub struct Synced {
    /// Sorted, part by part; each folder before what is in it.
    pub entries: Vec<Entry>,
    pub contents: Contents,
}

impl Session {
    /// Brings a folder. `progress` counts the bytes that travel.
    pub async fn sync(
        &self,
        store: &ContextStore,
        wanted: SyncRequest,
        progress: &AtomicU64,
    ) -> Result<Synced, SessionError> {
        self.require(METHOD)?;
        // One client's folder, looked at in one way.
        let key = (wanted.incremental && !self.shared_key().is_empty())
            .then(|| format!("{}\0{}\0{:?}", self.shared_key(), wanted.name, wanted.follow_paths));
        let contents = store.lend().await;
        let (out, outgoing) = mpsc::channel(MAX_COMING * 2);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        put_options(request.metadata_mut(), &wanted)?;
        let mut client = FileSyncClient::new(self.channel());
        let incoming = self.in_time(client.diff_copy(request)).await?.into_inner();
        let received = self.receive(incoming, out, contents.clone(), key, progress).await?;
        store.note_added(received.bytes);
        Ok(Synced { entries: received.entries, contents })
    }

    async fn receive(
        &self,
        mut incoming: Streaming<Packet>,
        out: mpsc::Sender<Packet>,
        contents: Contents,
        key: Option<String>,
        progress: &AtomicU64,
    ) -> Result<Received, SessionError> {
        let (sender, packets) = mpsc::channel(QUEUE);
        let working = tokio::task::spawn_blocking(move || write(packets, &out, contents, key.as_deref()));
        let mut broken = None;
        loop {
            let message = tokio::select! {
                message = self.in_time(incoming.message()) => message,
                () = sender.closed() => break,
            };
            match message {
                Ok(Some(packet)) => {
                    progress.fetch_add(packet.encoded_len() as u64, Ordering::Relaxed);
                    // Whoever writes has a reason to stop, and tells it below.
                    if sender.send(packet).await.is_err() {
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
        }
        drop(sender);
        let written = working.await.map_err(std::io::Error::other);
        let written = written.map_err(SessionError::file("keep a build context"))?;
        if matches!(written, Ok(Some(_))) {
            // A client that is not told of its end calls the transfer broken.
            let _ = tokio::time::timeout(END_LIMIT, incoming.message()).await;
        }
        match (written, broken) {
            // The end of the stream may be lost with the session; everything was there.
            (Ok(Some(received)), _) => Ok(received),
            (Err(error), _) => Err(error),
            (Ok(None), Some(error)) => Err(error),
            (Ok(None), None) => Err(SessionError::hostile("the transfer ended in its midst")),
        }
    }
}

/// Takes packets until the transfer is over; `None`: they ended before.
fn write(
    mut packets: mpsc::Receiver<Packet>,
    out: &mpsc::Sender<Packet>,
    contents: Contents,
    key: Option<&str>,
) -> Result<Option<Received>, SessionError> {
    let known = key.map(|key| contents.index(key)).unwrap_or_default();
    let mut receiving = Receiving::new(contents.clone(), known);
    while !receiving.is_over() {
        let Some(packet) = packets.blocking_recv() else { return Ok(None) };
        match receiving.take(packet) {
            Ok(replies) => {
                for reply in replies {
                    // A client that has gone is noticed where it is read from.
                    let _ = out.blocking_send(reply);
                }
            }
            Err(error) => {
                let data = error.to_string().into_bytes().into();
                let told = Packet { r#type: PacketType::PacketErr.into(), data, ..Packet::default() };
                let _ = out.try_send(told);
                return Err(error);
            }
        }
    }
    let received = receiving.finish();
    if let Some(key) = key {
        let put = contents.put_index(key, &received.index, received.is_new);
        put.map_err(SessionError::file("note a build context"))?;
    }
    Ok(Some(Received { index: Index::new(), ..received }))
}

fn put_options(metadata: &mut MetadataMap, wanted: &SyncRequest) -> Result<(), SessionError> {
    let lists = [("followpaths", &wanted.follow_paths), ("exclude-patterns", &wanted.exclude)];
    let name = std::slice::from_ref(&wanted.name);
    for (key, values) in lists.iter().map(|(key, values)| (*key, values.as_slice())).chain([("dir-name", name)]) {
        for value in values {
            let wrong = |_| SessionError::hostile(format!("{value:?} cannot be told to a client"));
            metadata.append(key, AsciiMetadataValue::try_from(value.as_bytes()).map_err(wrong)?);
        }
    }
    Ok(())
}
