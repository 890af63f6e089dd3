//! Questions under way to the host's servers: a fresh socket each, over UDP or TCP as the client asked.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};

use network_core::Protocol;

use crate::poller::{EventFlags, Poller, Token};
use crate::socket;

const PORT: u16 = 53;

#[derive(Default)]
pub(crate) struct Upstream {
    sockets: HashMap<u64, Socket>,
}

enum Socket {
    Udp(UdpSocket),
    Tcp { stream: TcpStream, unsent: Vec<u8>, received: Vec<u8> },
}

/// What a socket that became ready brought.
pub(crate) enum Outcome {
    Nothing,
    Answer(Vec<u8>),
    /// The server cannot be reached or broke off.
    Failed,
}

impl Upstream {
    pub(crate) fn ask(
        &mut self,
        poller: &Poller,
        ticket: u64,
        server: IpAddr,
        message: &[u8],
        over_tcp: bool,
    ) -> io::Result<()> {
        let server = SocketAddr::new(server, PORT);
        if over_tcp {
            let stream = socket::connect_to(server, Protocol::Tcp)?;
            poller.add(&stream, Token::Upstream(ticket), EventFlags::OUT)?;
            let mut unsent = (message.len() as u16).to_be_bytes().to_vec();
            unsent.extend_from_slice(message);
            self.sockets.insert(ticket, Socket::Tcp { stream, unsent, received: Vec::new() });
        } else {
            let socket = socket::udp_to(server)?;
            poller.add(&socket, Token::Upstream(ticket), EventFlags::IN)?;
            socket.send(message)?;
            self.sockets.insert(ticket, Socket::Udp(socket));
        }
        Ok(())
    }

    pub(crate) fn forget(&mut self, ticket: u64) {
        self.sockets.remove(&ticket);
    }

    pub(crate) fn ready(&mut self, poller: &Poller, ticket: u64) -> Outcome {
        match self.sockets.get_mut(&ticket) {
            None => Outcome::Nothing,
            Some(Socket::Udp(socket)) => {
                let mut buffer = [0; 4096];
                match socket.recv(&mut buffer) {
                    Ok(length) => Outcome::Answer(buffer[..length].to_vec()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Outcome::Nothing,
                    Err(_) => Outcome::Failed,
                }
            }
            Some(Socket::Tcp { stream, unsent, received }) => match advance(poller, ticket, stream, unsent, received) {
                Ok(None) => Outcome::Nothing,
                Ok(Some(answer)) => Outcome::Answer(answer),
                Err(_) => Outcome::Failed,
            },
        }
    }
}

fn advance(
    poller: &Poller,
    ticket: u64,
    stream: &mut TcpStream,
    unsent: &mut Vec<u8>,
    received: &mut Vec<u8>,
) -> io::Result<Option<Vec<u8>>> {
    if !unsent.is_empty() {
        match stream.write(unsent) {
            Ok(count) => drop(unsent.drain(..count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        if unsent.is_empty() {
            poller.modify(&*stream, Token::Upstream(ticket), EventFlags::IN)?;
        }
        return Ok(None);
    }
    let mut chunk = [0; 4096];
    let count = match stream.read(&mut chunk) {
        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(count) => count,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        Err(error) => return Err(error),
    };
    received.extend_from_slice(&chunk[..count]);
    let Some(length) = received.get(..2).map(|length| usize::from(u16::from_be_bytes([length[0], length[1]]))) else {
        return Ok(None);
    };
    Ok(received.get(2..2 + length).map(<[u8]>::to_vec))
}
