//! A connection with many calls in flight. Its loss is seen at once, by every call and by [`Client::closed`].

use super::read_message;
use crate::client::request;
use crate::{Error, Status, frame};
use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// Calls that wait for their turn to be sent; a caller beyond waits itself.
const SEND_QUEUE: usize = 64;

type Answer = Result<Vec<u8>, Error>;

/// A connection to a server. Clones share it; the last one closes it.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    outgoing: mpsc::Sender<Vec<u8>>,
    calls: Arc<Calls>,
    closed: watch::Receiver<bool>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Debug)]
struct Calls {
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    next_stream: u32,
    open: bool,
    waiting: HashMap<u32, oneshot::Sender<Answer>>,
}

impl Client {
    /// Connects to a Unix socket.
    pub async fn connect(path: &Path) -> Result<Self, Error> {
        let socket = UnixStream::connect(path)
            .await
            .map_err(|source| Error::Connect { path: path.display().to_string(), source })?;
        Ok(Self::from_socket(socket))
    }

    /// Speaks on a connected socket.
    pub fn from_socket(socket: UnixStream) -> Self {
        let (read, write) = socket.into_split();
        let (outgoing, queue) = mpsc::channel(SEND_QUEUE);
        let (closing, closed) = watch::channel(false);
        let table = Table { next_stream: 1, open: true, waiting: HashMap::new() };
        let calls = Arc::new(Calls { table: Mutex::new(table) });
        let closing = Arc::new(closing);
        let receive = tokio::spawn(receive(read, calls.clone(), closing.clone()));
        let send = tokio::spawn(send(write, queue, calls.clone(), closing));
        Self { shared: Arc::new(Shared { outgoing, calls, closed, tasks: [receive, send] }) }
    }

    /// Calls a method with an encoded message and waits for the encoded answer.
    ///
    /// Without a timeout it waits as long as the connection lives. A call whose future is dropped is forgotten.
    pub async fn call(
        &self,
        service: &str,
        method: &str,
        payload: Vec<u8>,
        metadata: &[(&str, &str)],
        timeout: Option<Duration>,
    ) -> Result<Vec<u8>, Error> {
        let request = request(service, method, payload, metadata, timeout);
        let exchange = self.exchange(request);
        match timeout {
            Some(timeout) => tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(Error::TimedOut)),
            None => exchange.await,
        }
    }

    /// Resolves when the connection is lost, at once if it already is.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut closed = self.shared.closed.clone();
        async move {
            // An error means that the sender is gone, and with it the connection.
            let _ = closed.wait_for(|closed| *closed).await;
        }
    }

    pub fn is_closed(&self) -> bool {
        *self.shared.closed.borrow()
    }

    async fn exchange(&self, request: crate::Request) -> Answer {
        // The place in the queue comes first: stream numbers have to arrive in rising order, so number and place are
        // taken together without waiting in between.
        let place = self.shared.outgoing.reserve().await.map_err(|_| Error::Closed)?;
        let (guard, answer) = {
            let mut table = self.shared.calls.lock();
            if !table.open || table.next_stream > u32::MAX - 2 {
                return Err(Error::Closed);
            }
            let stream = table.next_stream;
            let bytes = frame::encode_request(stream, &request).map_err(Error::TooLong)?;
            table.next_stream += 2;
            let (sender, answer) = oneshot::channel();
            table.waiting.insert(stream, sender);
            place.send(bytes);
            (Forget { calls: &self.shared.calls, stream }, answer)
        };
        let result = answer.await.unwrap_or(Err(Error::Closed));
        drop(guard);
        result
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Removes a call from the table when its caller is no longer interested.
struct Forget<'a> {
    calls: &'a Calls,
    stream: u32,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.calls.lock().waiting.remove(&self.stream);
    }
}

impl Calls {
    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, stream: u32, answer: Answer) {
        if let Some(waiting) = self.lock().waiting.remove(&stream) {
            // A caller that gave up at this moment is not there to be told.
            let _ = waiting.send(answer);
        }
    }

    /// Nothing more will be answered: every caller learns it now.
    fn close(&self) {
        let mut table = self.lock();
        table.open = false;
        table.waiting.clear();
    }
}

async fn receive(read: OwnedReadHalf, calls: Arc<Calls>, closing: Arc<watch::Sender<bool>>) {
    let mut socket = BufReader::new(read);
    while let Ok((header, body)) = read_message(&mut socket).await {
        if header.kind != frame::TYPE_RESPONSE {
            continue;
        }
        let answer: Answer = match body {
            None => Err(Error::TooLong(header.length as usize)),
            Some(body) => match frame::decode_response(&body) {
                Ok(result) => result.map_err(Error::Status),
                Err(error) => Err(error.into()),
            },
        };
        calls.answer(header.stream, answer);
    }
    calls.close();
    closing.send_replace(true);
}

async fn send(
    mut socket: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Vec<u8>>,
    calls: Arc<Calls>,
    closing: Arc<watch::Sender<bool>>,
) {
    while let Some(bytes) = queue.recv().await {
        if socket.write_all(&bytes).await.is_err() {
            break;
        }
    }
    calls.close();
    closing.send_replace(true);
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}
