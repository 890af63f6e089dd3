//! Pull and push: progress a line, and an error as status as long as nothing was sent, as the last line after that.

use std::pin::Pin;

use engine_api::json_message::{JsonMessage, Progress as WireProgress, PushResult as WirePushResult};
use futures_util::stream;
use images::{Progress, ProgressSender};
use tokio::sync::mpsc::Receiver;

use crate::reply;
use crate::status::{Answer, Failure};

type Work = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// Work under way. Dropped with the connection: an operation that nobody waits for ends.
struct Operation {
    work: Option<Work>,
    /// Told after the progress that came before it.
    failure: Option<Failure>,
    progress: Receiver<Progress>,
}

/// Answers once there is something to say.
pub async fn run<F, W>(start: F) -> Answer
where
    F: FnOnce(ProgressSender) -> W,
    W: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let (sender, progress) = ProgressSender::channel();
    let mut operation = Operation { work: Some(Box::pin(start(sender))), failure: None, progress };
    let first = operation.next().await.transpose()?;
    let rest = stream::unfold(operation, |mut operation| async move {
        let line = operation.next().await?;
        Some((line.unwrap_or_else(|failure| JsonMessage::failure(failure.message)), operation))
    });
    Ok(reply::json_lines(futures_util::StreamExt::chain(stream::iter(first), rest)))
}

impl Operation {
    /// The next line; a failure is the last one.
    async fn next(&mut self) -> Option<Result<JsonMessage, Failure>> {
        loop {
            let Some(work) = self.work.as_mut() else {
                return match self.progress.recv().await {
                    Some(progress) => Some(Ok(to_wire(progress))),
                    None => self.failure.take().map(Err),
                };
            };
            tokio::select! {
                biased;
                Some(progress) = self.progress.recv() => return Some(Ok(to_wire(progress))),
                done = work => {
                    self.work = None;
                    self.failure = done.err();
                }
            }
        }
    }
}

fn to_wire(progress: Progress) -> JsonMessage {
    if let Some(pushed) = progress.pushed {
        let size = i64::try_from(pushed.size).unwrap_or(i64::MAX);
        let result = WirePushResult { tag: pushed.tag, digest: pushed.digest.to_string(), size };
        // Docker sends an empty detail with it.
        let progress_detail = Some(WireProgress::default());
        return JsonMessage { progress_detail, aux: serde_json::to_value(result).ok(), ..JsonMessage::default() };
    }
    if !progress.text.is_empty() {
        return JsonMessage { stream: progress.text, ..JsonMessage::default() };
    }
    if progress.id.is_empty() && progress.current.is_none() {
        return JsonMessage::status(progress.status);
    }
    let mut line = JsonMessage::layer(progress.id, progress.status);
    if let Some(current) = progress.current {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let total = progress.total.map(number).unwrap_or(0);
        line.progress_detail = Some(WireProgress { current: number(current), total, ..WireProgress::default() });
    }
    line
}

#[cfg(test)]
mod tests {
    use errors::ErrorKind;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn an_error_before_the_first_line_is_a_status_and_after_it_a_line() {
        let failed = run(|_| async { Err(Failure::new(ErrorKind::NotFound, "gone")) }).await;
        assert_eq!(failed.unwrap_err().message, "gone");
        let reply = run(|progress| async move {
            progress.send(Progress { status: "Pulling from library/x".into(), ..Progress::default() }).await;
            Err(Failure::new(ErrorKind::NotFound, "gone"))
        });
        let body = reply.await.unwrap().into_body().collect().await.unwrap().to_bytes();
        let lines: Vec<&str> = std::str::from_utf8(&body).unwrap().lines().collect();
        assert_eq!(lines[0], r#"{"status":"Pulling from library/x"}"#);
        assert!(lines[1].contains(r#""error":"gone""#));
    }
}
