//! The sockets over which containerd calls: any number, since a restarted daemon connects anew.

use crate::process::Reply;
use logs::poller::{Event, Interest, Poller, Registration};
use std::collections::HashMap;
use std::os::unix::net::UnixListener;
use ttrpc::server::{Connection, Flow, Incoming};
use ttrpc::{Request, Status};

/// Connections at the same time; a further one is closed at once.
const MAX_CONNECTIONS: usize = 64;
/// Tokens of connections have this bit, which no other token has.
pub const TOKEN: u64 = 1 << 62;

#[derive(Debug)]
pub struct Connections {
    listener: UnixListener,
    open: HashMap<u64, (Connection, Registration)>,
    next: u64,
}

impl Connections {
    pub fn new(listener: UnixListener, poller: &Poller, token: u64) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        poller.add(&listener, token, Interest::READ)?;
        Ok(Self { listener, open: HashMap::new(), next: TOKEN })
    }

    pub fn accept(&mut self, poller: &Poller) {
        while let Ok((socket, _)) = self.listener.accept() {
            if self.open.len() >= MAX_CONNECTIONS {
                continue;
            }
            // A connection that cannot be watched is closed; its peer tries again.
            if let Ok(connection) = Connection::new(socket) {
                self.open.insert(self.next, (connection, Registration::default()));
                self.register(poller, self.next, Flow::Open);
                self.next += 1;
            }
        }
    }

    /// Handles an event of a connection and returns the calls that came with it.
    pub fn ready(&mut self, poller: &Poller, event: Event) -> Vec<(Reply, Request)> {
        let Some((connection, _)) = self.open.get_mut(&event.token) else { return Vec::new() };
        let mut calls: Vec<Incoming> = Vec::new();
        let mut flow = Flow::Open;
        if event.writable {
            flow = connection.send();
        }
        if event.readable && flow == Flow::Open {
            flow = connection.receive(&mut calls);
        } else if event.hangup {
            flow = Flow::Closed;
        }
        self.register(poller, event.token, flow);
        let reply = |stream| Reply { connection: event.token, stream };
        calls.into_iter().map(|call| (reply(call.stream), call.request)).collect()
    }

    /// Answers a call, unless its connection is gone.
    pub fn respond(&mut self, poller: &Poller, reply: Reply, result: Result<Vec<u8>, Status>) {
        if let Some((connection, _)) = self.open.get_mut(&reply.connection) {
            let flow = connection.respond(reply.stream, result);
            self.register(poller, reply.connection, flow);
        }
    }

    pub fn is_open(&self, reply: Reply) -> bool {
        self.open.contains_key(&reply.connection)
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub fn has_unsent(&self) -> bool {
        self.open.values().any(|(connection, _)| connection.has_unsent())
    }

    fn register(&mut self, poller: &Poller, token: u64, flow: Flow) {
        let Some((connection, registration)) = self.open.get_mut(&token) else { return };
        let wanted = Interest { read: true, write: connection.has_unsent() };
        if flow == Flow::Closed || registration.set(poller, &*connection, token, Some(wanted)).is_err() {
            self.open.remove(&token);
        }
    }
}
