//! One accepted connection of a server that lives in an epoll loop: never waits, is told when its socket is ready.

use crate::frame::{self, Decoder, Frame, Header};
use crate::{Code, Request, Status};
use prost::Message;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// Unsent answers that a peer may leave lying before it is disconnected.
pub const MAX_BACKLOG: usize = 8 << 20;
/// Calls of one connection that may be without an answer.
pub const MAX_IN_FLIGHT: usize = 4096;
/// Bytes taken from the socket in one go, so that one busy peer does not starve the rest of the loop.
const READ_ONCE: usize = 16 << 10;

/// A call that has to be answered with [`Connection::respond`] under the same stream number.
#[derive(Debug)]
pub struct Incoming {
    pub stream: u32,
    pub request: Request,
}

/// Whether a connection lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    Open,
    /// The peer is gone, or has to go: drop the connection.
    Closed,
}

#[derive(Debug)]
pub struct Connection {
    socket: UnixStream,
    decoder: Decoder,
    unsent: Vec<u8>,
    last_stream: u32,
    in_flight: usize,
}

impl Connection {
    pub fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket, decoder: Decoder::default(), unsent: Vec::new(), last_stream: 0, in_flight: 0 })
    }

    /// Takes what the socket has and appends the calls in it to `calls`. To be called when the socket is readable.
    pub fn receive(&mut self, calls: &mut Vec<Incoming>) -> Flow {
        let mut chunk = [0; READ_ONCE];
        match self.socket.read(&mut chunk) {
            Ok(0) => return Flow::Closed,
            Ok(count) => self.decoder.push(&chunk[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Flow::Open,
            Err(_) => return Flow::Closed,
        }
        while let Some(frame) = self.decoder.next_frame() {
            match frame {
                Frame::Oversized(header) => {
                    let text = format!(
                        "message length {} exceed maximum message size of {}",
                        header.length,
                        frame::MAX_MESSAGE
                    );
                    self.refuse(header.stream, Status::new(Code::ResourceExhausted, text));
                }
                Frame::Message { header, body } => self.accept(header, &body, calls),
            }
        }
        self.send()
    }

    /// Answers a call. An answer that is too long becomes an error; a peer that reads none is disconnected.
    pub fn respond(&mut self, stream: u32, result: Result<Vec<u8>, Status>) -> Flow {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.refuse_or_answer(stream, result);
        self.send()
    }

    /// Sends what is left over. To be called when the socket is writable.
    pub fn send(&mut self) -> Flow {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match self.socket.write(&self.unsent[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Flow::Closed,
            }
        }
        if sent == self.unsent.len() {
            self.unsent = Vec::new();
        } else {
            self.unsent.drain(..sent);
        }
        if self.unsent.len() > MAX_BACKLOG { Flow::Closed } else { Flow::Open }
    }

    /// Whether [`send`](Self::send) wants to be called when the socket is writable.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    fn accept(&mut self, header: Header, body: &[u8], calls: &mut Vec<Incoming>) {
        let stream = header.stream;
        match header.kind {
            frame::TYPE_REQUEST => {}
            frame::TYPE_DATA => {
                return self.refuse(stream, Status::new(Code::InvalidArgument, "StreamID is no longer active"));
            }
            // Types that later versions may bring are skipped, as PROTOCOL.md asks.
            _ => return,
        }
        if stream % 2 != 1 {
            let text = "StreamID must be odd for client initiated streams";
            return self.refuse(stream, Status::new(Code::InvalidArgument, text));
        }
        if stream <= self.last_stream {
            let text = "StreamID cannot be re-used and must increment";
            return self.refuse(stream, Status::new(Code::InvalidArgument, text));
        }
        self.last_stream = stream;
        if self.in_flight >= MAX_IN_FLIGHT {
            return self.refuse(stream, Status::new(Code::ResourceExhausted, "too many calls without an answer"));
        }
        match Request::decode(body) {
            Ok(request) => {
                self.in_flight += 1;
                calls.push(Incoming { stream, request });
            }
            Err(error) => {
                self.refuse(stream, Status::new(Code::InvalidArgument, format!("unmarshal request error: {error}")));
            }
        }
    }

    fn refuse(&mut self, stream: u32, status: Status) {
        self.refuse_or_answer(stream, Err(status));
    }

    fn refuse_or_answer(&mut self, stream: u32, result: Result<Vec<u8>, Status>) {
        let bytes = frame::encode_response(stream, result).or_else(|length| {
            let text = format!("message length {length} exceed maximum message size of {}", frame::MAX_MESSAGE);
            frame::encode_response(stream, Err(Status::new(Code::ResourceExhausted, text)))
        });
        self.unsent.extend_from_slice(&bytes.expect("an error message is short"));
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{HEADER_LEN, MAX_MESSAGE, TYPE_REQUEST};

    fn pair() -> (Connection, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("socketpair");
        (Connection::new(ours).expect("nonblocking"), theirs)
    }

    fn answer(peer: &mut UnixStream) -> (u32, Result<Vec<u8>, Status>) {
        let mut head = [0; HEADER_LEN];
        peer.read_exact(&mut head).expect("header");
        let header = Header::decode(&head);
        let mut body = vec![0; header.length as usize];
        peer.read_exact(&mut body).expect("body");
        (header.stream, frame::decode_response(&body).expect("response"))
    }

    #[test]
    fn answers_may_come_in_another_order_than_the_calls() {
        let (mut server, mut peer) = pair();
        for stream in [1, 3] {
            let request = Request { service: "s".into(), method: stream.to_string(), ..Request::default() };
            peer.write_all(&frame::encode_request(stream, &request).expect("short")).expect("write");
        }
        let mut calls = Vec::new();
        assert_eq!(server.receive(&mut calls), Flow::Open);
        assert_eq!(calls.iter().map(|call| call.request.method.as_str()).collect::<Vec<_>>(), ["1", "3"]);
        assert_eq!(server.respond(3, Ok(vec![3])), Flow::Open);
        assert_eq!(server.respond(1, Ok(vec![1])), Flow::Open);
        assert_eq!(answer(&mut peer), (3, Ok(vec![3])));
        assert_eq!(answer(&mut peer), (1, Ok(vec![1])));
    }

    #[test]
    fn a_reused_stream_an_even_stream_and_an_oversized_message_are_refused_and_the_connection_lives() {
        let (mut server, mut peer) = pair();
        let good = frame::encode_request(5, &Request::default()).expect("short");
        peer.write_all(&good).expect("write");
        peer.write_all(&good).expect("write");
        peer.write_all(&frame::encode_request(6, &Request::default()).expect("short")).expect("write");
        let huge = Header { length: (MAX_MESSAGE + 1) as u32, stream: 7, kind: TYPE_REQUEST, flags: 0 };
        peer.write_all(&huge.encode()).expect("write");
        let mut calls = Vec::new();
        assert_eq!(server.receive(&mut calls), Flow::Open);
        assert_eq!(calls.len(), 1);
        assert_eq!(answer(&mut peer).1.expect_err("reused").code, Code::InvalidArgument);
        assert_eq!(answer(&mut peer).1.expect_err("even").code, Code::InvalidArgument);
        assert_eq!(answer(&mut peer).1.expect_err("huge").code, Code::ResourceExhausted);
    }

    #[test]
    fn a_peer_that_reads_no_answers_is_disconnected_at_the_limit() {
        let (mut server, _peer) = pair();
        let mut answers = 0;
        while server.respond(1, Ok(vec![0; 1 << 20])) == Flow::Open {
            answers += 1;
            assert!(answers < 16, "the backlog is bounded");
        }
        assert!(answers >= 7);
    }

    #[test]
    fn a_peer_that_goes_away_closes_the_connection() {
        let (mut server, peer) = pair();
        drop(peer);
        assert_eq!(server.receive(&mut Vec::new()), Flow::Closed);
    }
}
