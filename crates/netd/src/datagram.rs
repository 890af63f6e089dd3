//! Datagrams with the address of ours that they were sent to: an answer leaves from there, or the client does not know it.
//!
//! A socket of a published port is bound to every address of the host. Left to itself the kernel answers from the address of
//! the link that leads to the client, which for a container is its bridge's (ip(7), `IP_PKTINFO`; RFC 3542, 6.1).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::libc::{in_pktinfo, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage, recvmsg, sendmsg,
    setsockopt, sockopt,
};

/// Which address of ours a client knows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Known {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

/// The socket's datagrams come with their destination from now on.
pub(crate) fn tell_destinations(socket: &UdpSocket, is_ipv4: bool) -> io::Result<()> {
    match is_ipv4 {
        true => setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?,
        false => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?,
    }
    Ok(())
}

pub(crate) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, Option<Known>)> {
    let mut space = cmsg_space!(in6_pktinfo);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty())?;
    let client = message.address.and_then(|address| {
        let four = address.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
        four.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
    });
    let client = client.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
    let known = message.cmsgs()?.find_map(|control| match control {
        // The link is the kernel's to choose, but for addresses that are only known on one.
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(Known::V4(in_pktinfo { ipi_ifindex: 0, ..info })),
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let is_of_a_link = info.ipi6_addr.s6_addr[0] == 0xfe && info.ipi6_addr.s6_addr[1] & 0xc0 == 0x80;
            Some(Known::V6(in6_pktinfo { ipi6_ifindex: if is_of_a_link { info.ipi6_ifindex } else { 0 }, ..info }))
        }
        _ => None,
    });
    Ok((message.bytes, client, known))
}

pub(crate) fn answer(socket: &UdpSocket, bytes: &[u8], client: SocketAddr, known: Option<Known>) -> io::Result<()> {
    let parts = [IoSlice::new(bytes)];
    let control = match &known {
        Some(Known::V4(info)) => Some(ControlMessage::Ipv4PacketInfo(info)),
        Some(Known::V6(info)) => Some(ControlMessage::Ipv6PacketInfo(info)),
        None => None,
    };
    let control = control.as_slice();
    let (socket, flags) = (socket.as_raw_fd(), MsgFlags::empty());
    match client {
        SocketAddr::V4(client) => sendmsg(socket, &parts, control, flags, Some(&SockaddrIn::from(client)))?,
        SocketAddr::V6(client) => sendmsg(socket, &parts, control, flags, Some(&SockaddrIn6::from(client)))?,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_answer_comes_from_the_address_that_was_asked() {
        for (any, asked) in [("0.0.0.0:0", "127.0.0.9"), ("[::]:0", "::1")] {
            let server = UdpSocket::bind(any).expect("a socket");
            let port = server.local_addr().expect("an address").port();
            tell_destinations(&server, any.starts_with('0')).expect("the option");
            let client = UdpSocket::bind(any).expect("a socket");
            client.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
            let asked = SocketAddr::new(asked.parse().expect("an address"), port);
            client.send_to(b"there?", asked).expect("sent");
            let mut buffer = [0; 64];
            let (length, from, known) = receive(&server, &mut buffer).expect("the question");
            answer(&server, &buffer[..length], from, known).expect("answered");
            let mut answer = [0; 64];
            assert_eq!(client.recv_from(&mut answer).expect("the answer"), (6, asked));
        }
    }
}
