//! The way of clients' bytes into a process. Only one piece is held: who has more waits in its socket.

use super::StdinMode;
use crate::poller::{Interest, Poller, Registration};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

#[derive(Debug)]
pub struct ProcessInput {
    state: State,
    pending: Vec<u8>,
    /// Close when `pending` is sent.
    closing: bool,
    registration: Registration,
}

#[derive(Debug)]
enum State {
    /// The process is not there yet: clients wait.
    Awaited,
    Open(OwnedFd),
    /// Whatever comes is dropped.
    Closed,
}

impl ProcessInput {
    pub fn new(mode: StdinMode) -> Self {
        let state = if mode == StdinMode::Absent { State::Closed } else { State::Awaited };
        Self { state, pending: Vec::new(), closing: false, registration: Registration::default() }
    }

    pub fn open(&mut self, fd: OwnedFd) {
        if matches!(self.state, State::Awaited) {
            self.state = State::Open(fd);
            self.send();
        }
    }

    /// Whether more can be pushed now.
    pub fn takes_bytes(&self) -> bool {
        match self.state {
            State::Awaited => false,
            State::Open(_) => self.pending.is_empty(),
            State::Closed => true,
        }
    }

    pub fn push(&mut self, bytes: Vec<u8>) {
        if matches!(self.state, State::Closed) || self.closing {
            return;
        }
        // Two clients may have been read in the same round, and a request may bring its first input with it.
        if self.pending.is_empty() {
            self.pending = bytes;
        } else {
            self.pending.extend_from_slice(&bytes);
        }
        self.send();
    }

    pub fn send(&mut self) {
        let State::Open(fd) = &self.state else { return };
        let mut sent = 0;
        while sent < self.pending.len() {
            match rustix::io::write(fd, &self.pending[sent..]) {
                Ok(count) => sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // The process has closed its stdin.
                Err(_) => {
                    sent = self.pending.len();
                    self.closing = true;
                }
            }
        }
        self.pending.drain(..sent);
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
    }

    /// The process reads its end when it has read what is pending.
    pub fn close(&mut self) {
        self.closing = true;
    }

    pub fn end(&mut self, poller: &Poller) {
        self.pending = Vec::new();
        self.closing = true;
        self.register(poller, 0);
        self.state = State::Closed;
    }

    pub fn register(&mut self, poller: &Poller, token: u64) {
        let State::Open(fd) = &self.state else { return };
        let wanted = (!self.pending.is_empty()).then_some(Interest::WRITE);
        // Without a registration the rest is sent with the next push.
        let _ = self.registration.set(poller, fd, token, wanted);
        if self.closing && self.pending.is_empty() {
            self.state = State::Closed;
        }
    }
}
