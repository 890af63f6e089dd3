//! A result's files on their way to the client.

use std::io::Read;

use archive::EntryKind;
use builder::{Builder, ImageFiles, LayerStream};
use buildkit_session::Session;
use bytes::Bytes;
use fsutil::{FolderSource, Outgoing, OutgoingName};
use futures_util::StreamExt;
use serde_json::json;
use tokio::sync::mpsc;

use super::Split;
use crate::built::{Built, Part, Said};
use crate::error::SolveError;

const SECOND: i64 = 1_000_000_000;
/// Pieces of an archive on their way.
const QUEUE: usize = 4;
const STATEMENT: &str = "https://in-toto.io/Statement/v0.1";

/// The files of each platform, with what is said of them.
pub(super) async fn of(builder: &Builder, built: &Built, split: Split) -> Result<Vec<ImageFiles>, SolveError> {
    let has_folders = match split {
        Split::Several => built.has_several(),
        Split::Always => true,
        Split::Never if built.parts.len() > 1 => {
            return Err(SolveError::unsupported("files of several platforms in one folder (platform-split=false)"));
        }
        Split::Never => false,
    };
    let mut parts: Vec<&Part> = built.parts.iter().collect();
    parts.sort_by_key(|part| folder(&part.platform));
    let mut all = Vec::new();
    for part in parts {
        let mut files = builder.files(&part.made).await?;
        for said in part.said.iter().filter(|said| !said.inline_only) {
            files.add(said.filename, statement(said));
        }
        all.push(if has_folders { files.below(&folder(&part.platform)) } else { files });
    }
    Ok(all)
}

/// `linux_arm64`.
fn folder(platform: &str) -> String {
    platform.replace('/', "_")
}

/// Of files there is no manifest that it could be about.
fn statement(said: &Said) -> Bytes {
    let statement = json!({
        "_type": STATEMENT,
        "predicateType": said.statement.predicate_type,
        "subject": [],
        "predicate": said.statement.predicate,
    });
    serde_json::to_vec_pretty(&statement).unwrap_or_default().into()
}

pub(super) async fn send(session: &Session, exporter: &str, mut archive: LayerStream) -> Result<(), SolveError> {
    let (sender, pieces) = mpsc::channel(QUEUE);
    let feed = async move {
        while let Some(piece) = archive.next().await {
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    };
    let ((), sent) = tokio::join!(feed, session.send_file(exporter, pieces));
    Ok(sent?)
}

/// Files on their way to a client's folder.
pub(super) struct Folder(pub Vec<ImageFiles>);

impl FolderSource for Folder {
    fn names(&self) -> Box<dyn Iterator<Item = std::io::Result<OutgoingName>> + '_> {
        let name = |file: builder::ImageFile| OutgoingName {
            kind: match file.kind {
                EntryKind::Directory => Outgoing::Folder,
                EntryKind::Symlink(target) => Outgoing::Link(String::from_utf8_lossy(&target).into_owned()),
                EntryKind::Fifo => Outgoing::Fifo,
                EntryKind::Character { major, minor } => Outgoing::CharacterDevice { major, minor },
                EntryKind::Block { major, minor } => Outgoing::BlockDevice { major, minor },
                EntryKind::File | EntryKind::HardLink(_) => Outgoing::File { size: file.size },
            },
            path: file.path,
            mode: file.mode,
            modified: file.mtime.saturating_mul(SECOND),
            attributes: Vec::new(),
        };
        let named = move |file: builder::ImageFile| match file.name() {
            Some(_) => Ok(name(file)),
            // fsutil's names are strings of protobuf's.
            None => Err(std::io::Error::other("a file's name is not UTF-8: an archive can have it (type=tar)")),
        };
        Box::new(self.0.iter().flat_map(ImageFiles::list).map(named))
    }

    fn open(&self, path: &str) -> std::io::Result<Box<dyn Read + '_>> {
        let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
        self.0.iter().find_map(|files| files.open(path).ok()).ok_or_else(missing)
    }
}
