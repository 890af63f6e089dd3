//! Archives between code that blocks and code that waits: a few pieces on their way, no more.

use std::io::{self, Write};

use archive::{Incoming, Pieces};
use bytes::Bytes;
use tokio::sync::mpsc;

/// Pieces on their way.
const QUEUE: usize = 4;

/// An archive as it is made; dropped, the making ends.
pub struct TarStream {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
}

/// An archive as it comes in: what is sent is read by the operation, an error breaks it off.
pub type ArchiveSource = mpsc::Receiver<io::Result<Bytes>>;

/// The other end of an [`ArchiveSource`].
pub type ArchiveSender = mpsc::Sender<io::Result<Bytes>>;

/// For who brings an archive.
pub fn archive_channel() -> (ArchiveSender, ArchiveSource) {
    mpsc::channel(QUEUE)
}

impl TarStream {
    /// The next piece; `None` when the archive is whole.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        self.pieces.recv().await
    }

    /// Runs `make` on a thread that may block; an error of it is the stream's last item.
    pub(crate) fn spawn<F>(make: F) -> Self
    where
        F: FnOnce(&mut Pieces) -> io::Result<()> + Send + 'static,
    {
        let (sender, pieces) = mpsc::channel(QUEUE);
        // It ends by itself: with the archive, or when nobody takes the pieces.
        tokio::task::spawn_blocking(move || {
            let pieces = sender.clone();
            let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody takes the archive");
            let mut output = Pieces::new(move |piece| pieces.blocking_send(Ok(piece.into())).map_err(gone));
            let made = make(&mut output).and_then(|()| output.flush());
            if let Err(error) = made {
                tracing::debug!(%error, "an archive broke off");
                // The reader may have gone, which is then the error's cause.
                let _ = sender.blocking_send(Err(error));
            }
        });
        Self { pieces }
    }
}

/// What comes in, as a reader for code that blocks.
pub(crate) fn incoming(mut source: ArchiveSource) -> Incoming<Bytes> {
    Incoming::new(move || source.blocking_recv())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// More than a piece has.
    const PIECE: usize = 256 << 10;

    #[tokio::test]
    async fn what_is_written_comes_out_and_an_error_is_the_last_item() {
        let mut stream = TarStream::spawn(|out| {
            out.write_all(&vec![7; PIECE + 1])?;
            Err(io::Error::other("torn"))
        });
        assert_eq!(stream.next().await.unwrap().unwrap().len(), PIECE + 1);
        assert_eq!(stream.next().await.unwrap().unwrap_err().to_string(), "torn");
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn what_is_sent_is_read_to_its_end() {
        let (sender, source) = archive_channel();
        let read = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            incoming(source).read_to_string(&mut text).map(|_| text)
        });
        for piece in ["ab", "", "c"] {
            sender.send(Ok(Bytes::from(piece))).await.unwrap();
        }
        drop(sender);
        assert_eq!(read.await.unwrap().unwrap(), "abc");
    }
}
