//! `FileSync.DiffCopy`: the builder asks for a folder, this side sends names and what is asked for of them.

use std::collections::BTreeMap;
use std::pin::Pin;

use buildkit_api::filesync::file_sync_server::FileSync;
use buildkit_api::fsutil::Packet;
use buildkit_api::fsutil::packet::PacketType;
use futures_util::{Stream, StreamExt};
use percent_encoding::percent_decode_str;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::folder::{Folder, Sent};
use crate::selection::Selection;

/// Packets on their way.
const QUEUE: usize = 64;

pub(crate) struct Folders(pub BTreeMap<String, Folder>);

#[tonic::async_trait]
impl FileSync for Folders {
    type DiffCopyStream = Pin<Box<dyn Stream<Item = Result<Packet, Status>> + Send>>;

    async fn diff_copy(&self, request: Request<Streaming<Packet>>) -> Result<Response<Self::DiffCopyStream>, Status> {
        let sent = self.asked_for(request.metadata())?;
        let (sender, packets) = mpsc::channel(QUEUE);
        let (numbers, asked) = mpsc::channel(fsutil::MAX_ASKED);
        tokio::spawn(follow(request.into_inner(), numbers));
        let failures = sender.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = fsutil::send(&sent, asked, &sender) {
                let data = error.to_string().into_bytes().into();
                let told = Packet { r#type: PacketType::PacketErr.into(), data, ..Packet::default() };
                // A builder that has gone needs no reason.
                let _ = failures.blocking_send(told);
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(packets).map(Ok))))
    }
}

impl Folders {
    fn asked_for(&self, metadata: &MetadataMap) -> Result<Sent, Status> {
        let name = values(metadata, "dir-name").into_iter().next().unwrap_or_default();
        let missing = || Status::not_found(format!("no access allowed to dir {name:?}"));
        let folder = self.0.get(&name).ok_or_else(missing)?.clone();
        let mut include = values(metadata, "include-patterns");
        include.extend(folder.follow(&values(metadata, "followpaths")));
        let selection = Selection::new(&include, &values(metadata, "exclude-patterns"));
        Ok(Sent { folder, selection: selection.map_err(Status::invalid_argument)? })
    }
}

/// All of a name; what is not ASCII comes percent-encoded, and says so.
fn values(metadata: &MetadataMap, name: &str) -> Vec<String> {
    let is_encoded = metadata.get(format!("{name}-encoded")).is_some_and(|value| value.as_bytes() == b"1");
    let text = |value: &tonic::metadata::AsciiMetadataValue| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        match is_encoded {
            true => percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned(),
            false => text,
        }
    };
    metadata.get_all(name).iter().map(text).collect()
}

/// Passes on the numbers of wanted files, until the builder has what it wants.
async fn follow(mut incoming: Streaming<Packet>, numbers: mpsc::Sender<u32>) {
    while let Ok(Some(packet)) = incoming.message().await {
        match packet.r#type() {
            PacketType::PacketReq => {
                if numbers.send(packet.id).await.is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_come_plain_or_encoded() {
        let mut metadata = MetadataMap::new();
        metadata.append("exclude-patterns", "a b".parse().unwrap());
        metadata.append("exclude-patterns", "*.log".parse().unwrap());
        assert_eq!(values(&metadata, "exclude-patterns"), ["a b", "*.log"]);
        metadata.insert("followpaths", "caf%C3%A9+%2B".parse().unwrap());
        metadata.insert("followpaths-encoded", "1".parse().unwrap());
        assert_eq!(values(&metadata, "followpaths"), ["café +"]);
        assert!(values(&metadata, "include-patterns").is_empty());
    }

    #[test]
    fn only_what_is_lent_can_be_asked_for() {
        let folders = Folders([("context".to_owned(), Folder::Memory(Vec::new()))].into());
        let mut metadata = MetadataMap::new();
        metadata.insert("dir-name", "context".parse().unwrap());
        assert!(folders.asked_for(&metadata).is_ok());
        metadata.insert("dir-name", "/etc".parse().unwrap());
        assert_eq!(folders.asked_for(&metadata).err().unwrap().message(), "no access allowed to dir \"/etc\"");
    }
}
