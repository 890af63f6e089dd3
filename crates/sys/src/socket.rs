//! Unix sockets: pairs, connecting, and descriptors in messages (unix(7), SCM_RIGHTS); what a socket still has to send.

use crate::errno::{check, check_fd, check_unit};
use crate::{Errno, Result};
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

/// A connected pair that keeps message boundaries (SOCK_SEQPACKET), both ends close-on-exec.
pub fn packet_pair() -> Result<(RawFd, RawFd)> {
    let mut fds = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the array has room for the two descriptors.
    check_unit(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) }.into())?;
    Ok((fds[0], fds[1]))
}

/// Connects to a Unix stream socket by its path.
pub fn connect(path: &[u8]) -> Result<RawFd> {
    // SAFETY: the address is plain data; zero is a valid value of it.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as u16;
    if path.len() >= address.sun_path.len() {
        return Err(Errno::ENAMETOOLONG);
    }
    for (to, from) in address.sun_path.iter_mut().zip(path) {
        *to = *from as libc::c_char;
    }
    // SAFETY: no memory is passed.
    let socket = check_fd(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) }.into())?;
    let size = size_of::<libc::sockaddr_un>() as u32;
    // SAFETY: the address outlives the call and its size is given.
    let answer = check_unit(unsafe { libc::connect(socket, (&raw const address).cast(), size) }.into());
    match answer {
        Ok(()) => Ok(socket),
        Err(errno) => {
            crate::file::close(socket);
            Err(errno)
        }
    }
}

/// Bytes that the peer has not acknowledged (tcp(7), SIOCOUTQ), or, of a Unix socket, has not read.
pub fn unsent(socket: RawFd) -> Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: the kernel writes one int into the one that is given.
    check_unit(unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &raw mut count) }.into())?;
    Ok(usize::try_from(count).unwrap_or(0))
}

pub fn send(socket: RawFd, bytes: &[u8]) -> Result<()> {
    // SAFETY: the bytes are readable for their whole length.
    check(unsafe { libc::send(socket, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) } as i64).map(|_| ())
}

/// Room for one descriptor in a control message, aligned as cmsghdr wants it.
#[repr(C, align(8))]
struct Control([u8; 24]);

/// Sends bytes and one descriptor.
pub fn send_fd(socket: RawFd, bytes: &[u8], fd: RawFd) -> Result<()> {
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = Control([0; 24]);
    // SAFETY: msghdr is plain data; zero is a valid value of it.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    // SAFETY: the control buffer has room for one header and one descriptor, and everything outlives the call.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(header).cast::<i32>().write_unaligned(fd);
        check(libc::sendmsg(socket, &raw const message, libc::MSG_NOSIGNAL) as i64).map(|_| ())
    }
}

/// Receives one message, and the descriptor that came with it. No bytes mean that the other end is closed.
pub fn receive(socket: RawFd, buffer: &mut [u8]) -> Result<(usize, Option<RawFd>)> {
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = Control([0; 24]);
    let mut message = MaybeUninit::<libc::msghdr>::zeroed();
    // SAFETY: msghdr is plain data; zero is a valid value of it; all buffers outlive the call.
    unsafe {
        let header = message.as_mut_ptr();
        (*header).msg_iov = &raw mut part;
        (*header).msg_iovlen = 1;
        (*header).msg_control = control.0.as_mut_ptr().cast();
        (*header).msg_controllen = control.0.len() as _;
        let length = loop {
            match check(libc::recvmsg(socket, header, libc::MSG_CMSG_CLOEXEC) as i64) {
                Err(Errno::EINTR) => {}
                other => break other? as usize,
            }
        };
        let first = libc::CMSG_FIRSTHDR(header);
        let carries =
            !first.is_null() && (*first).cmsg_level == libc::SOL_SOCKET && (*first).cmsg_type == libc::SCM_RIGHTS;
        let fd = carries.then(|| libc::CMSG_DATA(first).cast::<i32>().read_unaligned());
        Ok((length, fd))
    }
}
