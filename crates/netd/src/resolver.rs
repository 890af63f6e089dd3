//! The DNS sockets of the sandboxes: questions in, answers out, over UDP and TCP.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use dns::{Answer, Expired, Forwarder, Limits, Names, Query, Reply, Sent, Started, truncated};
use network_core::netd;
use network_core::{EMBEDDED_DNS, Protocol};

use crate::error::Error;
use crate::host_servers::HostServers;
use crate::poller::{EventFlags, Poller, Token};
use crate::port_53;
use crate::socket::{self, Home};
use crate::upstream::{Outcome, Upstream};

const MAX_CLIENTS: usize = 512;
const MAX_CLIENTS_PER_SANDBOX: usize = 32;
/// A connection that says nothing for so long is closed.
const CLIENT_IDLE: Duration = Duration::from_secs(10);
/// Answers that a client does not take.
const MAX_UNSENT: usize = 256 * 1024;
const MAX_QUERY: usize = 4096;
/// Datagrams of one sandbox before the others get their turn.
const ROUNDS: usize = 32;

pub(crate) struct Resolver {
    sandboxes: HashMap<u64, Sandbox>,
    clients: HashMap<u64, Client>,
    forwarder: Forwarder<Asker>,
    upstream: Upstream,
    host: HostServers,
    /// Counts answers, so that the addresses of a shared name go round.
    turn: usize,
}

struct Sandbox {
    id: String,
    upstream: netd::Upstream,
    udp: UdpSocket,
    tcp: TcpListener,
}

/// A TCP connection out of a sandbox.
struct Client {
    sandbox: u64,
    stream: TcpStream,
    received: Vec<u8>,
    unsent: Vec<u8>,
    waits_to_write: bool,
    last_used: Duration,
}

/// Who waits for an upstream's answer.
#[derive(Debug, Clone)]
enum Asker {
    Udp { sandbox: u64, address: SocketAddr },
    Tcp { client: u64 },
}

impl Resolver {
    pub(crate) fn new(host: HostServers) -> Self {
        Self {
            sandboxes: HashMap::new(),
            clients: HashMap::new(),
            forwarder: Forwarder::new(Limits::default()),
            upstream: Upstream::default(),
            host,
            turn: 0,
        }
    }

    /// Opens the sockets inside the namespace and leads port 53 to them.
    pub(crate) fn open(
        &mut self,
        poller: &mut Poller,
        home: &Home,
        id: &str,
        resolver: &netd::Resolver,
    ) -> Result<u64, Error> {
        let failed = |source| Error::Namespace { path: resolver.namespace.clone(), source };
        let sockets = home.visit(&resolver.namespace, || -> Result<_, Error> {
            let any = SocketAddr::new(EMBEDDED_DNS.into(), 0);
            let udp = socket::udp_socket(any).map_err(failed)?;
            let tcp = socket::listener(any, Protocol::Tcp).map_err(failed)?;
            let ports = (udp.local_addr().map_err(failed)?.port(), tcp.local_addr().map_err(failed)?.port());
            port_53::lead(ports)?;
            Ok((udp, tcp))
        });
        let (udp, tcp) = sockets.map_err(failed)??;
        let number = poller.number();
        poller.add(&udp, Token::ResolverUdp(number), EventFlags::IN).map_err(failed)?;
        poller.add(&tcp, Token::ResolverTcp(number), EventFlags::IN).map_err(failed)?;
        let upstream = resolver.upstream.clone();
        self.sandboxes.insert(number, Sandbox { id: id.to_owned(), upstream, udp, tcp });
        Ok(number)
    }

    pub(crate) fn set_upstream(&mut self, number: u64, upstream: &netd::Upstream) {
        if let Some(sandbox) = self.sandboxes.get_mut(&number) {
            sandbox.upstream = upstream.clone();
        }
    }

    /// Closes everything inside the namespace, which would live on with a socket in it.
    pub(crate) fn close(&mut self, number: u64) {
        self.sandboxes.remove(&number);
        self.clients.retain(|_, client| client.sandbox != number);
        for ticket in self.forwarder.forget(number) {
            self.upstream.forget(ticket);
        }
    }

    pub(crate) fn udp_ready(&mut self, poller: &mut Poller, names: &Names, number: u64, now: Duration) {
        let mut buffer = [0; MAX_QUERY + 1];
        for _ in 0..ROUNDS {
            let Some(sandbox) = self.sandboxes.get(&number) else { return };
            let Ok((length, address)) = sandbox.udp.recv_from(&mut buffer) else { return };
            let asker = Asker::Udp { sandbox: number, address };
            if let Some(reply) = self.answer(poller, names, number, &buffer[..length], asker, now)
                && let Some(sandbox) = self.sandboxes.get(&number)
            {
                // A client that does not take its answer asks again.
                let _ = sandbox.udp.send_to(&reply, address);
            }
        }
    }

    pub(crate) fn accept(&mut self, poller: &mut Poller, number: u64, now: Duration) {
        let Some(sandbox) = self.sandboxes.get(&number) else { return };
        let mut own = self.clients.values().filter(|client| client.sandbox == number).count();
        while let Ok((stream, _)) = sandbox.tcp.accept() {
            if own >= MAX_CLIENTS_PER_SANDBOX
                || self.clients.len() >= MAX_CLIENTS
                || stream.set_nonblocking(true).is_err()
            {
                continue;
            }
            let id = poller.number();
            if poller.add(&stream, Token::ResolverClient(id), EventFlags::IN).is_ok() {
                own += 1;
                let client = Client {
                    sandbox: number,
                    stream,
                    received: Vec::new(),
                    unsent: Vec::new(),
                    waits_to_write: false,
                    last_used: now,
                };
                self.clients.insert(id, client);
            }
        }
    }

    pub(crate) fn client_ready(
        &mut self,
        poller: &mut Poller,
        names: &Names,
        id: u64,
        flags: EventFlags,
        now: Duration,
    ) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.last_used = now;
        let number = client.sandbox;
        let (queries, is_open) =
            if flags.intersects(EventFlags::IN | EventFlags::HUP) { client.read() } else { (Vec::new(), true) };
        for query in queries {
            if let Some(reply) = self.answer(poller, names, number, &query, Asker::Tcp { client: id }, now) {
                self.queue(id, &reply);
            }
        }
        if is_open {
            self.flush(poller, id);
        } else {
            self.clients.remove(&id);
        }
    }

    /// The answer, if it can be given at once.
    fn answer(
        &mut self,
        poller: &mut Poller,
        names: &Names,
        number: u64,
        message: &[u8],
        asker: Asker,
        now: Duration,
    ) -> Option<Vec<u8>> {
        let sandbox = self.sandboxes.get(&number)?;
        let query = match Query::parse(message) {
            Ok(query) => query,
            Err(malformed) => return malformed.reply,
        };
        let limit = match asker {
            Asker::Udp { .. } => query.udp_limit(),
            Asker::Tcp { .. } => usize::from(u16::MAX),
        };
        self.turn = self.turn.wrapping_add(1);
        match names.answer(&sandbox.id, &query, self.turn) {
            Answer::Addresses(addresses) => Some(Reply::Addresses(&addresses).encode(&query, limit)),
            Answer::Pointer(name) => Some(Reply::Pointer(&name).encode(&query, limit)),
            Answer::NoData => Some(Reply::NoData.encode(&query, limit)),
            Answer::Unknown => self.forward(poller, number, (&query, message), asker, now),
        }
    }

    /// A failure at once where nobody can be asked; else silence until somebody has answered.
    fn forward(
        &mut self,
        poller: &mut Poller,
        number: u64,
        (query, message): (&Query, &[u8]),
        asker: Asker,
        now: Duration,
    ) -> Option<Vec<u8>> {
        let sandbox = self.sandboxes.get(&number)?;
        let servers: Vec<IpAddr> = match &sandbox.upstream {
            netd::Upstream::Host => self.host.get().to_vec(),
            netd::Upstream::Servers(servers) => servers.clone(),
            netd::Upstream::Nobody => Vec::new(),
        };
        let failure = || Some(Reply::Failure.encode(query, dns::MIN_UDP_SIZE));
        let Some(random) = random_id() else { return failure() };
        let limit = match asker {
            Asker::Udp { .. } => query.udp_limit(),
            Asker::Tcp { .. } => usize::from(u16::MAX),
        };
        match self.forwarder.start(now, random, number, asker, (query, message), &servers) {
            Ok(Started::Sent(sent)) => {
                self.send(poller, sent, now);
                None
            }
            Ok(Started::Known(answer)) => Some(if answer.len() <= limit { answer } else { truncated(&answer) }),
            Err(_) => failure(),
        }
    }

    /// Sends to the server, or to the one behind it where that fails at once.
    fn send(&mut self, poller: &mut Poller, sent: Sent, now: Duration) {
        let mut next = Some(sent);
        while let Some(sent) = next.take() {
            let over_tcp = matches!(self.forwarder.asker(sent.ticket), Some(Asker::Tcp { .. }));
            self.upstream.forget(sent.ticket);
            if self.upstream.ask(poller, sent.ticket, sent.server, &sent.message, over_tcp).is_err() {
                let step = self.forwarder.fail(now, sent.ticket);
                next = self.perform(poller, step);
            }
        }
    }

    /// Gives a failed question's answer to its asker; answers what has to be sent again.
    fn perform(&mut self, poller: &mut Poller, step: Option<Expired<Asker>>) -> Option<Sent> {
        match step? {
            Expired::Again(sent) => Some(sent),
            Expired::Failed { ticket, client, reply } => {
                self.upstream.forget(ticket);
                self.deliver(poller, &client, &reply);
                None
            }
        }
    }

    pub(crate) fn upstream_ready(&mut self, poller: &mut Poller, ticket: u64, now: Duration) {
        match self.upstream.ready(poller, ticket) {
            Outcome::Nothing => {}
            Outcome::Failed => {
                let step = self.forwarder.fail(now, ticket);
                if let Some(sent) = self.perform(poller, step) {
                    self.send(poller, sent, now);
                }
            }
            Outcome::Answer(answer) => {
                let Some((asker, query, answer)) = self.forwarder.receive(now, ticket, &answer) else { return };
                self.upstream.forget(ticket);
                let fits = matches!(asker, Asker::Tcp { .. }) || answer.len() <= query.udp_limit();
                let answer = if fits { answer } else { truncated(&answer) };
                self.deliver(poller, &asker, &answer);
            }
        }
    }

    fn deliver(&mut self, poller: &Poller, asker: &Asker, reply: &[u8]) {
        match asker {
            Asker::Udp { sandbox, address } => {
                if let Some(sandbox) = self.sandboxes.get(sandbox) {
                    let _ = sandbox.udp.send_to(reply, address);
                }
            }
            Asker::Tcp { client } => {
                self.queue(*client, reply);
                self.flush(poller, *client);
            }
        }
    }

    fn queue(&mut self, id: u64, reply: &[u8]) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.unsent.extend_from_slice(&(reply.len() as u16).to_be_bytes());
            client.unsent.extend_from_slice(reply);
        }
    }

    fn flush(&mut self, poller: &Poller, id: u64) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.flush(poller, id).is_err() {
            self.clients.remove(&id);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let idle = self.clients.values().map(|client| client.last_used + CLIENT_IDLE).min();
        [self.forwarder.next_deadline(), idle].into_iter().flatten().min()
    }

    pub(crate) fn expire(&mut self, poller: &mut Poller, now: Duration) {
        for step in self.forwarder.expire(now) {
            if let Some(sent) = self.perform(poller, Some(step)) {
                self.send(poller, sent, now);
            }
        }
        self.clients.retain(|_, client| client.last_used + CLIENT_IDLE > now);
    }
}

impl Client {
    /// Queries that have arrived whole; false when the connection has ended or breaks the framing.
    fn read(&mut self) -> (Vec<Vec<u8>>, bool) {
        let mut chunk = [0; MAX_QUERY];
        let mut queries = Vec::new();
        for _ in 0..ROUNDS {
            match self.stream.read(&mut chunk) {
                Ok(0) => return (queries, false),
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return (queries, false),
            }
            while let Some(prefix) = self.received.get(..2) {
                let length = usize::from(u16::from_be_bytes([prefix[0], prefix[1]]));
                if length > MAX_QUERY {
                    return (queries, false);
                }
                let Some(query) = self.received.get(2..2 + length) else { break };
                queries.push(query.to_vec());
                self.received.drain(..2 + length);
            }
        }
        (queries, true)
    }

    fn flush(&mut self, poller: &Poller, id: u64) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if self.unsent.len() > MAX_UNSENT {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        if self.waits_to_write == self.unsent.is_empty() {
            self.waits_to_write = !self.unsent.is_empty();
            let flags = if self.waits_to_write { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            poller.modify(&self.stream, Token::ResolverClient(id), flags)?;
        }
        Ok(())
    }
}

fn random_id() -> Option<u16> {
    let mut bytes = [0u8; 2];
    let filled = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()).ok()?;
    (filled == bytes.len()).then(|| u16::from_ne_bytes(bytes))
}
