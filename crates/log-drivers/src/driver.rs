//! A driver that ships a container's log: how to reach its receiver, and how a message looks there.

use std::io;
use std::time::Duration;

use logs::{Entry, Place};

use crate::batch::Batch;
use crate::fluentd::{Fluentd, acknowledged};
use crate::gelf::Gelf;
use crate::journald::Journald;
use crate::messages::unknown_driver;
use crate::retry::Retry;
use crate::syslog::Syslog;
use crate::transport::{Connection, Endpoint};
use crate::{Error, Info};

/// For an acknowledgement; then the chunk is sent again.
const ACK_LIMIT: Duration = Duration::from_secs(60);
/// The longest answer.
const MAX_ANSWER: usize = 512;

#[derive(Debug)]
pub(crate) enum Driver {
    Syslog(Syslog),
    Journald(Journald),
    Fluentd(Fluentd),
    Gelf(Gelf),
}

impl Driver {
    /// `None` for a driver that keeps its log here.
    pub fn new(name: &str, info: &Info) -> Result<Option<Self>, Error> {
        match name {
            "none" | "json-file" | "local" => Ok(None),
            "syslog" => Syslog::new(info).map(|driver| Some(Self::Syslog(driver))),
            "journald" => Journald::new(info).map(|driver| Some(Self::Journald(driver))),
            "fluentd" => Fluentd::new(info).map(|driver| Some(Self::Fluentd(driver))),
            "gelf" => Gelf::new(info).map(|driver| Some(Self::Gelf(driver))),
            other => Err(unknown_driver(other)),
        }
    }

    /// Connects as Docker does when a container starts; `None` where the options put that off.
    pub async fn dial(&self) -> Result<Option<Connection>, Error> {
        if matches!(self, Self::Fluentd(fluentd) if fluentd.settings.is_async) {
            return Ok(None);
        }
        let connected = self.connect().await;
        connected.map(Some).map_err(|error| {
            Error::Unreachable(match self {
                Self::Journald(_) => "journald is not enabled on this host".to_owned(),
                Self::Gelf(Gelf { endpoint: Endpoint::Tcp { host, port }, .. }) => {
                    format!("gelf: cannot connect to GELF endpoint: {host}:{port} {error}")
                }
                _ => error.to_string(),
            })
        })
    }

    pub async fn connect(&self) -> io::Result<Connection> {
        self.endpoint().connect().await
    }

    pub fn retry(&self) -> Retry {
        match self {
            Self::Syslog(_) | Self::Journald(_) => Retry::default(),
            Self::Fluentd(fluentd) => fluentd.settings.retry,
            Self::Gelf(gelf) => gelf.retry,
        }
    }

    /// A connection of this age is made anew before more is sent.
    pub fn reconnect_every(&self) -> Option<Duration> {
        match self {
            Self::Fluentd(fluentd) => fluentd.settings.reconnect_every,
            _ => None,
        }
    }

    /// Messages that may be on their way at the same time.
    pub fn message_limit(&self) -> usize {
        match self {
            Self::Fluentd(fluentd) => fluentd.settings.buffer_limit,
            _ => usize::MAX,
        }
    }

    /// Adds a message; false if it is too long for the receiver's protocol.
    pub fn encode(&self, entry: &Entry, place: &Place, batch: &mut Batch) -> bool {
        match self {
            Self::Syslog(syslog) => syslog.encode(entry, batch),
            Self::Journald(journald) => journald.encode(entry, place, batch),
            Self::Fluentd(fluentd) => fluentd.encode(entry, batch),
            Self::Gelf(gelf) => return gelf.encode(entry, batch),
        }
        true
    }

    /// Sends a batch over a stream, and waits for the acknowledgement where the options ask for one.
    pub async fn send(&self, connection: &mut Connection, batch: &Batch) -> io::Result<()> {
        let Self::Fluentd(fluentd) = self else { return connection.write(&batch.bytes).await };
        let limit = fluentd.settings.write_limit;
        if !fluentd.settings.wants_ack {
            return limited(limit, connection.write(&batch.bytes)).await;
        }
        let id = chunk_id();
        let (head, tail) = fluentd.chunk(batch, &id);
        limited(limit, connection.write(&[head.as_slice(), &batch.bytes, &tail].concat())).await?;
        limited(Some(ACK_LIMIT), wait_for_ack(connection, &id)).await
    }

    fn endpoint(&self) -> &Endpoint {
        match self {
            Self::Syslog(syslog) => &syslog.endpoint,
            Self::Journald(journald) => &journald.endpoint,
            Self::Fluentd(fluentd) => &fluentd.endpoint,
            Self::Gelf(gelf) => &gelf.endpoint,
        }
    }
}

async fn limited(limit: Option<Duration>, sending: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    match limit {
        None => sending.await,
        Some(limit) => {
            tokio::time::timeout(limit, sending).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        }
    }
}

async fn wait_for_ack(connection: &mut Connection, id: &str) -> io::Result<()> {
    let mut answer = Vec::new();
    let mut buffer = [0; MAX_ANSWER];
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "not the acknowledgement that was awaited");
    loop {
        match acknowledged(&answer) {
            Ok(Some(acknowledged)) if acknowledged == id => return Ok(()),
            Ok(None) if answer.len() < MAX_ANSWER => {}
            _ => return Err(wrong()),
        }
        let count = connection.read(&mut buffer).await?;
        answer.extend_from_slice(&buffer[..count]);
    }
}

/// Only has to differ from the last one's.
fn chunk_id() -> String {
    let mut bytes = [0; 16];
    // Should the kernel have no random numbers, a late answer might be taken for another's.
    let _ = getrandom::fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
