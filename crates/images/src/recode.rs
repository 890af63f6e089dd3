//! Layers between their plain and their compressed form, streamed through a thread that may block.

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::pin::Pin;

use archive::{Compressor, Decompressed, Incoming, Limits, Pieces};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;
use ids::Digest;
use image_core::{Descriptor, media_type};
use tokio::sync::mpsc;

use crate::backend::{Backend, BlobWriter, Committed};
use crate::error::ImagesError;

/// Pieces on their way to and from the thread.
const QUEUE: usize = 4;
/// On a plain layer: the digest of its compressed form.
const COMPRESSED: &str = "com.longshore/compressed";

/// Bytes as they come in, from wherever.
pub type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Compresses a plain layer, once: the same layer always has the same compressed form.
pub(crate) async fn compress(backend: &Backend, plain: &Descriptor) -> Result<Descriptor, ImagesError> {
    let info = backend.blob_info(&plain.digest).await?.ok_or(ImagesError::MissingBlob(plain.digest))?;
    let media_type = media_type::compressed(&plain.media_type);
    if let Some(known) = info.labels.get(COMPRESSED).and_then(|text| text.parse::<Digest>().ok())
        && let Some(compressed) = backend.blob_info(&known).await?
    {
        return Ok(Descriptor::new(media_type, known, compressed.size));
    }
    let source = backend.lazy_blob(plain.digest);
    let digests = recode(backend, &format!("compress-{}", plain.digest), source, |input, output| {
        let mut compressor = Compressor::new(output);
        io::copy(input, &mut compressor)?;
        let (output, digests) = compressor.finish()?;
        output.flush()?;
        Ok((digests.compressed, digests))
    })
    .await?;
    if digests.plain != plain.digest {
        return Err(ImagesError::LayerDigest(plain.digest));
    }
    backend.label_blob(&plain.digest, [(COMPRESSED.to_owned(), digests.compressed.to_string())].into()).await?;
    Ok(Descriptor::new(media_type, digests.compressed, digests.compressed_size))
}

/// Stores an archive in plain form, whatever form it comes in.
pub(crate) async fn store_plain(backend: &Backend, key: &str, source: ByteStream) -> Result<Descriptor, ImagesError> {
    let (digest, size) = recode(backend, key, source, |input, output| {
        let mut plain = Decompressed::new(input, Limits::default().archive_bytes)?;
        loop {
            let piece = plain.fill_buf()?;
            if piece.is_empty() {
                break;
            }
            output.write_all(piece)?;
            let length = piece.len();
            plain.consume(length);
        }
        output.flush()?;
        let (digest, size) = plain.finish()?;
        Ok((digest, (digest, size)))
    })
    .await?;
    Ok(Descriptor::new(media_type::DOCKER_LAYER, digest, size))
}

/// Runs `work` between a stream and a new blob, whose digest it answers, with what else it has to say.
async fn recode<T: Send + 'static>(
    backend: &Backend,
    key: &str,
    mut source: ByteStream,
    work: impl FnOnce(&mut Incoming<Bytes>, &mut Pieces) -> io::Result<(Digest, T)> + Send + 'static,
) -> Result<T, ImagesError> {
    // What an attempt before has left cannot be continued: compression has a state.
    backend.abort_write(key).await?;
    let Some(mut writer) = backend.write_blob_in_turn(key, None).await? else {
        return Err(ImagesError::Store { what: "content", reason: format!("{key} is a blob already") });
    };
    let (to_work, received) = mpsc::channel(QUEUE);
    let (sent, mut from_work) = mpsc::channel(QUEUE);
    let work = tokio::task::spawn_blocking(move || {
        let mut input = incoming(received);
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody takes the bytes");
        let mut output = Pieces::new(move |piece| sent.blocking_send(Bytes::from(piece)).map_err(gone));
        work(&mut input, &mut output)
    });
    let feed = async move {
        while let Some(piece) = source.next().await {
            let broken = piece.is_err();
            // The thread ends early only with an error of its own.
            if to_work.send(piece).await.is_err() || broken {
                break;
            }
        }
        Ok(())
    };
    // With its end of the queue: a store that fails lets the thread know.
    let store = async move {
        while let Some(piece) = from_work.recv().await {
            writer.write(&piece).await?;
        }
        Ok::<BlobWriter, ImagesError>(writer)
    };
    let stored = tokio::try_join!(feed, store).map(|((), writer)| writer);
    let worked = work.await.map_err(|error| ImagesError::Input(io::Error::other(error)))?;
    let finished = match (stored, worked) {
        (Ok(writer), Ok((digest, answer))) => commit(writer, digest).await.map(|()| answer),
        (Err(error), _) => Err(error),
        (_, Err(error)) => Err(ImagesError::Input(error)),
    };
    if finished.is_err()
        && let Err(error) = backend.abort_write(key).await
    {
        tracing::warn!(key, %error, "half a blob not removed");
    }
    finished
}

async fn commit(writer: BlobWriter, digest: Digest) -> Result<(), ImagesError> {
    match writer.commit(HashMap::new()).await? {
        Committed::New(found) if found != digest => Err(ImagesError::LayerDigest(digest)),
        _ => Ok(()),
    }
}

/// What comes in, as a reader for code that blocks.
pub(crate) fn incoming(mut pieces: mpsc::Receiver<io::Result<Bytes>>) -> Incoming<Bytes> {
    Incoming::new(move || pieces.blocking_recv())
}
