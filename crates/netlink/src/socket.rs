//! A blocking netlink socket: one send per batch, answers matched by sequence number.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

use crate::error::{Error, Result};
use crate::message::{Batch, HEADER};

/// The kernel answers in microseconds; a lost answer must not hang a daemon.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A dump's datagram is at most 32 KiB (`NLMSG_GOODSIZE` grows to the reader's buffer, capped there).
const RECEIVE_BUFFER: usize = 32 * 1024;
/// A batch travels as one datagram and has to fit the socket's send buffer.
const SEND_BUFFER: usize = 8 * 1024 * 1024;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_MULTI: u16 = 2;

/// The two netlink families this crate speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Route,
    Netfilter,
}

/// A socket of the namespace in which it was opened.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
}

/// How many answers a batch waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    /// Every message asked for an acknowledgement (rtnetlink).
    Each,
    /// Only the message with this number did; errors of others arrive before it (nfnetlink). An error of the first message
    /// ends the wait as well: what refuses the whole batch (a missing privilege) says nothing more.
    Only(u32),
}

impl Socket {
    pub fn open(family: Family) -> Result<Self> {
        let protocol = match family {
            Family::Route => None,
            Family::Netfilter => Some(netlink::NETFILTER),
        };
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
            .map_err(|source| Error::Socket { action: "open", source })?;
        sockopt::set_socket_timeout(&fd, Timeout::Recv, Some(ANSWER_TIMEOUT))
            .map_err(|source| Error::Socket { action: "configure", source })?;
        Ok(Self { fd })
    }

    /// What tells this socket from others of the namespace: the sender of what it does.
    pub fn port(&self) -> Result<u32> {
        let failed = |source| Error::Socket { action: "name", source };
        let address = rustix::net::getsockname(&self.fd).map_err(failed)?;
        Ok(netlink::SocketAddrNetlink::try_from(address).map_err(failed)?.pid())
    }

    /// Sends the batch and waits for its answers. The first refusal is the error; later steps usually fail because of it.
    pub(crate) fn perform(&self, batch: &Batch, answers: Answers) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        self.send(&batch.bytes)?;
        let mut refused: Option<(usize, Errno)> = None;
        let mut acknowledged = 0usize;
        let mut done = false;
        while !done {
            self.receive(|header, payload| {
                if header.kind != NLMSG_ERROR {
                    return;
                }
                let step = header.sequence.saturating_sub(1) as usize;
                let code = payload.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
                if code != 0 && refused.is_none() {
                    refused = Some((step, Errno::from_raw_os_error(-code)));
                }
                acknowledged += 1;
                done |= match answers {
                    Answers::Each => acknowledged >= batch.steps.len(),
                    Answers::Only(sequence) => sequence == header.sequence || (code != 0 && header.sequence == 1),
                };
            })?;
        }
        match refused {
            None => Ok(()),
            Some((step, source)) => {
                let step = batch.steps.get(step).cloned().unwrap_or_else(|| "commit the batch".to_owned());
                Err(Error::Refused { step, source })
            }
        }
    }

    /// Sends one request and hands every message of the answer to `each` as (type, payload).
    pub(crate) fn query(&self, batch: &Batch, mut each: impl FnMut(u16, &[u8])) -> Result<()> {
        self.send(&batch.bytes)?;
        let step = || batch.steps.first().cloned().unwrap_or_default();
        let mut done = false;
        let mut refused = None;
        while !done {
            self.receive(|header, payload| match header.kind {
                NLMSG_DONE => done = true,
                NLMSG_ERROR => {
                    let code = payload.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
                    if code != 0 {
                        refused = Some(Errno::from_raw_os_error(-code));
                    }
                    done = true;
                }
                kind => {
                    each(kind, payload);
                    done |= header.flags & NLM_F_MULTI == 0;
                }
            })?;
        }
        refused.map_or(Ok(()), |source| Err(Error::Refused { step: step(), source }))
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        let broken = |source| Error::Socket { action: "write to", source };
        // The default buffer (212,992) counts overhead too; only batches near it pay for the extra call.
        if bytes.len() > 64 * 1024 {
            let grown = sockopt::set_socket_send_buffer_size_force(&self.fd, SEND_BUFFER);
            grown.or_else(|_| sockopt::set_socket_send_buffer_size(&self.fd, SEND_BUFFER)).map_err(broken)?;
        }
        loop {
            match send(&self.fd, bytes, SendFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(source) => return Err(broken(source)),
            }
        }
    }

    /// Reads one datagram and splits it into its messages.
    fn receive(&self, mut each: impl FnMut(&Header, &[u8])) -> Result<()> {
        let mut buffer = vec![0u8; RECEIVE_BUFFER];
        let length = loop {
            match recv(&self.fd, &mut buffer[..], RecvFlags::empty()) {
                Ok((_, length)) => break length.min(RECEIVE_BUFFER),
                Err(Errno::INTR) => {}
                Err(source) => return Err(Error::Socket { action: "read from", source }),
            }
        };
        let mut rest = &buffer[..length];
        while let Some(header) = Header::parse(rest) {
            let Some(payload) = rest.get(HEADER..header.length) else {
                return Err(Error::Malformed { step: "a request".to_owned() });
            };
            each(&header, payload);
            rest = rest.get(header.length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

struct Header {
    length: usize,
    kind: u16,
    flags: u16,
    sequence: u32,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let half = |at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        bytes.get(..HEADER)?;
        Some(Self { length: word(0)? as usize, kind: half(4)?, flags: half(6)?, sequence: word(8)? })
    }
}
