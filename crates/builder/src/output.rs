//! What a build tells while it goes on.

use tokio::sync::mpsc;

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

/// Where a build tells.
#[derive(Debug, Clone)]
pub struct Output {
    sender: mpsc::Sender<Line>,
    quiet: bool,
}

/// An output and its other end.
pub fn lines(quiet: bool) -> (Output, mpsc::Receiver<Line>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Output { sender, quiet }, receiver)
}

impl Output {
    /// An output of its own, whose lines somebody else passes on.
    pub fn beside(&self) -> (Self, mpsc::Receiver<Line>) {
        let (sender, receiver) = mpsc::channel(QUEUE_BESIDE);
        (Self { sender, quiet: self.quiet }, receiver)
    }

    /// Nobody listens is no error: the build is cancelled by other means.
    pub async fn send(&self, line: Line) {
        if self.quiet && !matches!(line, Line::Image(_)) {
            return;
        }
        let _ = self.sender.send(line).await;
    }

    pub async fn text(&self, text: impl Into<String>) {
        self.send(Line::Text(text.into())).await;
    }

    /// Told even by a quiet build.
    pub async fn result(&self, text: impl Into<String>) {
        let _ = self.sender.send(Line::Text(text.into())).await;
    }

    pub fn is_quiet(&self) -> bool {
        self.quiet
    }
}
