//! Lines from dockerd and the answers to them.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use network_core::netd::{Failure, MAX_LINE_BYTES, Reply, Request};
use rustix::net::sockopt::socket_peercred;

use crate::poller::{EventFlags, Poller, Token};

/// dockerd needs two; a few more for a person who looks.
const MAX_CONNECTIONS: usize = 16;
const CHUNK: usize = 16 * 1024;

pub(crate) struct Control {
    listener: UnixListener,
    connections: HashMap<u64, Connection>,
}

struct Connection {
    stream: UnixStream,
    received: Vec<u8>,
    unsent: Vec<u8>,
    waits_to_write: bool,
    /// The other end says nothing more; it may still listen.
    has_ended: bool,
}

impl Control {
    pub(crate) fn new(listener: UnixListener, poller: &Poller) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        poller.add(&listener, Token::ControlListener, EventFlags::IN)?;
        Ok(Self { listener, connections: HashMap::new() })
    }

    pub(crate) fn accept(&mut self, poller: &mut Poller) {
        while let Ok((stream, _)) = self.listener.accept() {
            let own = rustix::process::geteuid();
            let is_own = socket_peercred(&stream).is_ok_and(|peer| peer.uid == own || peer.uid.is_root());
            if !is_own || self.connections.len() >= MAX_CONNECTIONS || stream.set_nonblocking(true).is_err() {
                continue;
            }
            let number = poller.number();
            if poller.add(&stream, Token::Control(number), EventFlags::IN).is_ok() {
                let connection = Connection {
                    stream,
                    received: Vec::new(),
                    unsent: Vec::new(),
                    waits_to_write: false,
                    has_ended: false,
                };
                self.connections.insert(number, connection);
            }
        }
    }

    /// Answers the requests that have arrived whole.
    pub(crate) fn receive(&mut self, number: u64) -> Vec<Result<Request, String>> {
        let Some(connection) = self.connections.get_mut(&number) else { return Vec::new() };
        let mut requests = Vec::new();
        let open = connection.fill(|line| {
            requests.push(serde_json::from_slice(line).map_err(|error| error.to_string()));
        });
        connection.has_ended = !open;
        requests
    }

    /// Closes a connection whose last requests were answered.
    pub(crate) fn finish(&mut self, number: u64) {
        if self.connections.get(&number).is_some_and(|connection| connection.has_ended) {
            self.connections.remove(&number);
        }
    }

    pub(crate) fn reply(&mut self, poller: &Poller, number: u64, reply: &Reply) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let line = serde_json::to_vec(reply).unwrap_or_else(|error| {
            // No map with other keys than strings is in a reply; said all the same, so that nobody waits.
            format!("{{\"failed\":{{\"message\":{:?}}}}}", error.to_string()).into_bytes()
        });
        connection.unsent.extend_from_slice(&line);
        connection.unsent.push(b'\n');
        self.flush(poller, number);
    }

    pub(crate) fn refuse(&mut self, poller: &Poller, number: u64, message: String) {
        let failure = Failure { sandbox: String::new(), message, port_in_use: None, port_refused: None };
        self.reply(poller, number, &Reply::Failed(failure));
    }

    pub(crate) fn flush(&mut self, poller: &Poller, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let written = connection.write();
        let flags = if connection.unsent.is_empty() { EventFlags::IN } else { EventFlags::IN | EventFlags::OUT };
        let changed = connection.waits_to_write == connection.unsent.is_empty();
        connection.waits_to_write = !connection.unsent.is_empty();
        let is_broken = written.is_err()
            || connection.unsent.len() > MAX_LINE_BYTES
            || (changed && poller.modify(&connection.stream, Token::Control(number), flags).is_err());
        if is_broken {
            self.connections.remove(&number);
        }
    }
}

impl Connection {
    /// Reads what is there; false when the other end is gone or says more than a line may hold.
    fn fill(&mut self, mut each_line: impl FnMut(&[u8])) -> bool {
        let mut chunk = [0; CHUNK];
        loop {
            let count = match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return false,
            };
            let mut rest = &chunk[..count];
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                self.received.extend_from_slice(&rest[..end]);
                each_line(&std::mem::take(&mut self.received));
                rest = &rest[end + 1..];
            }
            self.received.extend_from_slice(rest);
            if self.received.len() > MAX_LINE_BYTES {
                return false;
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // A sync of thousands of sandboxes must not stay in memory.
        self.unsent.shrink_to(CHUNK);
        Ok(())
    }
}
