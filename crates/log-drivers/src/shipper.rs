//! One container's log on its way to its receiver.
//!
//! Batches are read behind the cursor, sent in order over one connection, and dropped when they have arrived, which is when
//! the cursor moves. A connection that fails takes nothing with it: what it had not confirmed is sent over the next.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use errors::{ErrorKind, Kind};
use logs::{Cursor, Format, Place, ReadOptions, Reader};
use tokio::sync::watch;

use crate::batch::Batch;
use crate::driver::Driver;
use crate::transport::{Connection, is_too_large};
use crate::watches::Watched;

/// Bytes on their way, beyond which nothing more is read.
const MAX_UNCONFIRMED: usize = 1 << 20;
/// Between two looks at what has arrived: the first, and the longest.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LONGEST_LOOK: Duration = Duration::from_millis(50);
/// Datagrams in a row; a receiver's buffer holds a few hundred.
const BURST: usize = 50;
const PAUSE: Duration = Duration::from_millis(1);
/// After an error of the disk.
const READ_RETRY: Duration = Duration::from_secs(5);

/// What a shipper is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The container runs: more will come.
    Follow,
    /// It does not: end when all has arrived.
    Drain,
    /// End now; the cursor says where to go on.
    Stop,
}

pub(crate) struct Shipper {
    pub container_id: String,
    pub driver: Driver,
    pub connection: Option<Connection>,
    pub log: PathBuf,
    pub cursor: Cursor,
    pub orders: watch::Receiver<Order>,
    pub watched: Watched,
}

/// What a shipper has in memory.
struct Voyage {
    connection: Option<(Connection, Instant)>,
    reader: Option<Reader>,
    /// Read and not known to have arrived, in order.
    batches: VecDeque<Batch>,
    /// How many of them were sent over this connection.
    sent: usize,
    /// The last message that was read.
    read: u64,
    failures: u32,
}

impl Shipper {
    /// Ends when it is told to, or when a container that does not run has nothing more to ship.
    pub async fn run(mut self) {
        let mut orders = self.orders.clone();
        tokio::select! {
            () = self.ship() => {}
            // An error means that nobody is left to give orders.
            _ = orders.wait_for(|order| *order == Order::Stop) => {}
        }
    }

    async fn ship(&mut self) {
        let mut voyage = Voyage {
            connection: self.connection.take().map(|connection| (connection, Instant::now())),
            reader: None,
            batches: VecDeque::new(),
            sent: 0,
            read: self.cursor.place().ordinal,
            failures: 0,
        };
        loop {
            // Asked before the last look at the log: it is complete when this is said.
            let order = *self.orders.borrow_and_update();
            let mut has_more = false;
            if voyage.has_room(self.driver.message_limit()) {
                match self.read_batch(&mut voyage) {
                    Ok(more) => has_more = more,
                    Err(error) => {
                        let error = errors::chain(&error);
                        tracing::warn!(container = self.container_id, error, "cannot read a log to ship it");
                        voyage.reader = None;
                        tokio::time::sleep(READ_RETRY).await;
                        continue;
                    }
                }
            }
            if voyage.batches.is_empty() {
                if order != Order::Follow {
                    return;
                }
                tokio::select! {
                    () = self.watched.changed() => {}
                    _ = self.orders.changed() => {}
                }
            } else if let Err(error) = self.deliver(&mut voyage, has_more).await {
                self.fail(&mut voyage, &error).await;
            }
        }
    }

    /// Reads the next batch, if there is anything; whether there was.
    fn read_batch(&self, voyage: &mut Voyage) -> Result<bool, logs::ReadError> {
        let reader = match &mut voyage.reader {
            Some(reader) => reader,
            none => {
                let options =
                    ReadOptions { format: Format::Local, after: voyage.read, follow: true, ..ReadOptions::default() };
                match Reader::open(&self.log, options) {
                    Ok(reader) => none.insert(reader),
                    // It has not run yet.
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
        };
        let mut batch = Batch::default();
        let place = Place { epoch: self.cursor.place().epoch.clone(), ordinal: voyage.read };
        let limit = self.driver.message_limit();
        while !batch.is_full() && batch.messages < limit {
            let Some(entry) = reader.next_entry()? else { break };
            let expected = voyage.read + 1;
            if entry.ordinal > expected {
                let lost = entry.ordinal - expected;
                tracing::warn!(
                    container = self.container_id,
                    lost,
                    "messages were rotated away before they were shipped"
                );
            }
            if !self.driver.encode(&entry, &place, &mut batch) {
                let bytes = entry.bytes.len();
                tracing::warn!(container = self.container_id, bytes, "a message is too long for its receiver");
            }
            batch.messages += 1;
            voyage.read = entry.ordinal;
        }
        batch.last = voyage.read;
        let has_any = batch.messages > 0;
        if has_any {
            voyage.batches.push_back(batch);
        }
        Ok(has_any)
    }

    /// Sends what is to be sent, and takes what has arrived off the list. Waits for arrivals unless there is more to read.
    async fn deliver(&mut self, voyage: &mut Voyage, has_more: bool) -> io::Result<()> {
        let driver = &self.driver;
        let is_old = |since: Instant| driver.reconnect_every().is_some_and(|age| since.elapsed() >= age);
        if voyage.sent == 0 && voyage.connection.as_ref().is_some_and(|(c, since)| c.is_closed() || is_old(*since)) {
            voyage.connection = None;
        }
        let (connection, _) = match &mut voyage.connection {
            Some(connection) => connection,
            none => none.insert((driver.connect().await?, Instant::now())),
        };
        while let Some(batch) = voyage.batches.get(voyage.sent) {
            if connection.is_datagram() {
                send_datagrams(connection, batch, &self.container_id).await?;
            } else {
                driver.send(connection, batch).await?;
            }
            voyage.sent += 1;
        }
        let mut look = FIRST_LOOK;
        while !connection.has_arrived()? {
            if has_more {
                return Ok(());
            }
            tokio::time::sleep(look).await;
            look = (look * 2).min(LONGEST_LOOK);
        }
        if std::mem::take(&mut voyage.failures) > 0 {
            tracing::info!(container = self.container_id, "the receiver of a log is there again");
        }
        self.confirm(voyage);
        Ok(())
    }

    /// Everything on the list is done with.
    fn confirm(&mut self, voyage: &mut Voyage) {
        let Some(last) = voyage.batches.back().map(|batch| batch.last) else { return };
        voyage.batches.clear();
        voyage.sent = 0;
        if let Err(error) = self.cursor.save(last) {
            tracing::warn!(container = self.container_id, %error, "cannot save how far a log was shipped");
        }
    }

    async fn fail(&mut self, voyage: &mut Voyage, error: &io::Error) {
        voyage.connection = None;
        voyage.sent = 0;
        voyage.failures = voyage.failures.saturating_add(1);
        if voyage.failures == 1 {
            tracing::warn!(container = self.container_id, %error, "cannot ship a log; the receiver is tried again");
        }
        let retry = self.driver.retry();
        if retry.gives_up(voyage.failures) {
            let messages: usize = voyage.batches.iter().map(|batch| batch.messages).sum();
            tracing::warn!(container = self.container_id, messages, "messages were given up as the log options say");
            voyage.failures = 0;
            self.confirm(voyage);
            return;
        }
        tokio::time::sleep(retry.wait(voyage.failures)).await;
    }
}

impl Voyage {
    fn has_room(&self, messages: usize) -> bool {
        let bytes: usize = self.batches.iter().map(|batch| batch.bytes.len()).sum();
        bytes < MAX_UNCONFIRMED && self.batches.iter().map(|batch| batch.messages).sum::<usize>() < messages
    }
}

async fn send_datagrams(connection: &Connection, batch: &Batch, container_id: &str) -> io::Result<()> {
    for (number, datagram) in batch.datagrams().enumerate() {
        match connection.send(datagram).await {
            Ok(()) => {}
            Err(error) if is_too_large(&error) => {
                let bytes = datagram.len();
                tracing::warn!(container = container_id, bytes, "a message is too long for its receiver");
            }
            Err(error) => return Err(error),
        }
        if connection.is_lossy() && number % BURST == BURST - 1 {
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}
