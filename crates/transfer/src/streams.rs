//! Streams that clients open and then name in a request: messages both ways, until one side has enough.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use containerd_api::Any;
use tokio::sync::mpsc;

use crate::error::TransferError;

/// Streams that are open and not yet taken by a request.
const MAX_WAITING: usize = 1024;
const MAX_NAME_BYTES: usize = 1024;
/// Messages that wait for their reader, each way.
const QUEUE: usize = 4;

/// By namespace and name; cheap to clone.
#[derive(Clone, Default)]
pub struct Streams(Arc<Mutex<HashMap<Key, Stream>>>);

type Key = (String, String);

/// The client's connection broke: what it sent is not all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

/// The end of a stream that a transfer has. Dropped, the client's end is told so.
pub(crate) struct Stream {
    /// Ends when the client has sent all.
    pub incoming: mpsc::Receiver<Result<Any, Broken>>,
    pub outgoing: mpsc::Sender<Any>,
}

/// The end that the client's connection has.
pub struct Remote {
    /// Closed: nobody reads any more.
    pub incoming: mpsc::Sender<Result<Any, Broken>>,
    /// Ends when the transfer is done with the stream.
    pub outgoing: mpsc::Receiver<Any>,
    /// While this is held the stream can be taken.
    pub entry: Entry,
}

/// Removes a stream that nobody has taken when the connection ends.
pub struct Entry {
    streams: Streams,
    key: Key,
}

impl Streams {
    /// Enters a stream that a client has opened.
    pub fn enter(&self, namespace: &str, name: &str) -> Result<Remote, TransferError> {
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(TransferError::InvalidArgument("a stream needs a name of at most 1024 bytes".to_owned()));
        }
        let key = (namespace.to_owned(), name.to_owned());
        let (to_transfer, incoming) = mpsc::channel(QUEUE);
        let (outgoing, to_client) = mpsc::channel(QUEUE);
        let mut waiting = self.lock();
        if waiting.contains_key(&key) {
            return Err(TransferError::StreamExists(name.to_owned()));
        }
        if waiting.len() >= MAX_WAITING {
            return Err(TransferError::TooManyStreams);
        }
        waiting.insert(key.clone(), Stream { incoming, outgoing });
        let entry = Entry { streams: self.clone(), key };
        Ok(Remote { incoming: to_transfer, outgoing: to_client, entry })
    }

    /// Takes a stream; it is the caller's alone from now on.
    pub(crate) fn take(&self, namespace: &str, name: &str) -> Result<Stream, TransferError> {
        let key = (namespace.to_owned(), name.to_owned());
        self.lock().remove(&key).ok_or_else(|| TransferError::NotFound(format!("stream {name:?}")))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Stream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.streams.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_taken_once_and_goes_with_its_connection() {
        let streams = Streams::default();
        let remote = streams.enter("a", "s").expect("enter");
        assert!(matches!(streams.enter("a", "s"), Err(TransferError::StreamExists(_))));
        assert!(streams.take("b", "s").is_err(), "another namespace's");
        let stream = streams.take("a", "s").expect("take");
        assert!(streams.take("a", "s").is_err());
        drop(stream);
        assert!(remote.incoming.is_closed());
        let other = streams.enter("a", "t").expect("enter");
        drop(other);
        assert!(streams.take("a", "t").is_err());
    }
}
