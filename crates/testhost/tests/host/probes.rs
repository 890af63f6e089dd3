//! Small servers and clients in network namespaces: whether something answers, over TCP or UDP.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use nix::sched::{CloneFlags, setns};

/// What no rule lets through is waited for so long.
const PATIENCE: Duration = Duration::from_millis(700);
/// What shall be reached may still be being set up: a relay, a neighbour.
const LONG_PATIENCE: Duration = Duration::from_secs(10);
const TRY: Duration = Duration::from_millis(350);
const PAUSE: Duration = Duration::from_millis(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// Whose network namespace.
#[derive(Debug, Clone, Copy)]
pub enum World {
    /// The test's own.
    Host,
    /// That of a process.
    Of(u32),
}

/// Runs on a thread of its own in the namespace.
fn inside<T: Send + 'static>(world: World, work: impl FnOnce() -> Result<T> + Send + 'static) -> JoinHandle<Result<T>> {
    spawn(move || {
        if let World::Of(pid) = world {
            setns(File::open(format!("/proc/{pid}/ns/net"))?, CloneFlags::CLONE_NEWNET)?;
        }
        work()
    })
}

fn join<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| Err(anyhow!("panicked")))
}

/// Answers every client on one port, of both protocols and families, until it is ended.
pub struct Server {
    is_over: Arc<AtomicBool>,
    threads: [JoinHandle<Result<()>>; 2],
}

impl Server {
    pub fn start(pid: Option<u32>, port: u16) -> Result<Self> {
        let world = pid.map_or(World::Host, World::Of);
        let sockets = inside(world, move || {
            let any = SocketAddr::from(([0; 16], port));
            let (tcp, udp) = (TcpListener::bind(any)?, UdpSocket::bind(any)?);
            tcp.set_nonblocking(true)?;
            udp.set_nonblocking(true)?;
            Ok((tcp, udp))
        });
        let (tcp, udp) = join(sockets)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let (for_tcp, for_udp) = (Arc::clone(&is_over), Arc::clone(&is_over));
        let serve_tcp = move || {
            while !for_tcp.load(Ordering::Relaxed) {
                match tcp.accept() {
                    // The client may be gone already.
                    Ok((mut stream, _)) => drop(stream.write_all(b"here")),
                    Err(_) => sleep(PAUSE),
                }
            }
            Ok(())
        };
        let serve_udp = move || {
            let mut packet = [0; 64];
            while !for_udp.load(Ordering::Relaxed) {
                match udp.recv_from(&mut packet) {
                    Ok((length, client)) => drop(udp.send_to(&packet[..length], client)),
                    Err(_) => sleep(PAUSE),
                }
            }
            Ok(())
        };
        Ok(Self { is_over, threads: [spawn(serve_tcp), spawn(serve_udp)] })
    }

    /// Closes the sockets: while they are open the namespace stays.
    pub fn end(self) -> Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        self.threads.into_iter().try_for_each(join)
    }
}

/// A question to one address and port.
pub struct Probe {
    pub from: World,
    pub to: (IpAddr, u16),
    pub protocol: Protocol,
    /// What is expected is asked for longer.
    pub is_expected: bool,
}

impl Probe {
    /// Asks everything at once; the answers in the order of the questions.
    pub fn all(probes: Vec<Self>) -> Result<Vec<bool>> {
        let threads: Vec<_> =
            probes.into_iter().map(|probe| inside(probe.from, move || Ok(probe.is_answered()))).collect();
        threads.into_iter().map(join).collect()
    }

    fn is_answered(&self) -> bool {
        let patience = if self.is_expected { LONG_PATIENCE } else { PATIENCE };
        let end = Instant::now() + patience;
        loop {
            let answered = match self.protocol {
                Protocol::Tcp => ask_by_tcp(self.to.into()),
                Protocol::Udp => ask_by_udp(self.to.into()),
            };
            if answered.is_ok_and(|is_answered| is_answered) {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            sleep(PAUSE);
        }
    }
}

/// A relay accepts whatever is behind it: only what the server says counts.
fn ask_by_tcp(to: SocketAddr) -> Result<bool> {
    let mut stream = TcpStream::connect_timeout(&to, TRY)?;
    stream.set_read_timeout(Some(TRY))?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    Ok(&answer == b"here")
}

fn ask_by_udp(to: SocketAddr) -> Result<bool> {
    let any: SocketAddr = if to.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(TRY))?;
    socket.connect(to)?;
    socket.send(b"there?")?;
    let mut answer = [0; 16];
    let length = socket.recv(&mut answer)?;
    Ok(&answer[..length] == b"there?")
}

/// A name server that knows one name, on port 53 of every address of a namespace.
pub struct NameServer {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl NameServer {
    pub fn start(pid: u32, name: &'static str, address: [u8; 4]) -> Result<Self> {
        let socket = join(inside(World::Of(pid), || Ok(UdpSocket::bind("0.0.0.0:53")?)))?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let (is_over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (end, heard) = (Arc::clone(&is_over), Arc::clone(&asked));
        let serve = move || {
            let mut packet = [0; 512];
            while !end.load(Ordering::Relaxed) {
                let Ok((length, client)) = socket.recv_from(&mut packet) else { continue };
                let Some((question, kind, length)) = question(&packet[..length]) else { continue };
                let is_known = question == name;
                heard.lock().expect("no panic holds it").push(question);
                let mut answer = packet[..length].to_vec();
                answer[2..12].copy_from_slice(&[0x85, if is_known { 0x80 } else { 0x83 }, 0, 1, 0, 0, 0, 0, 0, 0]);
                if is_known && kind == 1 {
                    answer[7] = 1;
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                    answer.extend(address);
                }
                // Who asks may be gone already.
                drop(socket.send_to(&answer, client));
            }
            Ok(())
        };
        Ok(Self { is_over, thread: spawn(serve), asked })
    }

    /// How often a name was asked for.
    pub fn count(&self, name: &str) -> usize {
        self.asked.lock().expect("no panic holds it").iter().filter(|asked| *asked == name).count()
    }

    pub fn end(self) -> Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        join(self.thread)
    }
}

/// Name, type, and where the question ends.
fn question(packet: &[u8]) -> Option<(String, u16, usize)> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = packet.get(at..at + 2)?;
    packet.get(at + 4..)?;
    Some((labels.join("."), u16::from_be_bytes([kind[0], kind[1]]), at + 4))
}
