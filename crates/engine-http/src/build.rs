//! `/build`: images from Dockerfiles, as the classic builder speaks it, and the cache that builds keep.

pub mod parameters;

use std::sync::Arc;

use ::builder::{BuildError, ContextSource, Line, PruneFilter};
use engine_api::json_message::{ErrorDetail, JsonMessage, Progress};
use errors::{ErrorKind, Kind};
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::Api;
use crate::query::parse_time_before_ns;
use crate::reply;
use crate::request::Request;
use crate::status::{Answer, Failure};

/// Pieces of a context on their way.
const QUEUE: usize = 4;

/// A build under way. Dropped with the connection, it ends.
struct Building {
    lines: mpsc::Receiver<Line>,
    result: Option<tokio::task::JoinHandle<Result<String, BuildError>>>,
    _guard: DropGuard,
}

pub async fn build(api: Arc<Api>, request: Request) -> Answer {
    let (mut wanted, quiet) = parameters::of(&request)?;
    if let ContextSource::Archive(_) = wanted.context {
        let (sender, pieces) = mpsc::channel(QUEUE);
        wanted.context = ContextSource::Archive(pieces);
        let body = request.body.into_data_stream().map(|piece| piece.map_err(std::io::Error::other));
        tokio::spawn(feed(body, sender));
    }
    let (output, lines) = ::builder::lines(quiet);
    let token = CancellationToken::new();
    let guard = token.clone().drop_guard();
    let result = tokio::spawn(async move { api.builder.build(wanted, &output, &token).await });
    let mut building = Building { lines, result: Some(result), _guard: guard };
    // As long as nothing was said, a failure is a status.
    let first = building.next().await.transpose()?;
    let rest = stream::unfold(building, |mut building| async move {
        let line = building.next().await?;
        Some((line.unwrap_or_else(|failure| failed(&failure)), building))
    });
    Ok(reply::json_lines(stream::iter(first).chain(rest)))
}

/// Why a build ended.
struct Ended {
    kind: ErrorKind,
    message: String,
    code: i32,
}

impl From<Ended> for Failure {
    fn from(ended: Ended) -> Self {
        Self::new(ended.kind, ended.message)
    }
}

impl Building {
    /// The next line; a failure is the last one.
    async fn next(&mut self) -> Option<Result<JsonMessage, Ended>> {
        if let Some(line) = self.lines.recv().await {
            return Some(Ok(to_wire(line)));
        }
        match self.result.take()?.await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => {
                let (kind, code) = (error.kind(), error.exit_code());
                Some(Err(Ended { kind, message: errors::chain(&error), code }))
            }
            Err(_) => Some(Err(Ended {
                kind: ErrorKind::Internal,
                message: "the build did not come to its end".to_owned(),
                code: 0,
            })),
        }
    }
}

fn failed(ended: &Ended) -> JsonMessage {
    let mut line = JsonMessage::failure(ended.message.clone());
    line.error_detail = Some(ErrorDetail { code: i64::from(ended.code), message: ended.message.clone() });
    line
}

fn to_wire(line: Line) -> JsonMessage {
    match line {
        Line::Text(stream) => JsonMessage { stream, ..JsonMessage::default() },
        Line::Image(id) => JsonMessage { aux: Some(json!({ "ID": id })), ..JsonMessage::default() },
        Line::Progress { id, status, .. } if id.is_empty() => JsonMessage::status(status),
        Line::Progress { id, status, current, total } => {
            let mut line = JsonMessage::layer(id, status);
            if let Some(current) = current {
                let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
                let total = total.map_or(0, number);
                line.progress_detail = Some(Progress { current: number(current), total, ..Progress::default() });
            }
            line
        }
    }
}

/// Passes a body on, until nobody wants more of it.
pub async fn feed<S>(body: S, sender: mpsc::Sender<std::io::Result<bytes::Bytes>>)
where
    S: futures_util::Stream<Item = std::io::Result<bytes::Bytes>>,
{
    let mut body = std::pin::pin!(body);
    while let Some(piece) = body.next().await {
        let broken = piece.is_err();
        if sender.send(piece).await.is_err() || broken {
            return;
        }
    }
}

/// `POST /build/prune`.
pub async fn prune(api: &Api, request: &Request) -> Answer {
    let filters = request.query.filters()?;
    filters.check_keys(&["until", "id", "parent", "type", "description", "inuse", "shared", "private"])?;
    for key in ["id", "parent", "type", "description", "inuse", "shared", "private"] {
        if filters.has(key) {
            let message = format!("the filter {key:?} of the build cache is not supported");
            return Err(Failure::new(ErrorKind::NotImplemented, message));
        }
    }
    let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    let unused_since = match filters.values("until").last() {
        Some(text) => {
            let wrong = || Failure::bad_request(format!("invalid filter 'until={text}'"));
            Some(parse_time_before_ns(text, now).ok_or_else(wrong)? / 1_000_000_000)
        }
        None => None,
    };
    let keep = request.query.number::<u64>("reserved-space")?.or(request.query.number::<u64>("keep-storage")?);
    let pruned = api.builder.prune(PruneFilter { keep_bytes: keep.unwrap_or(0), unused_since }).await?;
    let ids: Vec<&str> = pruned.ids.iter().map(String::as_str).collect();
    let mut reclaimed = pruned.reclaimed;
    if keep.unwrap_or(0) == 0 && unused_since.is_none() {
        reclaimed += api.buildkit.contexts().prune().await?;
    }
    Ok(reply::ok(&json!({ "CachesDeleted": ids, "SpaceReclaimed": reclaimed })))
}

/// What the cache has, for `GET /system/df`.
pub fn cache_records(api: &Api) -> Vec<serde_json::Value> {
    let time = |seconds: i64| jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default();
    let record = |record: ::builder::CacheRecord| {
        json!({
            "ID": record.id,
            "Parents": record.parent.map(|parent| vec![parent]),
            "Type": "regular",
            "Description": record.description,
            "InUse": false,
            "Shared": false,
            "Size": record.bytes,
            "CreatedAt": time(record.created),
            "LastUsedAt": time(record.last_used),
            "UsageCount": record.uses,
        })
    };
    api.builder.cache().into_iter().map(record).collect()
}
