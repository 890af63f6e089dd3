//! Layers between code that blocks and code that waits.

use std::io::{self, BufReader, Write};

use archive::{Entry, EntryKind, Limits, Pieces, TarReader, TarWriter};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use crate::ports::LayerStream;

/// Pieces on their way.
const QUEUE: usize = 4;
const PIECE: usize = 256 << 10;

/// Runs `make` on a thread that may block; an error of it is the layer's last item.
pub(crate) fn make<F>(make: F) -> LayerStream
where
    F: FnOnce(&mut Pieces) -> io::Result<()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(QUEUE);
    // It ends by itself: with the layer, or when nobody takes the pieces.
    tokio::task::spawn_blocking(move || {
        let pieces = sender.clone();
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody takes the layer");
        let mut output = Pieces::new(move |piece| pieces.blocking_send(Ok(piece.into())).map_err(gone));
        if let Err(error) = make(&mut output).and_then(|()| output.flush()) {
            // The reader may have gone, which is then the error's cause.
            let _ = sender.blocking_send(Err(error));
        }
    });
    stream(receiver)
}

/// The same layer with no file younger than `epoch` (seconds since 1970), and without these places where nothing is in
/// them.
pub(crate) fn rewritten(mut layer: LayerStream, epoch: Option<i64>, places: Vec<String>) -> LayerStream {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        while let Some(piece) = layer.next().await {
            if sender.send(piece).await.is_err() {
                break;
            }
        }
    });
    make(move |out| {
        let source = crate::context::incoming(receiver);
        let mut reader = TarReader::new(BufReader::with_capacity(PIECE, source), Limits::default());
        let mut writer = TarWriter::new(out);
        let told = |error: archive::ArchiveError| io::Error::other(errors::chain(&error));
        // Folders that may turn out to be empty, outermost first.
        let mut pending: Vec<Entry> = Vec::new();
        while let Some(mut entry) = reader.next_entry().map_err(told)? {
            if let Some(epoch) = epoch {
                entry.mtime = entry.mtime.min((epoch, 0));
            }
            let path = String::from_utf8_lossy(&entry.path).trim_matches('/').trim_start_matches("./").to_owned();
            pending.retain(|folder| is_below(&path, folder));
            if places.contains(&path) && (entry.kind == EntryKind::Directory || entry.size == 0) {
                if entry.kind == EntryKind::Directory {
                    pending.push(entry);
                }
                continue;
            }
            for folder in pending.drain(..) {
                writer.append(&folder, &mut io::empty()).map_err(told)?;
            }
            let mut content = reader.member();
            writer.append(&entry, &mut content).map_err(told)?;
        }
        writer.finish().map(drop).map_err(told)
    })
}

fn is_below(path: &str, folder: &Entry) -> bool {
    let folder = String::from_utf8_lossy(&folder.path);
    path.starts_with(&format!("{}/", folder.trim_matches('/').trim_start_matches("./")))
}

fn stream(receiver: mpsc::Receiver<io::Result<Bytes>>) -> LayerStream {
    Box::pin(futures_util::stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    }))
}
