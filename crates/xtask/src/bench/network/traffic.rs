//! Traffic between two network namespaces: bytes in a second, connections, questions to the embedded name server.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::thread::{CpuSet, LinkNameSpaceType, move_into_link_name_space, sched_getaffinity, sched_setaffinity};

const MEASURED: Duration = Duration::from_millis(500);
const BLOCK: usize = 128 << 10;
const PATIENCE: Duration = Duration::from_secs(10);

/// A server in the namespace of one process, a client in that of another, and what the client calls.
pub struct Net {
    pub server: u32,
    pub client: u32,
    pub listen: u16,
    pub to: SocketAddr,
}

/// Runs on a thread of its own in the process's network namespace.
fn inside<T: Send + 'static>(pid: u32, work: impl FnOnce() -> Result<T> + Send + 'static) -> JoinHandle<Result<T>> {
    thread::spawn(move || {
        let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        work()
    })
}

fn join<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| Err(anyhow!("panicked")))
}

fn listen(net: &Net) -> Result<TcpListener> {
    let port = net.listen;
    join(inside(net.server, move || Ok(TcpListener::bind(("0.0.0.0", port))?)))
}

/// Keeps the calling thread on one of the processors that it may have. Where the scheduler happens to put the two ends of
/// a connection makes more of a difference than a packet's way.
fn stay_on(number: usize) -> Result<()> {
    let allowed = sched_getaffinity(None)?;
    let processors: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|processor| allowed.is_set(*processor)).collect();
    let mut one = CpuSet::new();
    one.set(processors[number % processors.len()]);
    Ok(sched_setaffinity(None, &one)?)
}

/// Gigabits a second of one TCP connection, whose ends have a processor each.
pub fn throughput(net: &Net) -> Result<f64> {
    let listener = listen(net)?;
    let server = thread::spawn(move || -> Result<u64> {
        stay_on(0)?;
        let (mut stream, _) = listener.accept()?;
        let (mut block, mut count) = (vec![0; BLOCK], 0);
        loop {
            match stream.read(&mut block)? {
                0 => return Ok(count),
                length => count += length as u64,
            }
        }
    });
    let to = net.to;
    let client = inside(net.client, move || {
        stay_on(1)?;
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        let (block, started) = (vec![7; BLOCK], Instant::now());
        while started.elapsed() < MEASURED {
            stream.write_all(&block)?;
        }
        Ok(started)
    });
    let started = join(client)?;
    let bytes = join(server)?;
    Ok(bytes as f64 * 8.0 / 1e9 / started.elapsed().as_secs_f64())
}

/// Median of so many connections, each with one byte from the server.
pub fn connect_ms(net: &Net, count: usize) -> Result<f64> {
    let listener = listen(net)?;
    let server = thread::spawn(move || -> Result<()> {
        for _ in 0..count {
            listener.accept()?.0.write_all(b"!")?;
        }
        Ok(())
    });
    let to = net.to;
    let client = inside(net.client, move || {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let started = Instant::now();
            TcpStream::connect_timeout(&to, PATIENCE)?.read_exact(&mut [0])?;
            times.push(started.elapsed());
        }
        Ok(times)
    });
    let times = join(client)?;
    join(server)?;
    Ok(super::super::median_ms(times))
}

/// Median of so many questions for an address, to 127.0.0.11 in the process's namespace.
pub fn look_up_ms(pid: u32, name: &'static str, count: usize) -> Result<f64> {
    let client = inside(pid, move || {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect("127.0.0.11:53")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let length = u8::try_from(name.len()).context("a short name")?;
        let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, length];
        question.extend(name.as_bytes());
        question.extend([0, 0, 1, 0, 1]);
        let (mut times, mut answer) = (Vec::with_capacity(count), [0; 512]);
        for _ in 0..count {
            let started = Instant::now();
            socket.send(&question)?;
            let length = socket.recv(&mut answer)?;
            times.push(started.elapsed());
            ensure!(length > question.len() && answer[3] & 0xf == 0, "no address for {name}");
        }
        Ok(times)
    });
    Ok(super::super::median_ms(join(client)?))
}
