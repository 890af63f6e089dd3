//! Published UDP ports: the sockets that hold them, and a session for each client that comes this way.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use network_core::firewall::PublishedPort;

use crate::datagram::{self, Known};
use crate::error::Error;
use crate::poller::{EventFlags, Poller, Token};
use crate::socket;

/// One descriptor each; a full table turns new clients away until a session falls idle.
const MAX_SESSIONS: usize = 1024;
/// Docker's proxy forgets a client after the same time.
const IDLE: Duration = Duration::from_secs(90);
/// No datagram is larger.
const MAX_DATAGRAM: usize = 65535;
/// Datagrams of one socket before the others get their turn.
const ROUNDS: usize = 32;

#[derive(Default)]
pub(crate) struct UdpRelay {
    fronts: HashMap<u64, Front>,
    sessions: HashMap<u64, Session>,
    by_client: HashMap<(u64, SocketAddr), u64>,
    buffer: Vec<u8>,
}

struct Front {
    socket: UdpSocket,
    target: SocketAddr,
}

struct Session {
    front: u64,
    client: SocketAddr,
    /// The address that the client asks at.
    known: Option<Known>,
    socket: UdpSocket,
    last_used: Duration,
}

impl UdpRelay {
    pub(crate) fn bind(&mut self, poller: &mut Poller, port: &PublishedPort) -> Result<u64, Error> {
        let address = SocketAddr::new(port.host_address, port.host_port);
        let failed = |source| Error::Bind { address, protocol: port.protocol, source };
        let socket = socket::udp_socket(address).map_err(failed)?;
        datagram::tell_destinations(&socket, address.is_ipv4()).map_err(failed)?;
        let number = poller.number();
        poller.add(&socket, Token::UdpFront(number), EventFlags::IN).map_err(failed)?;
        let target = SocketAddr::new(port.container_address, port.container_port);
        self.fronts.insert(number, Front { socket, target });
        Ok(number)
    }

    /// Datagrams lead there from now on.
    pub(crate) fn retarget(&mut self, number: u64, port: &PublishedPort) {
        if let Some(front) = self.fronts.get_mut(&number) {
            front.target = SocketAddr::new(port.container_address, port.container_port);
            self.forget_sessions(number);
        }
    }

    pub(crate) fn release(&mut self, number: u64) {
        self.fronts.remove(&number);
        self.forget_sessions(number);
    }

    fn forget_sessions(&mut self, number: u64) {
        self.sessions.retain(|_, session| session.front != number);
        self.by_client.retain(|(front, _), _| *front != number);
    }

    /// Datagrams from clients.
    pub(crate) fn front_ready(&mut self, poller: &mut Poller, number: u64, now: Duration) {
        self.buffer.resize(MAX_DATAGRAM, 0);
        for _ in 0..ROUNDS {
            let Some(front) = self.fronts.get(&number) else { return };
            let Ok((length, client, known)) = datagram::receive(&front.socket, &mut self.buffer) else { return };
            let target = front.target;
            let Some(id) = self.session(poller, number, client, target, now) else { continue };
            if let Some(session) = self.sessions.get_mut(&id) {
                session.last_used = now;
                session.known = known;
                // Lost like any datagram that finds no taker.
                let _ = session.socket.send(&self.buffer[..length]);
            }
        }
    }

    /// Datagrams from the container.
    pub(crate) fn back_ready(&mut self, id: u64, now: Duration) {
        self.buffer.resize(MAX_DATAGRAM, 0);
        for _ in 0..ROUNDS {
            let Some(session) = self.sessions.get_mut(&id) else { return };
            // A refusal by the container is no end: it may begin to listen later.
            let Ok(length) = session.socket.recv(&mut self.buffer) else { return };
            session.last_used = now;
            if let Some(front) = self.fronts.get(&session.front) {
                let _ = datagram::answer(&front.socket, &self.buffer[..length], session.client, session.known);
            }
        }
    }

    fn session(
        &mut self,
        poller: &mut Poller,
        front: u64,
        client: SocketAddr,
        target: SocketAddr,
        now: Duration,
    ) -> Option<u64> {
        if let Some(id) = self.by_client.get(&(front, client)) {
            return Some(*id);
        }
        if self.sessions.len() >= MAX_SESSIONS {
            return None;
        }
        let socket = socket::udp_to(target).ok()?;
        let id = poller.number();
        poller.add(&socket, Token::UdpBack(id), EventFlags::IN).ok()?;
        self.sessions.insert(id, Session { front, client, known: None, socket, last_used: now });
        self.by_client.insert((front, client), id);
        Some(id)
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.sessions.values().map(|session| session.last_used + IDLE).min()
    }

    pub(crate) fn expire(&mut self, now: Duration) {
        self.sessions.retain(|_, session| session.last_used + IDLE > now);
        let sessions = &self.sessions;
        self.by_client.retain(|_, id| sessions.contains_key(id));
        if self.sessions.is_empty() {
            self.buffer = Vec::new();
        }
    }
}
