//! The loop: who became ready, what is due.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dns::Names;
use network_core::netd::{Reply, Request};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, ftruncate, open};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::control::Control;
use crate::error::Error;
use crate::host_servers::HostServers;
use crate::poller::{EventFlags, Poller, Token};
use crate::resolver::Resolver;
use crate::sandboxes::{Parts, Sandboxes};
use crate::socket::Home;
use crate::stream_relay::StreamRelay;
use crate::udp_relay::UdpRelay;

/// How long the lock of a predecessor that is dying is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_RETRY: Duration = Duration::from_millis(2);

#[derive(Debug, Clone)]
pub struct Options {
    pub socket: PathBuf,
    /// Locked as long as the process lives.
    pub pid_file: PathBuf,
    pub resolv_conf: PathBuf,
}

struct Server {
    poller: Poller,
    home: Home,
    control: Control,
    sandboxes: Sandboxes,
    names: Names,
    resolver: Resolver,
    streams: StreamRelay,
    udp: UdpRelay,
}

/// Serves until it is told to end.
pub fn run(options: &Options) -> Result<(), Error> {
    let _lock = lock(&options.pid_file)?;
    raise_descriptor_limit();
    let instance = random_instance()?;
    let started = Instant::now();
    let failed = |action| move |source| Error::Loop { action, source };
    let poller = Poller::new().map_err(failed("create an epoll instance"))?;
    let control = Control::new(listen(&options.socket)?, &poller).map_err(failed("watch the control socket"))?;
    let mut server = Server {
        poller,
        home: Home::remember().map_err(failed("open the own namespace"))?,
        control,
        sandboxes: Sandboxes::default(),
        names: Names::new(),
        resolver: Resolver::new(HostServers::new(options.resolv_conf.clone())),
        streams: StreamRelay::default(),
        udp: UdpRelay::default(),
    };
    loop {
        let deadline = server.next_deadline();
        let timeout = deadline.map(|deadline| deadline.saturating_sub(started.elapsed()));
        let events = server.poller.wait(timeout).map_err(failed("wait for events"))?;
        let now = started.elapsed();
        for (token, flags) in events {
            if server.dispatch(token, flags, now, &instance) {
                // The socket of a successor must not be taken away: remove it while the lock is still ours.
                let _ = std::fs::remove_file(&options.socket);
                return Ok(());
            }
        }
        if deadline.is_some_and(|deadline| deadline <= now) {
            server.expire(now);
        }
    }
}

impl Server {
    fn next_deadline(&self) -> Option<Duration> {
        [self.resolver.next_deadline(), self.streams.next_deadline(), self.udp.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn expire(&mut self, now: Duration) {
        self.resolver.expire(&mut self.poller, now);
        self.streams.wake(&self.poller, now);
        self.udp.expire(now);
    }

    /// True when this was the last.
    fn dispatch(&mut self, token: Token, flags: EventFlags, now: Duration, instance: &str) -> bool {
        let Self { poller, names, resolver, streams, udp, control, .. } = self;
        match token {
            Token::ControlListener => control.accept(poller),
            Token::Control(number) => {
                if flags.contains(EventFlags::OUT) {
                    control.flush(poller, number);
                }
                return self.requests(number, instance);
            }
            Token::ResolverUdp(number) => resolver.udp_ready(poller, names, number, now),
            Token::ResolverTcp(number) => resolver.accept(poller, number, now),
            Token::ResolverClient(id) => resolver.client_ready(poller, names, id, flags, now),
            Token::Upstream(ticket) => resolver.upstream_ready(poller, ticket, now),
            Token::StreamListener(number) => streams.accept(poller, number, now),
            Token::StreamFront(id) | Token::StreamBack(id) => streams.ready(poller, id),
            Token::UdpFront(number) => udp.front_ready(poller, number, now),
            Token::UdpBack(id) => udp.back_ready(id, now),
        }
        false
    }

    fn requests(&mut self, number: u64, instance: &str) -> bool {
        for request in self.control.receive(number) {
            let request = match request {
                Ok(request) => request,
                Err(message) => {
                    self.control.refuse(&self.poller, number, format!("malformed request: {message}"));
                    continue;
                }
            };
            if request == Request::Exit && self.sandboxes.is_empty() {
                self.control.reply(&self.poller, number, &Reply::Done);
                return true;
            }
            let reply = self.perform(request, instance);
            self.control.reply(&self.poller, number, &reply);
        }
        self.control.finish(number);
        false
    }

    fn perform(&mut self, request: Request, instance: &str) -> Reply {
        let Self { poller, home, names, resolver, streams, udp, sandboxes, .. } = self;
        let mut parts = Parts { poller, home, names, resolver, streams, udp };
        match request {
            Request::Hello => Reply::Hello { instance: instance.to_owned(), pid: std::process::id() },
            Request::Set { sandbox } => match sandboxes.set(&mut parts, sandbox) {
                Ok(()) => Reply::Done,
                Err(failure) => Reply::Failed(*failure),
            },
            Request::Remove { id } => {
                sandboxes.remove(&mut parts, &id);
                Reply::Done
            }
            Request::Sync { sandboxes: statements } => {
                let failures = sandboxes.sync(&mut parts, statements);
                if failures.is_empty() { Reply::Done } else { Reply::Partly(failures) }
            }
            Request::List => Reply::Sandboxes(sandboxes.list()),
            Request::Exit => Reply::Failed(network_core::netd::Failure {
                sandbox: String::new(),
                message: "sandboxes are still served".to_owned(),
                port_in_use: None,
                port_refused: None,
            }),
        }
    }
}

/// One docker-netd a daemon: the lock goes with the process, however that ends.
fn lock(path: &Path) -> Result<File, Error> {
    let failed = |action| move |source| Error::File { action, path: path.to_path_buf(), source };
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::from_raw_mode(0o644)).map_err(|errno| failed("open")(errno.into()))?;
    let started = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            // A process that is being killed lets go of its sockets before its lock: whoever saw them close is early here.
            Err(rustix::io::Errno::WOULDBLOCK) if started.elapsed() < LOCK_PATIENCE => std::thread::sleep(LOCK_RETRY),
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(Error::AlreadyRunning { path: path.to_path_buf() }),
            Err(errno) => return Err(failed("lock")(errno.into())),
        }
    }
    ftruncate(&file, 0).map_err(|errno| failed("write")(errno.into()))?;
    let mut file = File::from(file);
    write!(file, "{}", std::process::id()).map_err(failed("write"))?;
    Ok(file)
}

/// Listens under a name of its own and moves it into place, so that nobody ever meets a socket that does not answer.
fn listen(path: &Path) -> Result<UnixListener, Error> {
    let failed = |action| move |source| Error::File { action, path: path.to_path_buf(), source };
    let fresh = path.with_extension("new");
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("replace")(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh).map_err(failed("listen on"))?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600)).map_err(failed("protect"))?;
    std::fs::rename(&fresh, path).map_err(failed("replace"))?;
    Ok(listener)
}

/// Each sandbox and port takes descriptors. A limit that cannot be raised shows when a statement fails.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

fn random_instance() -> Result<String, Error> {
    let mut bytes = [0u8; 8];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| Error::Loop { action: "draw random bytes", source: errno.into() })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
