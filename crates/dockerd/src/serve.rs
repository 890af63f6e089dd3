//! Accepts clients until the daemon ends.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use engine_http::Api;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::listen::Listener;

/// What to wait after an accept that failed: usually the descriptors have run out, and some will be given back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The accepting tasks and their connections.
pub struct Serving {
    ending: watch::Sender<bool>,
    accepting: Vec<JoinHandle<JoinSet<()>>>,
}

pub fn serve(listeners: Vec<Listener>, api: Arc<Api>) -> Serving {
    let ending = watch::Sender::new(false);
    let accepting = listeners
        .into_iter()
        .map(|listener| tokio::spawn(accept(listener, Arc::clone(&api), ending.subscribe())))
        .collect();
    Serving { ending, accepting }
}

impl Serving {
    /// Accepts no more, and gives the requests under way this long.
    pub async fn end(self, limit: Duration) {
        self.ending.send_replace(true);
        let drained = async {
            for accepting in self.accepting {
                if let Ok(mut connections) = accepting.await {
                    // Idle connections and event streams never end by themselves.
                    tokio::time::sleep(limit.min(Duration::from_millis(100))).await;
                    connections.abort_all();
                    while connections.join_next().await.is_some() {}
                }
            }
        };
        // What is not done by then ends with the process.
        let _ = tokio::time::timeout(limit, drained).await;
    }
}

async fn accept(listener: Listener, api: Arc<Api>, mut ending: watch::Receiver<bool>) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept_one(&listener) => accepted,
            _ = ending.wait_for(|ending| *ending) => break,
        };
        match accepted {
            Ok(stream) => drop(connections.spawn(engine_http::serve_connection(Arc::clone(&api), stream))),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a client");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    if let Listener::Unix(_, path) = &listener {
        // A successor may have bound it anew already.
        let _ = fs::remove_file(path);
    }
    connections
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn accept_one(listener: &Listener) -> std::io::Result<Box<dyn Stream>> {
    Ok(match listener {
        Listener::Unix(listener, _) => Box::new(listener.accept().await?.0),
        Listener::Tcp(listener) => Box::new(listener.accept().await?.0),
    })
}
