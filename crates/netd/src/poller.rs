//! epoll(7), and the tokens that tell whose event it is.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

pub(crate) use rustix::event::epoll::EventFlags;

/// Events taken in one call.
const BATCH: usize = 64;

/// Whose descriptor became ready. Numbers are never used twice, so that a stale event finds nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    ControlListener,
    Control(u64),
    ResolverUdp(u64),
    ResolverTcp(u64),
    ResolverClient(u64),
    Upstream(u64),
    StreamListener(u64),
    StreamFront(u64),
    StreamBack(u64),
    UdpFront(u64),
    UdpBack(u64),
}

const NUMBER_BITS: u32 = 56;

impl Token {
    fn encode(self) -> u64 {
        let (kind, number) = match self {
            Self::ControlListener => (0, 0),
            Self::Control(number) => (1, number),
            Self::ResolverUdp(number) => (2, number),
            Self::ResolverTcp(number) => (3, number),
            Self::ResolverClient(number) => (4, number),
            Self::Upstream(number) => (5, number),
            Self::StreamListener(number) => (6, number),
            Self::StreamFront(number) => (7, number),
            Self::StreamBack(number) => (8, number),
            Self::UdpFront(number) => (9, number),
            Self::UdpBack(number) => (10, number),
        };
        kind << NUMBER_BITS | number
    }

    fn decode(word: u64) -> Self {
        let number = word & ((1 << NUMBER_BITS) - 1);
        match word >> NUMBER_BITS {
            1 => Self::Control(number),
            2 => Self::ResolverUdp(number),
            3 => Self::ResolverTcp(number),
            4 => Self::ResolverClient(number),
            5 => Self::Upstream(number),
            6 => Self::StreamListener(number),
            7 => Self::StreamFront(number),
            8 => Self::StreamBack(number),
            9 => Self::UdpFront(number),
            10 => Self::UdpBack(number),
            _ => Self::ControlListener,
        }
    }
}

pub(crate) struct Poller {
    epoll: OwnedFd,
    next_number: u64,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, next_number: 1 })
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    pub(crate) fn add(&self, source: impl AsFd, token: Token, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, source, epoll::EventData::new_u64(token.encode()), flags)?)
    }

    pub(crate) fn modify(&self, source: impl AsFd, token: Token, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, source, epoll::EventData::new_u64(token.encode()), flags)?)
    }

    pub(crate) fn delete(&self, source: impl AsFd) {
        // Only ever called for what was added; closing the descriptor would do the same.
        let _ = epoll::delete(&self.epoll, source);
    }

    /// Waits until something is ready or the time is over.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<(Token, EventFlags)>> {
        let mut events = [epoll::Event { flags: EventFlags::empty(), data: epoll::EventData::new_u64(0) }; BATCH];
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match epoll::wait(&self.epoll, &mut events[..], timeout.as_ref()) {
            Ok(count) => Ok(events[..count]
                .iter()
                .map(|event| {
                    let (flags, data) = (event.flags, event.data);
                    (Token::decode(data.u64()), flags)
                })
                .collect()),
            Err(Errno::INTR) => Ok(Vec::new()),
            Err(errno) => Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_went() {
        for token in [Token::ControlListener, Token::Control(7), Token::UdpBack((1 << NUMBER_BITS) - 1)] {
            assert_eq!(Token::decode(token.encode()), token);
        }
    }
}
