//! Keeps the size of a container's terminal that of the user's.

use std::sync::Arc;
use std::time::Duration;

use engine_client::{Client, Request};
use tokio::task::JoinHandle;

use crate::terminal::{self, Size, signals};

/// A process that has just been started may not have its terminal yet.
const FIRST_TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// Ends when dropped.
#[derive(Debug)]
pub struct Resizer(JoinHandle<()>);

impl Resizer {
    /// Sends the size now and on every change. `path` is `/containers/x/resize` or `/exec/x/resize`.
    pub fn start(client: Arc<Client>, path: String) -> Self {
        Self(tokio::spawn(follow(client, path)))
    }
}

impl Drop for Resizer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn follow(client: Arc<Client>, path: String) {
    let Ok(mut changes) = signals::window_changes() else { return };
    for _ in 0..FIRST_TRIES {
        let Some(size) = terminal::size() else { break };
        if client.send(request(&path, size)).await.is_ok() {
            break;
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
    while changes.recv().await.is_some() {
        if let Some(size) = terminal::size() {
            // The next change tries again.
            let _ = client.send(request(&path, size)).await;
        }
    }
}

fn request(path: &str, size: Size) -> Request {
    Request::post(path).with("h", size.height.to_string()).with("w", size.width.to_string())
}
