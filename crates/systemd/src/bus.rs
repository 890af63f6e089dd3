//! A connection to a bus, or to the manager itself: who is asking, calls, answers.

use crate::SystemdError;
use crate::wire::{self, Message, Method, Writer};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// As long as runc waits.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Signals that came while an answer was waited for.
const MAX_SIGNALS: usize = 1024;
const MAX_LINE: usize = 512;

#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    serial: u32,
    signals: VecDeque<Message>,
}

impl Bus {
    pub fn connect(path: &Path) -> Result<Self, SystemdError> {
        let failed = |source| SystemdError::Connect { path: path.display().to_string(), source };
        let stream = UnixStream::connect(path).map_err(failed)?;
        stream.set_read_timeout(Some(TIMEOUT)).map_err(failed)?;
        stream.set_write_timeout(Some(TIMEOUT)).map_err(failed)?;
        let mut bus = Self { stream, serial: 0, signals: VecDeque::new() };
        bus.authenticate()?;
        Ok(bus)
    }

    /// EXTERNAL: the kernel tells who is at this end; the number is said as well, in hexadecimal digits of its text.
    fn authenticate(&mut self) -> Result<(), SystemdError> {
        let uid: String = sys::process::uid().to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
        self.send(format!("\0AUTH EXTERNAL {uid}\r\n").as_bytes())?;
        let answer = self.line()?;
        if !answer.starts_with("OK ") {
            return Err(SystemdError::Refused(answer));
        }
        self.send(b"BEGIN\r\n")
    }

    fn line(&mut self) -> Result<String, SystemdError> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).map_err(SystemdError::Io)?;
            line.push(byte[0]);
            if line.len() > MAX_LINE {
                return Err(SystemdError::Malformed("a line without an end"));
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_string())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), SystemdError> {
        self.stream.write_all(bytes).map_err(SystemdError::Io)
    }

    fn receive(&mut self) -> Result<Message, SystemdError> {
        let mut fixed = [0; wire::FIXED];
        self.stream.read_exact(&mut fixed).map_err(SystemdError::Io)?;
        let mut rest = vec![0; wire::length_behind(&fixed)?];
        self.stream.read_exact(&mut rest).map_err(SystemdError::Io)?;
        wire::parse(&fixed, &rest)
    }

    /// Calls and waits for the answer. `unit`: whom it is about, for an error.
    pub fn call(&mut self, method: &Method<'_>, unit: &str, body: Writer) -> Result<Message, SystemdError> {
        self.serial += 1;
        let serial = self.serial;
        self.send(&body.into_call(serial, method))?;
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let message = self.receive()?;
            match message.kind {
                wire::RETURN if message.reply_to == serial => return Ok(message),
                wire::ERROR if message.reply_to == serial => {
                    let text = wire::Reader::new(&message.body).text().unwrap_or_default().to_string();
                    let (unit, name) = (unit.to_string(), message.error_name);
                    return Err(SystemdError::Answer { method: method.member, unit, name, message: text });
                }
                wire::SIGNAL => self.keep(message),
                _ => {}
            }
            check(deadline)?;
        }
    }

    fn keep(&mut self, signal: Message) {
        if self.signals.len() == MAX_SIGNALS {
            self.signals.pop_front();
        }
        self.signals.push_back(signal);
    }

    /// The next signal for which `wanted` answers something.
    pub fn wait_for<T>(&mut self, mut wanted: impl FnMut(&Message) -> Option<T>) -> Result<T, SystemdError> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let message = match self.signals.pop_front() {
                Some(message) => message,
                None => self.receive()?,
            };
            if message.kind == wire::SIGNAL
                && let Some(found) = wanted(&message)
            {
                return Ok(found);
            }
            check(deadline)?;
        }
    }
}

/// A bus that is never silent would otherwise be waited at for ever.
fn check(deadline: Instant) -> Result<(), SystemdError> {
    if Instant::now() < deadline { Ok(()) } else { Err(SystemdError::Io(std::io::ErrorKind::TimedOut.into())) }
}
