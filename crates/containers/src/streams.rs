//! What containers print and read: attach, logs; and what runs in them: top.

use std::path::Path;
use std::sync::Arc;

use container_core::{State, Timestamp};
use errors::{ErrorKind, Kind};
use log_drivers::Watched;
use logs::{ReadOptions, Reader};
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};

use crate::error::Error;
use crate::record::{Container, Pending, Progress};
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

/// A reading of a container's log.
pub struct Logs {
    pub tty: bool,
    reader: Option<Reader>,
    stdout: bool,
    stderr: bool,
    follow: Option<Following>,
}

/// The log's folder, and the container's life.
struct Following {
    folder: Watched,
    container: Arc<Container>,
    progress: watch::Receiver<Progress>,
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
        let log_config = &record.host_config.log_config;
        if matches!(record.state, State::Removing { .. } | State::Dead { .. }) {
            return Err(messages::logs_of_removed());
        }
        if !log_drivers::is_readable(&log_config.driver, &log_config.options) {
            return Err(messages::logs_not_readable());
        }
        let folder = self.shared.settings.container_folder(&record.id);
        let path = log_drivers::log_path(&log_config.driver, &record.id, &folder);
        let follow = match request.follow && record.state.counts_as_running() {
            true => Some(self.follow(&container, path.parent().unwrap_or(&folder))?),
            false => None,
        };
        let options = ReadOptions {
            format: log_drivers::log_format(&log_config.driver),
            tail: request.tail,
            since: request.since.map(to_log_time),
            until: request.until.map(to_log_time),
            after: 0,
            follow: follow.is_some(),
        };
        let reader = match Reader::open(&path, options) {
            Ok(reader) => Some(reader),
            // It never ran.
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Logs { tty: record.config.tty, reader, stdout: request.stdout, stderr: request.stderr, follow })
    }

    /// Watched before the first look at the log.
    fn follow(&self, container: &Arc<Container>, folder: &Path) -> Result<Following, Error> {
        let progress = container.progress.subscribe();
        let folder = self.shared.watches.watch(folder).map_err(|source| Error::file("watch", folder, source))?;
        Ok(Following { folder, container: Arc::clone(container), progress })
    }

    pub async fn top(&self, reference: &str, ps_args: &str) -> Result<Processes, Error> {
        top::check(ps_args)?;
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
    /// The next line; `None` after the last one, which when following is the last of a container that is not about to
    /// start again.
    pub async fn next(&mut self) -> Result<Option<LogEntry>, Error> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        loop {
            // Looked at before reading: what is printed before the end is in the log before the end is known.
            let runs = self.follow.as_mut().is_some_and(Following::goes_on);
            while let Some(entry) = reader.next_entry()? {
                let is_wanted = match entry.stream {
                    logs::Stream::Stdout => self.stdout,
                    logs::Stream::Stderr => self.stderr,
                };
                if is_wanted {
                    return Ok(Some(to_entry(entry)));
                }
            }
            let Some(follow) = self.follow.as_mut().filter(|_| runs && !reader.has_ended()) else { return Ok(None) };
            tokio::select! {
                () = follow.folder.changed() => {}
                changed = follow.progress.changed() => if changed.is_err() { return Ok(None) },
            }
        }
    }
}

impl Following {
    /// Whether the container may print more: it runs, or is to be started again.
    fn goes_on(&mut self) -> bool {
        let progress = self.progress.borrow_and_update();
        (progress.running || self.container.kept()) && !progress.removed
    }
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
