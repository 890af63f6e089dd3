//! What others do to packet filter tables, as it happens: nfnetlink's multicast group of nf_tables.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with, sockopt};

use crate::error::{Error, Result};
use crate::message::{HEADER, attributes};

/// `NFNLGRP_NFTABLES` as a bit of the address.
const GROUP_NFTABLES: u32 = 1 << (7 - 1);
/// Changes of thousands of elements arrive in one go.
const RECEIVE_BUFFER: usize = 1024 * 1024;
const DATAGRAM: usize = 64 * 1024;
/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;
/// `NFT_MSG_DELTABLE`, `…DELCHAIN`, `…DELRULE`, `…DELSET`, `…DELSETELEM`.
const DELETIONS: [u16; 5] = [2, 5, 8, 11, 14];

/// Something was taken out of a table, or notices were lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// By the socket with that port ([`crate::Socket::port`]).
    Deletion { table: String, by: u32 },
    /// There was more than the buffer takes: anything may have happened.
    Lost,
}

/// Never blocks; becomes readable when there is something to see.
#[derive(Debug)]
pub struct Watch {
    fd: OwnedFd,
}

impl Watch {
    /// Watches the namespace of the calling thread.
    pub fn open() -> Result<Self> {
        let failed = |action| move |source| Error::Socket { action, source };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd =
            socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(NETFILTER)).map_err(failed("open"))?;
        // Best effort: where it is refused, more is lost, and that is told.
        let _ = sockopt::set_socket_recv_buffer_size_force(&fd, RECEIVE_BUFFER);
        bind(&fd, &SocketAddrNetlink::new(0, GROUP_NFTABLES)).map_err(failed("bind"))?;
        Ok(Self { fd })
    }

    /// What has been seen since the last time; empty when nothing waits.
    pub fn read(&self) -> Result<Vec<Seen>> {
        let mut seen = Vec::new();
        let mut buffer = vec![0; DATAGRAM];
        loop {
            match recv(&self.fd, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((_, length)) => {
                    parse(&buffer[..length.min(DATAGRAM)], &mut seen);
                    seen.dedup();
                }
                Err(Errno::AGAIN) => return Ok(seen),
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => seen.push(Seen::Lost),
                Err(source) => return Err(Error::Socket { action: "read from", source }),
            }
        }
    }
}

fn parse(mut bytes: &[u8], seen: &mut Vec<Seen>) {
    while let Some(header) = bytes.get(..HEADER) {
        let word = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (length, kind) = (word(0) as usize, u16::from_ne_bytes([header[4], header[5]]));
        let Some(payload) = bytes.get(HEADER..length) else { return };
        if kind >> 8 == SUBSYSTEM && DELETIONS.contains(&(kind & 0xff)) {
            // The table's name is the first attribute of all of them, behind `struct nfgenmsg`.
            let mut named = attributes(payload.get(4..).unwrap_or_default()).filter(|attribute| attribute.kind == 1);
            if let Some(table) = named.next().and_then(|attribute| attribute.text().map(str::to_owned)) {
                seen.push(Seen::Deletion { table, by: word(12) });
            }
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
