//! Clients without tokio: one for an epoll loop, and one that waits, on top of it.

use crate::frame::{self, Decoder, Frame, FrameError};
use crate::{Error, KeyValue, Request, Status};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Unsent calls that may pile up before the connection counts as dead.
pub const MAX_UNSENT: usize = 8 << 20;

/// What came back for a call.
#[derive(Debug)]
pub struct Answer {
    pub stream: u32,
    pub result: Result<Vec<u8>, Status>,
}

/// A connection that never waits: an epoll loop tells it when its socket is ready.
#[derive(Debug)]
pub struct Client {
    socket: UnixStream,
    decoder: Decoder,
    unsent: Vec<u8>,
    next_stream: u32,
}

impl Client {
    /// Connects at once or not at all: a Unix socket whose queue is full counts as away (connect(2), EAGAIN).
    pub fn connect(path: &Path) -> Result<Self, Error> {
        let failed = |source: io::Error| Error::Connect { path: path.display().to_string(), source };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(|errno| failed(errno.into()))?;
        let address = SocketAddrUnix::new(path).map_err(|errno| failed(errno.into()))?;
        connect(&socket, &address).map_err(|errno| failed(errno.into()))?;
        Ok(Self::from_socket(UnixStream::from(socket)))
    }

    fn from_socket(socket: UnixStream) -> Self {
        Self { socket, decoder: Decoder::default(), unsent: Vec::new(), next_stream: 1 }
    }

    /// Queues a call and sends what can be sent; returns the stream number under which the answer will come.
    pub fn call(&mut self, request: &Request) -> Result<u32, Error> {
        let stream = self.next_stream;
        let bytes = frame::encode_request(stream, request).map_err(Error::TooLong)?;
        if self.unsent.len() + bytes.len() > MAX_UNSENT || stream > u32::MAX - 2 {
            return Err(Error::Closed);
        }
        self.next_stream += 2;
        self.unsent.extend_from_slice(&bytes);
        self.send()?;
        Ok(stream)
    }

    /// Sends what is left over. To be called when the socket is writable.
    pub fn send(&mut self) -> Result<(), Error> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match self.socket.write(&self.unsent[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.unsent.drain(..sent);
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        }
        Ok(())
    }

    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Takes what the socket has and appends the answers in it. To be called when the socket is readable.
    pub fn receive(&mut self, answers: &mut Vec<Answer>) -> Result<(), Error> {
        let mut chunk = [0; 4096];
        match self.socket.read(&mut chunk) {
            Ok(0) => return Err(Error::Closed),
            Ok(count) => self.decoder.push(&chunk[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        while let Some(frame) = self.decoder.next_frame() {
            match frame {
                Frame::Message { header, body } if header.kind == frame::TYPE_RESPONSE => {
                    answers.push(Answer { stream: header.stream, result: frame::decode_response(&body)? });
                }
                Frame::Message { header, .. } => return Err(FrameError::UnexpectedType(header.kind).into()),
                Frame::Oversized(header) => return Err(Error::TooLong(header.length as usize)),
            }
        }
        Ok(())
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// One call at a time, waiting for the answer.
#[derive(Debug)]
pub struct BlockingClient {
    client: Client,
}

impl BlockingClient {
    pub fn connect(path: &Path) -> Result<Self, Error> {
        Ok(Self { client: Client::connect(path)? })
    }

    pub fn call(
        &mut self,
        service: &str,
        method: &str,
        payload: Vec<u8>,
        metadata: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<Vec<u8>, Error> {
        let deadline = Instant::now() + timeout;
        let request = request(service, method, payload, metadata, Some(timeout));
        let stream = self.client.call(&request)?;
        let mut answers = Vec::new();
        loop {
            self.client.receive(&mut answers)?;
            // An answer to a call that was given up earlier may come first.
            if let Some(answer) = answers.drain(..).find(|answer| answer.stream == stream) {
                return answer.result.map_err(Error::Status);
            }
            self.wait(deadline)?;
            self.client.send()?;
        }
    }

    fn wait(&self, deadline: Instant) -> Result<(), Error> {
        let left = deadline.checked_duration_since(Instant::now()).ok_or(Error::TimedOut)?;
        let events = if self.client.has_unsent() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let timeout = Timespec::try_from(left).map_err(|_| Error::TimedOut)?;
        match poll(&mut [PollFd::new(&self.client, events)], Some(&timeout)) {
            Ok(0) => Err(Error::TimedOut),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(Error::Io(errno.into())),
        }
    }
}

/// A request message; the server gives up after `timeout` where it can.
pub fn request(
    service: &str,
    method: &str,
    payload: Vec<u8>,
    metadata: &[(&str, &str)],
    timeout: Option<Duration>,
) -> Request {
    let metadata =
        metadata.iter().map(|(key, value)| KeyValue { key: (*key).into(), value: (*value).into() }).collect();
    Request {
        service: service.into(),
        method: method.into(),
        payload,
        timeout_nano: timeout.map_or(0, |timeout| i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX)),
        metadata,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{Connection, Flow};
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_blocking_call_gets_its_answer_or_the_servers_error_or_gives_up_in_time() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).expect("bind");
        let server = std::thread::spawn(move || {
            let (socket, _) = listener.accept().expect("accept");
            let mut connection = Connection::new(socket).expect("nonblocking");
            let mut calls = Vec::new();
            loop {
                poll(&mut [PollFd::new(&connection, PollFlags::IN)], None).expect("poll");
                if connection.receive(&mut calls) == Flow::Closed {
                    return;
                }
                for call in calls.drain(..) {
                    let result = match call.request.method.as_str() {
                        "echo" => Ok(call.request.payload),
                        "silence" => continue,
                        method => Err(Status::unknown_method(&call.request.service, method)),
                    };
                    assert_eq!(connection.respond(call.stream, result), Flow::Open);
                }
            }
        });
        let mut client = BlockingClient::connect(&path).expect("connect");
        let second = Duration::from_secs(10);
        assert_eq!(client.call("s", "echo", vec![7; 100_000], &[], second).expect("echo"), vec![7; 100_000]);
        let error = client.call("s", "silence", vec![], &[], Duration::from_millis(20)).expect_err("silence");
        assert!(matches!(error, Error::TimedOut));
        let error = client.call("s", "other", vec![], &[("key", "value")], second).expect_err("other");
        assert_eq!(error.to_string(), "method s/other is not implemented");
        drop(client);
        server.join().expect("server");
    }

    #[test]
    fn connecting_to_nobody_fails_at_once() {
        let folder = tempfile::tempdir().expect("tempdir");
        let error = Client::connect(&folder.path().join("nobody")).expect_err("nobody");
        assert!(matches!(error, Error::Connect { .. }));
    }
}
