//! Bodies that are made while they are sent.

use std::fs::File;
use std::io;
use std::thread::JoinHandle;

use crate::failure::Failure;

/// A body under way, and the thread that writes it.
#[derive(Debug)]
pub struct Upload {
    body: Option<tokio::fs::File>,
    writer: JoinHandle<Result<(), String>>,
}

impl Upload {
    /// Starts a thread that writes into the body; what it answers is why the body is not complete.
    pub fn start(write: impl FnOnce(File) -> Result<(), String> + Send + 'static) -> io::Result<Self> {
        let (read, written) = io::pipe()?;
        let target = File::from(std::os::fd::OwnedFd::from(written));
        let body = tokio::fs::File::from_std(File::from(std::os::fd::OwnedFd::from(read)));
        Ok(Self { body: Some(body), writer: std::thread::spawn(move || write(target)) })
    }

    /// What is sent; there is one.
    pub fn body(&mut self) -> Option<tokio::fs::File> {
        self.body.take()
    }

    /// Waits for the writer: its reason comes before the daemon's words about a body that broke off.
    pub async fn end<T>(self, answer: Result<T, Failure>) -> Result<T, Failure> {
        // A daemon that has refused reads no further: the writer ends with its reader.
        drop(self.body);
        let written = tokio::task::spawn_blocking(move || self.writer.join()).await;
        match (written, answer) {
            (Ok(Ok(Err(reason))), Ok(_)) => Err(Failure::Text(reason)),
            (Ok(Ok(Err(reason))), Err(refused)) if !is_cut_off(&reason) => {
                drop(refused);
                Err(Failure::Text(reason))
            }
            (Ok(Ok(_)), answer) => answer,
            _ => Err(Failure::text("the archive could not be made")),
        }
    }
}

/// Whether the writer ended because nobody read any more.
fn is_cut_off(reason: &str) -> bool {
    reason.to_lowercase().contains("broken pipe")
}
