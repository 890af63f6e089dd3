//! Queries on their way to an upstream server: ids, tries, deadlines and limits.
//!
//! A machine without sockets: [`Forwarder::start`] and [`Forwarder::expire`] say what to send where, the owner sends it
//! from a fresh socket connected to the server, and hands what arrives there to [`Forwarder::receive`]. A fresh port and
//! a random id are what keeps a forged answer out (RFC 5452).

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use errors::{ErrorKind, Kind};

use crate::cache::{Cache, Key};
use crate::message::{HEADER, Query, half};
use crate::reply::Reply;

/// Bounds on what containers can make the server hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub pending: usize,
    pub pending_per_owner: usize,
    /// How long one server may take.
    pub patience: Duration,
    /// How many servers are tried.
    pub tries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pending: 512, pending_per_owner: 100, patience: Duration::from_secs(4), tries: 3 }
    }
}

/// Something to send: to which server, under which ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub ticket: u64,
    pub server: IpAddr,
    pub message: Vec<u8>,
}

/// What becomes of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    Sent(Sent),
    /// Somebody has asked these servers the same before: the answer, with the client's own id.
    Known(Vec<u8>),
}

/// What has to happen to a query whose server did not answer in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expired<C> {
    Again(Sent),
    /// All servers tried: the client gets this answer.
    Failed {
        ticket: u64,
        client: C,
        reply: Vec<u8>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("too many queries wait for an answer")]
    Full,
    #[error("no upstream server is known")]
    NoServer,
}

impl Kind for Refused {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Full => ErrorKind::ResourceExhausted,
            Self::NoServer => ErrorKind::Unavailable,
        }
    }
}

struct Pending<C> {
    client: C,
    owner: u64,
    query: Query,
    message: Vec<u8>,
    id: u16,
    servers: Vec<IpAddr>,
    tried: usize,
    deadline: Duration,
}

/// Queries that wait for an answer; `C` says where it goes.
pub struct Forwarder<C> {
    limits: Limits,
    pending: HashMap<u64, Pending<C>>,
    per_owner: HashMap<u64, usize>,
    next_ticket: u64,
    cache: Cache,
}

impl<C: Clone> Forwarder<C> {
    pub fn new(limits: Limits) -> Self {
        Self { limits, pending: HashMap::new(), per_owner: HashMap::new(), next_ticket: 1, cache: Cache::default() }
    }

    /// `now` is the time since any fixed moment, `random_id` a number that nobody can guess.
    pub fn start(
        &mut self,
        now: Duration,
        random_id: u16,
        owner: u64,
        client: C,
        (query, message): (&Query, &[u8]),
        servers: &[IpAddr],
    ) -> Result<Started, Refused> {
        let server = *servers.first().ok_or(Refused::NoServer)?;
        let servers: Vec<IpAddr> = servers.iter().copied().take(self.limits.tries).collect();
        if let Some(answer) = self.cache.get(&Key::new(&servers, message), query.id, now) {
            return Ok(Started::Known(answer));
        }
        let of_owner = self.per_owner.get(&owner).copied().unwrap_or_default();
        if self.pending.len() >= self.limits.pending || of_owner >= self.limits.pending_per_owner {
            return Err(Refused::Full);
        }
        self.per_owner.insert(owner, of_owner + 1);
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let mut message = message.to_vec();
        message[..2].copy_from_slice(&random_id.to_be_bytes());
        let sent = Sent { ticket, server, message: message.clone() };
        let deadline = now + self.limits.patience;
        let query = query.clone();
        self.pending
            .insert(ticket, Pending { client, owner, query, message, id: random_id, servers, tried: 1, deadline });
        Ok(Started::Sent(sent))
    }

    /// An answer for this ticket: whose it is and how it reads with the client's own id. None: forged or broken, wait on.
    pub fn receive(&mut self, now: Duration, ticket: u64, answer: &[u8]) -> Option<(C, Query, Vec<u8>)> {
        let pending = self.pending.get(&ticket)?;
        if !answers(pending.id, &pending.query, answer) {
            return None;
        }
        let pending = self.take(ticket)?;
        self.cache.keep(Key::new(&pending.servers, &pending.message), answer, now);
        let mut answer = answer.to_vec();
        answer[..2].copy_from_slice(&pending.query.id.to_be_bytes());
        Some((pending.client, pending.query, answer))
    }

    /// The server cannot be reached (a refused connection): the next one's turn at once.
    pub fn fail(&mut self, now: Duration, ticket: u64) -> Option<Expired<C>> {
        let pending = self.pending.get_mut(&ticket)?;
        if let Some(server) = pending.servers.get(pending.tried).copied() {
            pending.tried += 1;
            pending.deadline = now + self.limits.patience;
            return Some(Expired::Again(Sent { ticket, server, message: pending.message.clone() }));
        }
        let pending = self.take(ticket)?;
        let reply = Reply::Failure.encode(&pending.query, crate::MIN_UDP_SIZE);
        Some(Expired::Failed { ticket, client: pending.client, reply })
    }

    /// What is due by now.
    pub fn expire(&mut self, now: Duration) -> Vec<Expired<C>> {
        let mut due: Vec<u64> =
            self.pending.iter().filter(|(_, pending)| pending.deadline <= now).map(|(ticket, _)| *ticket).collect();
        due.sort_unstable();
        due.into_iter().filter_map(|ticket| self.fail(now, ticket)).collect()
    }

    pub fn next_deadline(&self) -> Option<Duration> {
        self.pending.values().map(|pending| pending.deadline).min()
    }

    /// Forgets what an owner waits for; answers the tickets.
    pub fn forget(&mut self, owner: u64) -> Vec<u64> {
        let tickets: Vec<u64> =
            self.pending.iter().filter(|(_, pending)| pending.owner == owner).map(|(ticket, _)| *ticket).collect();
        tickets.iter().for_each(|ticket| drop(self.take(*ticket)));
        tickets
    }

    /// Who waits under that ticket.
    pub fn asker(&self, ticket: u64) -> Option<&C> {
        self.pending.get(&ticket).map(|pending| &pending.client)
    }

    fn take(&mut self, ticket: u64) -> Option<Pending<C>> {
        let pending = self.pending.remove(&ticket)?;
        if let Some(count) = self.per_owner.get_mut(&pending.owner) {
            *count -= 1;
            if *count == 0 {
                self.per_owner.remove(&pending.owner);
            }
        }
        Some(pending)
    }
}

/// RFC 5452, 9.1: the id and the whole question have to be the ones that were asked.
fn answers(id: u16, query: &Query, answer: &[u8]) -> bool {
    let is_response = half(answer, 2).is_some_and(|flags| flags & 0x8000 != 0);
    let question = answer.get(HEADER..HEADER + query.question.len());
    half(answer, 0) == Some(id)
        && is_response
        && half(answer, 4) == Some(1)
        && question.is_some_and(|question| question.eq_ignore_ascii_case(&query.question))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::kind;
    use crate::message::tests::query_bytes;

    const SECOND: Duration = Duration::from_secs(1);

    fn servers() -> Vec<IpAddr> {
        vec![IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])]
    }

    fn start(forwarder: &mut Forwarder<&'static str>, owner: u64) -> Result<Sent, Refused> {
        let bytes = query_bytes(0x1111, "example.org", kind::A, None);
        let query = Query::parse(&bytes).expect("a query");
        match forwarder.start(SECOND, 0xabcd, owner, "client", (&query, &bytes), &servers())? {
            Started::Sent(sent) => Ok(sent),
            Started::Known(answer) => panic!("nobody has asked: {answer:?}"),
        }
    }

    fn answer(sent: &Sent) -> Vec<u8> {
        let mut answer = sent.message.clone();
        answer[2] |= 0x80;
        answer
    }

    #[test]
    fn the_upstream_never_sees_the_clients_id_and_the_client_gets_its_own_back() {
        let mut forwarder = Forwarder::new(Limits::default());
        let sent = start(&mut forwarder, 1).expect("room");
        assert_eq!((sent.server, &sent.message[..2]), (servers()[0], &[0xab, 0xcd][..]));
        let (client, _, reply) = forwarder.receive(SECOND, sent.ticket, &answer(&sent)).expect("an answer");
        assert_eq!((client, &reply[..2]), ("client", &[0x11, 0x11][..]));
        assert_eq!(forwarder.asker(sent.ticket), None);
    }

    #[test]
    fn what_was_answered_is_known_until_its_time_is_over() {
        let mut forwarder = Forwarder::new(Limits::default());
        let bytes = query_bytes(0x2222, "example.org", kind::A, None);
        let query = Query::parse(&bytes).expect("a query");
        let sent = start(&mut forwarder, 1).expect("room");
        let mut with_record = answer(&sent);
        with_record[7] = 1;
        with_record.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 80]);
        assert!(forwarder.receive(SECOND, sent.ticket, &with_record).is_some());
        let mut again = |now| forwarder.start(now, 0xefef, 2, "other", (&query, &bytes), &servers());
        match again(4 * SECOND) {
            Ok(Started::Known(known)) => assert_eq!((&known[..2], known[known.len() - 7]), (&[0x22, 0x22][..], 6)),
            other => panic!("{other:?}"),
        }
        assert!(matches!(again(11 * SECOND), Ok(Started::Sent(_))));
    }

    #[test]
    fn forged_answers_do_not_end_the_wait() {
        let mut forwarder = Forwarder::new(Limits::default());
        let sent = start(&mut forwarder, 1).expect("room");
        let mut wrong_id = answer(&sent);
        wrong_id[0] ^= 1;
        let mut wrong_name = answer(&sent);
        wrong_name[13] = b'x';
        for forged in [wrong_id, wrong_name, sent.message.clone(), Vec::new(), answer(&sent)[..14].to_vec()] {
            assert_eq!(forwarder.receive(SECOND, sent.ticket, &forged), None);
        }
        assert!(forwarder.receive(SECOND, sent.ticket, &answer(&sent)).is_some());
    }

    #[test]
    fn a_silent_server_hands_over_to_the_next_and_the_last_to_a_failure() {
        let mut forwarder = Forwarder::new(Limits::default());
        let sent = start(&mut forwarder, 1).expect("room");
        assert_eq!(forwarder.next_deadline(), Some(5 * SECOND));
        assert_eq!(forwarder.expire(4 * SECOND), []);
        let again = forwarder.expire(5 * SECOND);
        assert_eq!(again, [Expired::Again(Sent { server: servers()[1], ..sent.clone() })]);
        match forwarder.expire(9 * SECOND).as_slice() {
            [Expired::Failed { client: "client", reply, .. }] => assert_eq!((reply[0], reply[3] & 0xf), (0x11, 2)),
            other => panic!("{other:?}"),
        }
        assert_eq!(forwarder.next_deadline(), None);
    }

    #[test]
    fn one_container_cannot_take_all_places() {
        let limits = Limits { pending: 3, pending_per_owner: 2, ..Limits::default() };
        let mut forwarder = Forwarder::new(limits);
        assert!(start(&mut forwarder, 1).is_ok() && start(&mut forwarder, 1).is_ok());
        assert_eq!(start(&mut forwarder, 1), Err(Refused::Full));
        assert!(start(&mut forwarder, 2).is_ok());
        assert_eq!(start(&mut forwarder, 2), Err(Refused::Full));
        assert_eq!(forwarder.forget(1).len(), 2);
        assert!(start(&mut forwarder, 2).is_ok());
    }
}
