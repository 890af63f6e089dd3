//! Events on their way to containerd: in order, each until it is taken, without ever waiting.
//!
//! They go to the ttrpc socket that containerd names in TTRPC_ADDRESS; without one, through its `publish` command. While
//! containerd is away they are kept, up to [`QUEUE_LIMIT`]; a daemon that comes back and connects is tried at once.

use containerd_api::services::events::ttrpc::v1::ForwardRequest;
use containerd_api::types::Envelope;
use containerd_api::{Any, Timestamp, any, method};
use logs::poller::{Event, Interest, Poller, Registration};
use prost::{Message as _, Name};
use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};
use ttrpc::client::{Client, request};

/// Events kept while nobody takes them; beyond, the oldest is dropped, as they say less than the newest.
pub const QUEUE_LIMIT: usize = 2048;
/// Answers that refuse one event before it is dropped; a lost connection does not count.
const MAX_REFUSALS: u32 = 5;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Publisher {
    namespace: String,
    route: Route,
    token: u64,
    queue: VecDeque<Envelope>,
    client: Option<Client>,
    registration: Registration,
    sending: Option<Sending>,
    refusals: u32,
    retry: Duration,
    retry_at: Option<Instant>,
}

#[derive(Debug)]
pub enum Route {
    Ttrpc(PathBuf),
    Command { binary: PathBuf, address: String },
    Nowhere,
}

#[derive(Debug)]
enum Sending {
    Call { stream: u32, until: Instant },
    Child { pid: i32 },
}

impl Publisher {
    pub fn new(namespace: String, route: Route, token: u64) -> Self {
        Self {
            namespace,
            route,
            token,
            queue: VecDeque::new(),
            client: None,
            registration: Registration::default(),
            sending: None,
            refusals: 0,
            retry: FIRST_RETRY,
            retry_at: None,
        }
    }

    pub fn publish(&mut self, poller: &Poller, topic: &str, event: &impl Name) {
        if matches!(self.route, Route::Nowhere) {
            return;
        }
        if self.queue.len() >= QUEUE_LIMIT {
            // The first may be on its way; the second is the oldest that is not.
            self.queue.remove(usize::from(self.sending.is_some()));
        }
        self.queue.push_back(Envelope {
            timestamp: Some(Timestamp::from(SystemTime::now())),
            namespace: self.namespace.clone(),
            topic: topic.to_owned(),
            event: Some(any::pack(event)),
        });
        self.advance(poller, Instant::now());
    }

    /// Whether everything has been taken.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// containerd has just connected: no reason to wait any longer.
    pub fn retry_now(&mut self, poller: &Poller) {
        self.retry = FIRST_RETRY;
        self.retry_at = None;
        self.advance(poller, Instant::now());
    }

    pub fn deadline(&self) -> Option<Instant> {
        match &self.sending {
            Some(Sending::Call { until, .. }) => Some(*until),
            Some(Sending::Child { .. }) => None,
            None => self.retry_at.filter(|_| !self.queue.is_empty()),
        }
    }

    /// To be called when the deadline has passed.
    pub fn advance(&mut self, poller: &Poller, now: Instant) {
        if let Some(Sending::Call { until, .. }) = &self.sending
            && *until <= now
        {
            self.disconnect(now);
        }
        if self.sending.is_some() || self.queue.is_empty() || self.retry_at.is_some_and(|at| at > now) {
            return;
        }
        self.retry_at = None;
        match &self.route {
            Route::Ttrpc(_) => self.send_call(poller, now),
            Route::Command { .. } => self.run_command(now),
            Route::Nowhere => self.queue.clear(),
        }
    }

    /// Handles an event of the connection.
    pub fn ready(&mut self, poller: &Poller, event: Event) {
        let now = Instant::now();
        let Some(client) = &mut self.client else { return };
        let mut answers = Vec::new();
        let received = if event.readable || event.hangup { client.receive(&mut answers) } else { Ok(()) };
        let sent = if event.writable { client.send() } else { Ok(()) };
        for answer in answers {
            if matches!(&self.sending, Some(Sending::Call { stream, .. }) if *stream == answer.stream) {
                self.sending = None;
                self.answered(answer.result.is_ok(), now);
            }
        }
        if received.is_err() || sent.is_err() {
            self.disconnect(now);
        }
        self.register(poller);
        self.advance(poller, now);
    }

    /// Tells that a child has ended; true if it was the publish command.
    pub fn child_ended(&mut self, poller: &Poller, pid: i32, status: u32) -> bool {
        if !matches!(&self.sending, Some(Sending::Child { pid: own }) if *own == pid) {
            return false;
        }
        self.sending = None;
        let now = Instant::now();
        self.answered(status == 0, now);
        self.advance(poller, now);
        true
    }

    fn answered(&mut self, taken: bool, now: Instant) {
        if taken || self.refusals + 1 >= MAX_REFUSALS {
            self.queue.pop_front();
            self.refusals = 0;
            self.retry = FIRST_RETRY;
        } else {
            self.refusals += 1;
            self.wait(now);
        }
    }

    fn wait(&mut self, now: Instant) {
        self.retry_at = Some(now + self.retry);
        self.retry = (self.retry * 2).min(LONGEST_RETRY);
    }

    fn disconnect(&mut self, now: Instant) {
        self.client = None;
        self.registration = Registration::default();
        self.sending = None;
        self.wait(now);
    }

    fn send_call(&mut self, poller: &Poller, now: Instant) {
        let (Route::Ttrpc(path), Some(envelope)) = (&self.route, self.queue.front()) else { return };
        if self.client.is_none() {
            match Client::connect(path) {
                Ok(client) => self.client = Some(client),
                Err(_) => return self.wait(now),
            }
        }
        let payload = ForwardRequest { envelope: Some(envelope.clone()) }.encode_to_vec();
        let metadata = [("containerd-namespace-ttrpc", self.namespace.as_str())];
        let call = request(method::EVENTS, method::events::FORWARD, payload, &metadata, Some(ANSWER_TIMEOUT));
        let Some(client) = &mut self.client else { return };
        match client.call(&call) {
            Ok(stream) => {
                self.sending = Some(Sending::Call { stream, until: now + ANSWER_TIMEOUT });
                self.register(poller);
            }
            Err(_) => self.disconnect(now),
        }
    }

    fn register(&mut self, poller: &Poller) {
        let Some(client) = &self.client else { return };
        let wanted = Interest { read: true, write: client.has_unsent() };
        if self.registration.set(poller, client, self.token, Some(wanted)).is_err() {
            self.disconnect(Instant::now());
        }
    }

    fn run_command(&mut self, now: Instant) {
        let (Route::Command { binary, address }, Some(envelope)) = (&self.route, self.queue.front()) else { return };
        let event = envelope.event.as_ref().map(Any::encode_to_vec).unwrap_or_default();
        let mut command = Command::new(binary);
        command.args(["--address", address, "publish", "--topic", &envelope.topic, "--namespace", &self.namespace]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        match sys::spawn::with_nothing_blocked(&mut command).spawn() {
            Ok(mut child) => {
                // An event is smaller than a pipe, so that writing does not wait.
                let fed = child.stdin.take().map(|mut stdin| stdin.write_all(&event));
                if matches!(fed, Some(Err(_))) {
                    eprintln!("cannot hand an event to {}", binary.display());
                }
                self.sending = Some(Sending::Child { pid: child.id() as i32 });
            }
            Err(_) => self.wait(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use containerd_api::events::TaskStart;
    use std::os::unix::net::UnixListener;
    use ttrpc::server::{Connection, Flow, Incoming};

    fn take(server: &mut Connection) -> Vec<Incoming> {
        let mut calls = Vec::new();
        assert_eq!(server.receive(&mut calls), Flow::Open);
        calls
    }

    fn turn(publisher: &mut Publisher, poller: &Poller) {
        let mut events = Vec::new();
        poller.wait(&mut events, Some(Duration::from_secs(10))).expect("wait");
        for event in events {
            publisher.ready(poller, event);
        }
    }

    fn pid_of(call: &Incoming) -> u32 {
        let forward = ForwardRequest::decode(call.request.payload.as_slice()).expect("forward");
        let event = forward.envelope.and_then(|envelope| envelope.event).expect("event");
        any::unpack::<TaskStart>(&event).expect("start").pid
    }

    #[test]
    fn events_wait_for_a_daemon_that_is_away_and_arrive_in_order() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("socket");
        let poller = Poller::new().expect("epoll");
        let mut publisher = Publisher::new("moby".into(), Route::Ttrpc(path.clone()), 5);
        for pid in 0..3 {
            publisher.publish(&poller, "/tasks/start", &TaskStart { container_id: "c".into(), pid });
        }
        assert!(publisher.deadline().is_some() && !publisher.is_empty());
        let listener = UnixListener::bind(&path).expect("bind");
        publisher.retry_now(&poller);
        let mut server = Connection::new(listener.accept().expect("accept").0).expect("connection");
        let first = take(&mut server);
        assert_eq!(pid_of(&first[0]), 0);
        // The daemon dies with the event in its hands: it is sent again to the next one.
        drop(server);
        turn(&mut publisher, &poller);
        publisher.retry_now(&poller);
        let mut server = Connection::new(listener.accept().expect("accept").0).expect("connection");
        for pid in 0..3 {
            let calls = take(&mut server);
            assert_eq!((calls.len(), pid_of(&calls[0])), (1, pid));
            assert_eq!(server.respond(calls[0].stream, Ok(Vec::new())), Flow::Open);
            turn(&mut publisher, &poller);
        }
        assert!(publisher.is_empty() && publisher.deadline().is_none());
    }

    #[test]
    fn the_queue_is_bounded_and_drops_the_oldest() {
        let poller = Poller::new().expect("epoll");
        let mut publisher = Publisher::new("moby".into(), Route::Ttrpc("/nonexistent/socket".into()), 5);
        for pid in 0..QUEUE_LIMIT as u32 + 10 {
            publisher.publish(&poller, "/tasks/start", &TaskStart { container_id: "c".into(), pid });
        }
        assert_eq!(publisher.queue.len(), QUEUE_LIMIT);
    }
}
