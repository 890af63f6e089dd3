//! Signals that are passed on to the container.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Number and name of what is passed on. SIGCHLD, SIGPIPE and SIGURG are this program's own business, SIGKILL and
/// SIGSTOP cannot be caught.
const PASSED_ON: &[(i32, &str)] = &[
    (1, "HUP"),
    (2, "INT"),
    (3, "QUIT"),
    (10, "USR1"),
    (12, "USR2"),
    (14, "ALRM"),
    (15, "TERM"),
    (18, "CONT"),
    (20, "TSTP"),
    (28, "WINCH"),
];

/// Receives the names of signals from now on.
#[derive(Debug)]
pub struct Signals(mpsc::Receiver<&'static str>);

impl Signals {
    /// Starts to catch. Must be called inside the runtime.
    pub fn catch() -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(16);
        for (number, name) in PASSED_ON {
            let mut stream = signal(SignalKind::from_raw(*number))?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    if sender.send(*name).await.is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Self(receiver))
    }

    pub async fn next(&mut self) -> Option<&'static str> {
        self.0.recv().await
    }
}

/// The terminal's size has changed.
pub fn window_changes() -> std::io::Result<Signal> {
    signal(SignalKind::window_change())
}
