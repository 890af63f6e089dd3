//! Published TCP and SCTP ports: the sockets that hold them, and connections carried to the container. What one message
//! of SCTP brings goes on as one message.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use network_core::Protocol;
use network_core::firewall::PublishedPort;

use crate::error::Error;
use crate::poller::{EventFlags, Poller, Token};
use crate::socket;

/// Two descriptors each.
const MAX_CONNECTIONS: usize = 4096;
/// Bytes moved at once; also what is kept at most for a slow reader.
const CHUNK: usize = 64 * 1024;
/// Reads of one connection before the others get their turn.
const ROUNDS: usize = 8;
/// How long a listener rests when the system has no descriptor for another connection.
const REST: Duration = Duration::from_millis(200);

#[derive(Default)]
pub(crate) struct StreamRelay {
    listeners: HashMap<u64, Listener>,
    connections: HashMap<u64, Connection>,
    /// When which listener is heard again.
    resting: Vec<(Duration, u64)>,
    /// One buffer for all: made when the first connection comes.
    chunk: Vec<u8>,
}

struct Listener {
    socket: TcpListener,
    protocol: Protocol,
    target: SocketAddr,
}

struct Connection {
    front: Side,
    back: Side,
    listener: u64,
    is_connected: bool,
}

struct Side {
    stream: TcpStream,
    token: Token,
    /// What epoll watches for; none: not registered.
    watched: Option<EventFlags>,
    /// Bytes that the other side gave and this one did not take yet.
    pending: Vec<u8>,
    /// This side has said its last.
    has_ended: bool,
    /// The end of the other side was passed on to this one.
    is_shut: bool,
}

impl StreamRelay {
    pub(crate) fn bind(&mut self, poller: &mut Poller, port: &PublishedPort) -> Result<u64, Error> {
        let address = SocketAddr::new(port.host_address, port.host_port);
        let failed = |source| Error::Bind { address, protocol: port.protocol, source };
        let socket = socket::listener(address, port.protocol).map_err(failed)?;
        let number = poller.number();
        poller.add(&socket, Token::StreamListener(number), EventFlags::IN).map_err(failed)?;
        let target = SocketAddr::new(port.container_address, port.container_port);
        self.listeners.insert(number, Listener { socket, protocol: port.protocol, target });
        Ok(number)
    }

    /// New connections lead there; those that stand end with their container's old address.
    pub(crate) fn retarget(&mut self, number: u64, port: &PublishedPort) {
        if let Some(listener) = self.listeners.get_mut(&number) {
            listener.target = SocketAddr::new(port.container_address, port.container_port);
            self.connections.retain(|_, connection| connection.listener != number);
        }
    }

    /// Gives the port back and ends its connections, which lead to a container that is gone.
    pub(crate) fn release(&mut self, number: u64) {
        self.listeners.remove(&number);
        self.resting.retain(|(_, listener)| *listener != number);
        self.connections.retain(|_, connection| connection.listener != number);
    }

    pub(crate) fn accept(&mut self, poller: &mut Poller, number: u64, now: Duration) {
        let Some(listener) = self.listeners.get(&number) else { return };
        loop {
            match listener.socket.accept() {
                // Dropped: a limit of this process, which the peer sees as a reset.
                Ok(_) if self.connections.len() >= MAX_CONNECTIONS => {}
                Ok((front, _)) => {
                    if let Some((id, connection)) = Connection::open(poller, front, listener, number) {
                        self.connections.insert(id, connection);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    poller.delete(&listener.socket);
                    self.resting.push((now + REST, number));
                    return;
                }
            }
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.resting.iter().map(|(until, _)| *until).min()
    }

    pub(crate) fn wake(&mut self, poller: &Poller, now: Duration) {
        let listeners = &self.listeners;
        self.resting.retain(|(until, number)| {
            let is_due = *until <= now;
            if let Some(listener) = listeners.get(number).filter(|_| is_due) {
                // If even this fails, the port stays held and silent until the next statement.
                let _ = poller.add(&listener.socket, Token::StreamListener(*number), EventFlags::IN);
            }
            !is_due
        });
    }

    pub(crate) fn ready(&mut self, poller: &Poller, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        self.chunk.resize(CHUNK, 0);
        if connection.advance(&mut self.chunk).and_then(|()| connection.watch(poller)).is_err() {
            self.connections.remove(&id);
        }
        if self.connections.is_empty() {
            self.chunk = Vec::new();
        }
    }
}

impl Connection {
    fn open(poller: &mut Poller, front: TcpStream, to: &Listener, number: u64) -> Option<(u64, Self)> {
        front.set_nonblocking(true).ok()?;
        let back = socket::connect_to(to.target, to.protocol).ok()?;
        if to.protocol == Protocol::Tcp {
            // Small writes were split by the sender; waiting for more would only add a delay.
            front.set_nodelay(true).ok()?;
            back.set_nodelay(true).ok()?;
        }
        let id = poller.number();
        let mut connection = Self {
            front: Side::new(front, Token::StreamFront(id)),
            back: Side::new(back, Token::StreamBack(id)),
            listener: number,
            is_connected: false,
        };
        connection.watch(poller).ok()?;
        Some((id, connection))
    }

    /// Moves what can be moved; an error ends the connection, as does the end of both directions.
    fn advance(&mut self, chunk: &mut [u8]) -> io::Result<()> {
        if !self.is_connected {
            if let Some(error) = self.back.stream.take_error()? {
                return Err(error);
            }
            self.is_connected = true;
        }
        carry(&mut self.front, &mut self.back, chunk)?;
        carry(&mut self.back, &mut self.front, chunk)?;
        if self.front.is_shut && self.back.is_shut {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// A side is heard while the other has taken everything, and asked to take while something is pending for it.
    fn watch(&mut self, poller: &Poller) -> io::Result<()> {
        let wanted = |own: &Side, other: &Side| {
            let mut flags = EventFlags::empty();
            flags.set(EventFlags::IN, !own.has_ended && other.pending.is_empty());
            flags.set(EventFlags::OUT, !own.pending.is_empty());
            flags
        };
        // Until the container has answered, only its answer counts; what the client says waits in the kernel.
        let (front, back) = match self.is_connected {
            true => (wanted(&self.front, &self.back), wanted(&self.back, &self.front)),
            false => (EventFlags::empty(), EventFlags::OUT),
        };
        self.front.watch(poller, front)?;
        self.back.watch(poller, back)
    }
}

impl Side {
    fn new(stream: TcpStream, token: Token) -> Self {
        Self { stream, token, watched: None, pending: Vec::new(), has_ended: false, is_shut: false }
    }

    /// Nothing wanted means not registered at all: epoll reports a hang-up whether it is asked for or not.
    fn watch(&mut self, poller: &Poller, flags: EventFlags) -> io::Result<()> {
        match (self.watched, flags.is_empty()) {
            (None, true) => return Ok(()),
            (Some(watched), false) if watched == flags => return Ok(()),
            (None, false) => poller.add(&self.stream, self.token, flags)?,
            (Some(_), false) => poller.modify(&self.stream, self.token, flags)?,
            (Some(_), true) => poller.delete(&self.stream),
        }
        self.watched = (!flags.is_empty()).then_some(flags);
        Ok(())
    }

    fn write_pending(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            match self.stream.write(&self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.pending = Vec::new();
        Ok(())
    }
}

/// From one side to the other until one of them has enough; passes the end on when everything before it has left.
fn carry(from: &mut Side, to: &mut Side, chunk: &mut [u8]) -> io::Result<()> {
    to.write_pending()?;
    for _ in 0..ROUNDS {
        if from.has_ended || !to.pending.is_empty() {
            break;
        }
        match from.stream.read(chunk) {
            Ok(0) => from.has_ended = true,
            Ok(count) => {
                let written = match to.stream.write(&chunk[..count]) {
                    Ok(written) => written,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                    Err(error) => return Err(error),
                };
                to.pending.extend_from_slice(&chunk[written..count]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if from.has_ended && to.pending.is_empty() && !to.is_shut {
        to.is_shut = true;
        to.stream.shutdown(Shutdown::Write)?;
    }
    Ok(())
}
