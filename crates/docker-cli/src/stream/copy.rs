//! An attached session: standard input in, output out, until one of them ends it.

use std::io::Write;

use engine_client::{Duplex, ReadHalf, WriteHalf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::demux::{Demux, Stream};
use super::escape::Escape;
use super::input;
use crate::context;
use crate::failure::Failure;
use crate::stream::DemuxError;
use crate::terminal::RawMode;

/// Bytes of output that are read at a time.
const CHUNK: usize = 64 << 10;

/// What of the user's is connected.
#[derive(Debug, Clone, Default)]
pub struct Wiring {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// A terminal inside: one raw stream, raw mode outside.
    pub tty: bool,
    /// Keys that leave; watched for on a terminal only.
    pub detach_keys: Vec<u8>,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The container's output ended.
    Output,
    /// The user left with the detach keys.
    Detached,
}

/// Copies both ways until the output ends. The end of standard input is passed on and ends nothing.
pub async fn run(duplex: Duplex, wiring: &Wiring) -> Result<End, Failure> {
    let raw = if wiring.tty && wiring.stdin { RawMode::enter()? } else { None };
    let (read, write) = duplex.split();
    let has_output = wiring.stdout || wiring.stderr;
    let end = {
        let output = copy_output(read, wiring);
        let input = copy_input(write, wiring);
        tokio::pin!(output, input);
        tokio::select! {
            result = &mut output => result.map(|()| End::Output),
            result = &mut input => match result? {
                End::Detached => Ok(End::Detached),
                // Without output there is nothing more to wait for than the other side's end.
                End::Output if has_output || wiring.stdin => output.await.map(|()| End::Output),
                End::Output => Ok(End::Output),
            },
        }
    };
    drop(raw);
    end
}

async fn copy_output(mut read: ReadHalf, wiring: &Wiring) -> Result<(), Failure> {
    let mut buffer = vec![0; CHUNK];
    let mut demux = Demux::default();
    loop {
        let count = match read.read(&mut buffer).await {
            // A daemon that is killed resets the connection: the output has ended, the status says more.
            Ok(0) | Err(_) => return Ok(()),
            Ok(count) => count,
        };
        if wiring.tty {
            context::write_all(&buffer[..count])?;
        } else {
            demux.feed(&buffer[..count], |stream, bytes| match stream {
                Stream::Stdout if wiring.stdout => context::write_all(bytes),
                Stream::Stderr if wiring.stderr => Ok(std::io::stderr().lock().write_all(bytes)?),
                _ => Ok(()),
            })?;
        }
    }
}

async fn copy_input(mut write: WriteHalf, wiring: &Wiring) -> Result<End, Failure> {
    if !wiring.stdin {
        // The write side stays open: a daemon may take its end for the client's.
        std::future::pending::<()>().await;
    }
    let mut chunks: mpsc::Receiver<Vec<u8>> = input::start();
    let mut escape = (wiring.tty && !wiring.detach_keys.is_empty()).then(|| Escape::new(wiring.detach_keys.clone()));
    while let Some(chunk) = chunks.recv().await {
        let (bytes, leaves) = match &mut escape {
            Some(escape) => escape.filter(&chunk),
            None => (chunk, false),
        };
        // The container may have closed its input; what it still says matters more.
        if write.write_all(&bytes).await.is_err() {
            std::future::pending::<()>().await;
        }
        if leaves {
            return Ok(End::Detached);
        }
    }
    let _ = write.shutdown().await;
    Ok(End::Output)
}

impl From<DemuxError> for Failure {
    fn from(error: DemuxError) -> Self {
        Self::Text(error.to_string())
    }
}
