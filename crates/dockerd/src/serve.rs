//! Accepts clients until the daemon ends.

use std::sync::Arc;
use std::time::Duration;

use engine_http::{Api, CancellationToken, Connection, Liveness, Patience, Peer, serve_connection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::listen::Listener;
use crate::socket::Socket;
use crate::tls;

/// What to wait after an accept that failed: usually the descriptors have run out, and some will be given back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a TLS client may take to shake hands.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// How long requests under way may take when the daemon goes down. Streams and silent clients end at once.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// Clients at a time, where descriptors allow.
const MAX_CLIENTS: usize = 32_768;
/// Descriptors that clients leave to the daemon's own work.
const RESERVED: usize = 512;

/// The accepting tasks and their connections.
pub struct Serving {
    ending: CancellationToken,
    accepting: Vec<JoinHandle<JoinSet<()>>>,
}

pub fn serve(listeners: Vec<Listener>, api: &Arc<Api>, descriptors: u64) -> Serving {
    let ending = CancellationToken::new();
    let allowed = usize::try_from(descriptors).unwrap_or(MAX_CLIENTS);
    let room = Arc::new(Semaphore::new(allowed.saturating_sub(RESERVED).max(allowed / 2).clamp(1, MAX_CLIENTS)));
    let accepting = listeners
        .into_iter()
        .map(|listener| tokio::spawn(accept(listener, Arc::clone(api), ending.clone(), Arc::clone(&room))))
        .collect();
    Serving { ending, accepting }
}

impl Serving {
    /// Accepts no more, ends streams and silent clients, and gives the requests under way some time.
    pub async fn end(self) {
        self.ending.cancel();
        let drained = async {
            for accepting in self.accepting {
                if let Ok(mut connections) = accepting.await {
                    while connections.join_next().await.is_some() {}
                }
            }
        };
        if tokio::time::timeout(DRAIN_LIMIT, drained).await.is_err() {
            tracing::warn!(seconds = DRAIN_LIMIT.as_secs(), "requests are still under way, ending without them");
        }
    }
}

async fn accept(listener: Listener, api: Arc<Api>, ending: CancellationToken, room: Arc<Semaphore>) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept_one(&listener, &room) => accepted,
            () = ending.cancelled() => break,
        };
        match accepted {
            Ok((socket, tls, place)) => {
                drop(connections.spawn(client(Arc::clone(&api), socket, tls, ending.clone(), place)));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a client");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    connections
}

type Accepted = (Socket, Option<TlsAcceptor>, OwnedSemaphorePermit);

async fn accept_one(listener: &Listener, room: &Arc<Semaphore>) -> std::io::Result<Accepted> {
    let place = Arc::clone(room).acquire_owned().await.map_err(std::io::Error::other)?;
    Ok(match listener {
        Listener::Unix { listener, .. } => (listener.accept().await?.0.into(), None, place),
        Listener::Tcp(listener, tls) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            (stream.into(), tls.clone(), place)
        }
    })
}

async fn client(
    api: Arc<Api>,
    socket: Socket,
    tls: Option<TlsAcceptor>,
    ending: CancellationToken,
    place: OwnedSemaphorePermit,
) {
    let first = tokio::select! {
        first = socket.first_byte() => first,
        () = ending.cancelled() => return,
    };
    if first.is_ok() {
        // Boxed, so that a client who says nothing does not hold the room of one who does.
        Box::pin(serve_client(api, socket, tls, ending)).await;
    }
    drop(place);
}

async fn serve_client(api: Arc<Api>, socket: Socket, tls: Option<TlsAcceptor>, ending: CancellationToken) {
    let liveness: Arc<dyn Liveness> = Arc::new(socket.clone());
    let connection = |peer: Peer| Connection {
        peer: Arc::new(peer),
        liveness: Arc::clone(&liveness),
        ending: ending.clone(),
        patience: Patience::default(),
    };
    let Some(tls) = tls else { return serve_connection(api, socket, connection(Peer::default())).await };
    match tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(socket)).await {
        Ok(Ok(stream)) => {
            let peer = tls::peer(stream.get_ref().1);
            serve_connection(api, stream, connection(peer)).await;
        }
        Ok(Err(error)) => tracing::info!(%error, "TLS handshake error"),
        Err(_) => tracing::info!("TLS handshake timed out"),
    }
}
