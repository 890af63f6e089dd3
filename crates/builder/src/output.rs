//! What a build tells while it goes on: lines for the classic builder's clients, or steps for those that show all of them
//! at the same time ([`crate::progress`]).

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::error::BuildError;
use crate::progress::{self, Progress, StepNames, Teller};

/// Lines on their way to the client; a client that does not read makes the build wait.
const QUEUE: usize = 64;
/// Lines of a stage whose turn has not come yet.
const QUEUE_BESIDE: usize = 1024;

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
}

/// An output and its other end.
pub fn lines(quiet: bool) -> (Output, mpsc::Receiver<Line>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Output { lines: Some(sender), steps: None, quiet }, receiver)
}

/// An output that tells of steps instead of lines.
pub fn steps() -> (Output, mpsc::Receiver<Progress>) {
    let (teller, receiver) = progress::channel();
    (Output { lines: None, steps: Some(teller), quiet: false }, receiver)
}

impl Output {
    /// A stage's own output, whose lines somebody else passes on. Its steps are told at once.
    pub(crate) fn beside(&self, stage: usize, names: &Arc<StepNames>) -> (Self, mpsc::Receiver<Line>) {
        let (sender, receiver) = mpsc::channel(QUEUE_BESIDE);
        let lines = self.lines.as_ref().map(|_| sender);
        let steps = self.steps.as_ref().map(|steps| steps.of_stage(stage, names));
        (Self { lines, steps, quiet: self.quiet }, receiver)
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
        if self.quiet && !matches!(line, Line::Image(_)) {
            return;
        }
        self.pass(line).await;
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
