//! What a build tells while it goes on: lines for the classic builder's clients, or steps for those that show all of them
//! at the same time ([`crate::progress`]).

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::error::BuildError;
use crate::progress::{self, Progress, StepNames, Teller};

/// Lines on their way to the client; a client that does not read makes the build wait.
const QUEUE: usize = 64;
/// Lines of a stage whose turn has not come yet.
const QUEUE_BESIDE: usize = 1024;

/// Bytes of what a quiet build would have told that are kept.
const MAX_KEPT: usize = 64 << 10;

/// One thing told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Text, with its line's end if it has one.
    Text(String),
    /// An image's id, for programs.
    Image(String),
    /// Of a pull: the layer (or nothing), what happens, how far.
    Progress { id: String, status: String, current: Option<u64>, total: Option<u64> },
}

/// Where a step prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Where a build tells.
#[derive(Debug, Clone)]
pub struct Output {
    lines: Option<mpsc::Sender<Line>>,
    steps: Option<Teller>,
    quiet: bool,
    /// What a quiet build has not told: the end of it.
    kept: Arc<Mutex<String>>,
}

/// An output and its other end.
pub fn lines(quiet: bool) -> (Output, mpsc::Receiver<Line>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Output { lines: Some(sender), steps: None, quiet, kept: Arc::default() }, receiver)
}

/// An output that tells of steps instead of lines.
pub fn steps() -> (Output, mpsc::Receiver<Progress>) {
    let (teller, receiver) = progress::channel();
    (Output { lines: None, steps: Some(teller), quiet: false, kept: Arc::default() }, receiver)
}

impl Output {
    /// A stage's own output, whose lines somebody else passes on. Its steps are told at once.
    pub(crate) fn beside(&self, stage: usize, names: &Arc<StepNames>) -> (Self, mpsc::Receiver<Line>) {
        let (sender, receiver) = mpsc::channel(QUEUE_BESIDE);
        let lines = self.lines.as_ref().map(|_| sender);
        let steps = self.steps.as_ref().map(|steps| steps.of_stage(stage, names));
        // Who passes the lines on knows which of them are told.
        (Self { lines, steps, quiet: false, kept: Arc::default() }, receiver)
    }

    /// The same for one of several platforms.
    pub(crate) fn for_platform(&self, place: usize, name: &str) -> Self {
        Self { steps: self.steps.as_ref().map(|steps| steps.of_platform(place, name)), ..self.clone() }
    }

    /// Nobody listens is no error: the build is cancelled by other means.
    pub async fn send(&self, line: Line) {
        if let (Some(steps), Line::Progress { id, status, current, total }) = (&self.steps, &line) {
            steps.pulled(id, status, *current, *total).await;
        }
        match line {
            Line::Text(text) if self.quiet => self.keep(&text),
            Line::Progress { .. } if self.quiet => {}
            line => self.pass(line).await,
        }
    }

    fn keep(&self, text: &str) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_str(text);
        if kept.len() > MAX_KEPT {
            // Whole lines, as far as there are any.
            let from = kept.ceil_char_boundary(kept.len() - MAX_KEPT);
            let line = kept[from..].find('\n').map_or(0, |end| end + 1);
            kept.drain(..from + line);
        }
    }

    /// What a quiet build has not told, for one that has failed: as Docker's builder does.
    pub(crate) async fn tell_kept(&self) {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        if !kept.is_empty() {
            self.pass(Line::Text(kept)).await;
        }
    }

    pub async fn text(&self, text: impl Into<String>) {
        self.send(Line::Text(text.into())).await;
    }

    /// What a step's program has printed. Complaints are red to the classic builder's clients, as they have always been.
    pub async fn printed(&self, stream: Stream, text: String) {
        if let Some(steps) = &self.steps {
            return steps.printed(stream, text).await;
        }
        self.text(match stream {
            Stream::Stdout => text,
            Stream::Stderr => format!("\x1b[91m{text}\x1b[0m"),
        })
        .await;
    }

    /// Work of the build that is no step of a stage.
    pub(crate) async fn task<T>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, BuildError>>,
    ) -> Result<T, BuildError> {
        let steps = self.steps.as_ref().map(Teller::of_tasks);
        match &steps {
            Some(steps) => steps.begin_task(name).await,
            None => self.text(format!("{name}\n")).await,
        }
        let done = work.await;
        if let Some(steps) = &steps {
            steps.end(&done).await;
        }
        done
    }

    /// Told even by a quiet build.
    pub async fn result(&self, text: impl Into<String>) {
        self.pass(Line::Text(text.into())).await;
    }

    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    pub(crate) fn steps(&self) -> Option<&Teller> {
        self.steps.as_ref()
    }

    async fn pass(&self, line: Line) {
        if let Some(lines) = &self.lines {
            let _ = lines.send(line).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_quiet_build_that_fails_tells_the_end_of_what_it_kept() {
        let (output, mut told) = lines(true);
        for number in 0..10_000 {
            output.text(format!("line {number}\n")).await;
        }
        output.send(Line::Image("id".to_owned())).await;
        output.tell_kept().await;
        output.tell_kept().await;
        drop(output);
        assert_eq!(told.recv().await, Some(Line::Image("id".to_owned())));
        let Some(Line::Text(kept)) = told.recv().await else { panic!("nothing was kept") };
        assert!(kept.len() <= MAX_KEPT && kept.starts_with("line ") && kept.ends_with("line 9999\n"));
        assert_eq!(told.recv().await, None);
    }
}
