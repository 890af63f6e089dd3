//! What containers print and read: attach, logs; and what runs in them: top.

use std::sync::Arc;

use container_core::{State, Timestamp};
use errors::{ErrorKind, Kind};
use logs::{FolderWatch, ReadOptions, Reader};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};

use crate::error::Error;
use crate::record::{Pending, Progress};
use crate::request::{AttachRequest, LogEntry, LogStream, LogsRequest, Processes};
use crate::service::Shared;
use crate::{messages, stdio, top};

/// Streams of all containers.
#[derive(Clone)]
pub struct Streams {
    shared: Arc<Shared>,
}

/// An attachment, made or promised.
pub struct Attached {
    pub tty: bool,
    source: Source,
}

enum Source {
    Pump { socket: std::path::PathBuf, request: AttachRequest },
    Start(oneshot::Receiver<Result<UnixStream, Error>>),
}

/// Which streams a reading shows.
struct Wanted {
    stdout: bool,
    stderr: bool,
}

/// A reading of a container's log.
pub struct Logs {
    pub tty: bool,
    streams: Wanted,
    reader: Option<Reader>,
    /// While following: the log's folder, and the container's life.
    follow: Option<(AsyncFd<FolderWatch>, watch::Receiver<Progress>)>,
}

impl Streams {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Registers at once: a start after this call finds the client waiting.
    pub fn attach(&self, reference: &str, request: AttachRequest) -> Result<Attached, Error> {
        let container = self.shared.find(reference)?;
        let record = container.record();
        match &record.state {
            State::Paused { .. } => return Err(messages::attach_paused(reference)),
            State::Restarting { .. } => return Err(messages::attach_restarting(reference)),
            _ => {}
        }
        let source = {
            let mut attachable = container.attachable();
            if attachable.now {
                Source::Pump { socket: self.shared.settings.attach_path(&record.id), request }
            } else {
                let (connected, stream) = oneshot::channel();
                attachable.waiting.retain(|pending: &Pending| !pending.connected.is_closed());
                attachable.waiting.push(Pending { request, connected });
                Source::Start(stream)
            }
        };
        self.shared.publish(&record, "attach", &[]);
        Ok(Attached { tty: record.config.tty, source })
    }

    pub async fn logs(&self, reference: &str, request: LogsRequest) -> Result<Logs, Error> {
        let container = self.shared.find(reference)?;
        let record = container.record();
        if record.host_config.log_config.driver != "json-file" {
            return Err(messages::logs_not_readable());
        }
        let progress = container.progress.subscribe();
        let follow = request.follow && record.state.counts_as_running();
        let options = ReadOptions {
            tail: request.tail,
            since: request.since.map(to_log_time),
            until: request.until.map(to_log_time),
            follow,
            ..ReadOptions::default()
        };
        // Watched before the first look.
        let watch = if follow { Some(watched(&self.shared.settings.container_folder(&record.id))?) } else { None };
        let reader = match Reader::open(&self.shared.settings.log_path(&record.id), options) {
            Ok(reader) => Some(reader),
            // It never ran.
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let follow = watch.map(|watch| (watch, progress));
        let streams = Wanted { stdout: request.stdout, stderr: request.stderr };
        Ok(Logs { tty: record.config.tty, streams, reader, follow })
    }

    pub async fn top(&self, reference: &str, ps_args: &str) -> Result<Processes, Error> {
        let container = self.shared.find(reference)?;
        match container.record().state {
            State::Restarting { .. } => return Err(messages::is_restarting(&container.id)),
            ref state if !state.has_process() => return Err(messages::not_running(&container.id)),
            _ => {}
        }
        let pids = self.shared.containerd.pids(&container.id).await?;
        let processes = top::processes(ps_args, &pids).await?;
        self.shared.publish(&container.record(), "top", &[]);
        Ok(processes)
    }
}

impl Attached {
    /// The pump's stream: client to container as it is, container to client in Docker's frames (raw for a terminal).
    /// `None`: the container did not start, or is gone.
    pub async fn stream(self) -> Result<Option<UnixStream>, Error> {
        match self.source {
            Source::Pump { socket, request } => stdio::connect(&socket, request).await.map(Some),
            Source::Start(stream) => stream.await.ok().transpose(),
        }
    }
}

impl Logs {
    /// The next line; `None` after the last one, which when following is the container's last.
    pub async fn next(&mut self) -> Result<Option<LogEntry>, Error> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        loop {
            // Looked at before reading: what is printed before the end is in the log before the end is known.
            let runs = self.follow.as_ref().is_some_and(|(_, progress)| {
                let progress = progress.borrow();
                progress.running && !progress.removed
            });
            if let Some(entry) = reader.next_entry()? {
                let shown = match entry.stream {
                    logs::Stream::Stdout => self.streams.stdout,
                    logs::Stream::Stderr => self.streams.stderr,
                };
                if shown {
                    return Ok(Some(to_entry(entry)));
                }
                continue;
            }
            let Some((watch, progress)) = self.follow.as_mut().filter(|_| runs && !reader.has_ended()) else {
                return Ok(None);
            };
            tokio::select! {
                ready = watch.ready(Interest::READABLE) => {
                    let wrong = |source| Error::file("watch", std::path::Path::new("the log"), source);
                    ready.map_err(wrong)?.clear_ready();
                    watch.get_ref().changes().map_err(wrong)?;
                }
                changed = progress.changed() => if changed.is_err() { return Ok(None) },
            }
        }
    }
}

fn watched(folder: &std::path::Path) -> Result<AsyncFd<FolderWatch>, Error> {
    let watch = || {
        let watch = FolderWatch::new()?;
        watch.add(folder)?;
        AsyncFd::with_interest(watch, Interest::READABLE)
    };
    watch().map_err(|source| Error::file("watch", folder, source))
}

fn to_log_time(time: Timestamp) -> logs::Timestamp {
    logs::Timestamp { seconds: time.seconds(), nanos: time.nanos() }
}

fn to_entry(entry: logs::Entry) -> LogEntry {
    LogEntry {
        stream: match entry.stream {
            logs::Stream::Stdout => LogStream::Stdout,
            logs::Stream::Stderr => LogStream::Stderr,
        },
        time: Timestamp::from_parts(entry.time.seconds, entry.time.nanos),
        bytes: entry.bytes,
        attributes: entry.attrs.into_iter().collect(),
    }
}
