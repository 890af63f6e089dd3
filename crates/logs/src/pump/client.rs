//! One connection to the attach socket: its request, its share of the output, its input.

use super::queue::{Queue, QueueError};
use crate::Stream;
use crate::poller::{Interest, Poller, Registration};
use serde::Deserialize;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// The longest request line.
pub const MAX_REQUEST: usize = 4 << 10;

/// What a client wants, one line of JSON.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
struct Request {
    #[serde(default)]
    stdin: bool,
    #[serde(default)]
    stdout: bool,
    #[serde(default)]
    stderr: bool,
}

/// What reading a client brought.
#[derive(Debug)]
pub enum Input {
    Nothing,
    /// Bytes for the process.
    Bytes(Vec<u8>),
    /// The client that sends stdin has ended it.
    End,
}

#[derive(Debug)]
pub struct Client {
    socket: UnixStream,
    registration: Registration,
    /// Set once the request was read and answered.
    request: Option<Request>,
    unparsed: Vec<u8>,
    queue: Queue,
    input_ended: bool,
    /// No one is there to send to any more, or it is not worth it.
    gone: bool,
    /// Nothing more will be queued: close when the queue is empty.
    last: bool,
    progress: Instant,
}

impl Client {
    pub fn new(socket: UnixStream, queue: Queue) -> std::io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            registration: Registration::default(),
            request: None,
            unparsed: Vec::new(),
            queue,
            input_ended: false,
            gone: false,
            last: false,
            progress: Instant::now(),
        })
    }

    pub fn sends_stdin(&self) -> bool {
        self.request.is_some_and(|request| request.stdin)
    }

    /// When the client last took something, or the queue began to fill.
    pub fn progress(&self) -> Instant {
        self.progress
    }

    /// Whether the connection can be dropped.
    pub fn is_finished(&self) -> bool {
        let sent = self.queue.is_empty() && self.last;
        // Input that is still on its way is taken first, although nobody listens any more.
        sent || (self.gone && (self.input_ended || !self.sends_stdin()))
    }

    /// Nothing more will come: the rest is sent, then the connection is closed.
    pub fn end(&mut self) {
        self.last = true;
        if self.request.is_none() {
            self.gone = true;
        }
    }

    /// The other side is gone; what waits for it is of no use.
    pub fn hang_up(&mut self) {
        self.gone = true;
        if self.request.is_none() {
            self.input_ended = true;
        }
    }

    /// Reads once. Input of a client that sends none is dropped; that of one that does is returned.
    pub fn receive(&mut self, scratch: &mut [u8]) -> Input {
        let count = match self.socket.read(scratch) {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Input::Nothing;
            }
            Err(_) => {
                self.gone = true;
                0
            }
        };
        let bytes = &scratch[..count];
        if count == 0 {
            self.input_ended = true;
            if self.request.is_none() {
                self.gone = true;
            }
            return if self.sends_stdin() { Input::End } else { Input::Nothing };
        }
        let rest = match self.request {
            Some(_) => bytes.to_vec(),
            None => self.parse_request(bytes),
        };
        if rest.is_empty() || !self.sends_stdin() { Input::Nothing } else { Input::Bytes(rest) }
    }

    /// Sends one piece of output, or queues it.
    pub fn output(&mut self, stream: Stream, terminal: bool, bytes: &[u8]) {
        let wanted = self.request.is_some_and(|request| match stream {
            Stream::Stdout => request.stdout,
            Stream::Stderr => request.stderr,
        });
        if !wanted || self.gone || bytes.is_empty() {
            return;
        }
        let mut head = [0; 8];
        head[0] = stream.frame_number();
        head[4..].copy_from_slice(&(bytes.len() as u32).to_be_bytes());
        let head: &[u8] = if terminal { &[] } else { &head };
        let sent = if self.queue.is_empty() { self.send_now(head, bytes) } else { 0 };
        if self.gone {
            return;
        }
        let queued = self
            .queue
            .push(&head[sent.min(head.len())..])
            .and_then(|()| self.queue.push(&bytes[sent.saturating_sub(head.len())..]));
        self.drop_if_failed(queued);
    }

    /// Sends what is queued, as far as the socket takes it.
    pub fn send(&mut self) {
        while !self.gone && !self.queue.is_empty() {
            let front = match self.queue.front() {
                Ok(front) => front,
                Err(error) => return self.drop_if_failed(Err(error)),
            };
            match self.socket.write(front) {
                Ok(count) => {
                    self.queue.consume(count);
                    self.progress = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.gone = true,
            }
        }
    }

    /// Registers for what the client waits for; `stdin_ready` says whether the process takes input now.
    pub fn register(&mut self, poller: &Poller, token: u64, stdin_ready: bool) {
        let read = !self.input_ended && (!self.sends_stdin() || stdin_ready);
        let write = !self.gone && !self.queue.is_empty();
        // A hang-up is reported without pause: once known, the socket is watched for input only.
        let wanted = if self.gone && !read { None } else { Some(Interest { read, write }) };
        if self.registration.set(poller, &self.socket, token, wanted).is_err() {
            self.gone = true;
            self.input_ended = true;
        }
    }

    /// Takes the request line off the first bytes; what follows it is input.
    fn parse_request(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.unparsed.extend_from_slice(bytes);
        let Some(end) = self.unparsed.iter().position(|&byte| byte == b'\n') else {
            if self.unparsed.len() > MAX_REQUEST {
                self.refuse("the request line is too long");
            }
            return Vec::new();
        };
        let line = std::mem::take(&mut self.unparsed);
        if end > MAX_REQUEST {
            self.refuse("the request line is too long");
            return Vec::new();
        }
        match serde_json::from_slice(&line[..end]) {
            Ok(request) => {
                self.request = Some(request);
                let answer = self.queue.push(b"{\"ok\":true}\n");
                self.drop_if_failed(answer);
                self.send();
                line[end + 1..].to_vec()
            }
            Err(_) => {
                self.refuse("the request is not a JSON object of stdin, stdout and stderr");
                Vec::new()
            }
        }
    }

    fn refuse(&mut self, reason: &str) {
        self.unparsed = Vec::new();
        let refused = self.queue.push(format!("{{\"error\":\"{reason}\"}}\n").as_bytes());
        self.drop_if_failed(refused);
        self.send();
        self.last = true;
        self.input_ended = true;
        self.gone |= !self.queue.is_empty();
    }

    fn send_now(&mut self, head: &[u8], bytes: &[u8]) -> usize {
        self.progress = Instant::now();
        match self.socket.write_vectored(&[IoSlice::new(head), IoSlice::new(bytes)]) {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
            Err(_) => {
                self.gone = true;
                0
            }
        }
    }

    /// A client whose output cannot be kept is dropped, never the container.
    fn drop_if_failed(&mut self, result: Result<(), QueueError>) {
        if result.is_err() {
            self.gone = true;
            self.input_ended = true;
        }
    }
}
