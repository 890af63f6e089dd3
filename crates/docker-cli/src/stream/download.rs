//! Bodies of answers as files and as something to read from.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine_client::{Body, Bytes};
use tokio::sync::mpsc;

use super::output_file::OutputFile;
use crate::context;
use crate::failure::Failure;

/// Chunks that wait to be read.
const QUEUE: usize = 8;

/// Copies a body to standard output.
pub async fn to_stdout(mut body: Body) -> Result<(), Failure> {
    while let Some(bytes) = body.chunk().await? {
        context::write_all(&bytes)?;
    }
    Ok(())
}

/// Copies a body into a file, which is there once the body is complete.
pub async fn to_file(mut body: Body, mut file: OutputFile) -> Result<(), Failure> {
    while let Some(bytes) = body.chunk().await? {
        file.write_all(&bytes)?;
    }
    Ok(file.commit()?)
}

/// A body for blocking code on another thread, counting what was read.
pub struct BodyReader {
    chunks: mpsc::Receiver<Result<Bytes, String>>,
    current: Bytes,
    count: Arc<AtomicU64>,
}

impl BodyReader {
    /// Starts to read ahead, a few chunks at most.
    pub fn start(mut body: Body, count: Arc<AtomicU64>) -> Self {
        let (sender, chunks) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            loop {
                let chunk = match body.chunk().await {
                    Ok(None) => return,
                    Ok(Some(bytes)) => Ok(bytes),
                    Err(error) => Err(error.to_string()),
                };
                let is_last = chunk.is_err();
                if sender.send(chunk).await.is_err() || is_last {
                    return;
                }
            }
        });
        Self { chunks, current: Bytes::new(), count }
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() {
            match self.chunks.blocking_recv() {
                None => return Ok(0),
                Some(chunk) => self.current = chunk.map_err(io::Error::other)?,
            }
        }
        let take = self.current.len().min(buffer.len());
        buffer[..take].copy_from_slice(&self.current.split_to(take));
        self.count.fetch_add(take as u64, Ordering::Relaxed);
        Ok(take)
    }
}
