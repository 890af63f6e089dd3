//! Pulls that break off, and archives that nobody takes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::Result;
use testhost::{Engine, Host, wait_until};

use crate::images_archives::{Member, path, tar};

/// Stands before the registry; each connection breaks off after so many bytes of answers, and bytes are counted.
struct Relay {
    passed: Arc<AtomicU64>,
    limit: Arc<AtomicU64>,
}

impl Relay {
    const ADDRESS: &str = "127.0.0.1:5055";

    fn start(limit: u64) -> Result<Self> {
        let relay = Self { passed: Arc::default(), limit: Arc::new(AtomicU64::new(limit)) };
        let listener = TcpListener::bind(Self::ADDRESS)?;
        let (passed, limit) = (relay.passed.clone(), relay.limit.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect("127.0.0.1:5000") else { continue };
                let (passed, limit) = (passed.clone(), limit.clone());
                thread::spawn(move || pass(&client, &server, &passed, &limit));
            }
        });
        Ok(relay)
    }
}

fn pass(client: &TcpStream, server: &TcpStream, passed: &AtomicU64, limit: &AtomicU64) {
    thread::scope(|scope| {
        let (mut from, mut to) = (client, server);
        scope.spawn(move || io::copy(&mut from, &mut to));
        let (mut from, mut to, mut here) = (server, client, 0);
        let mut buffer = [0; 16 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            here += length as u64;
            passed.fetch_add(length as u64, Ordering::Relaxed);
            if here > limit.load(Ordering::Relaxed) || to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    });
}

/// An image of six megabytes that do not get smaller; answers its size.
fn publish_noise(engine: &Engine, image: &str) -> Result<u64> {
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..750_000)
        .flat_map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state ^ (state >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes()
        })
        .collect();
    engine.docker.run_with(&["import", "-", image], &tar(&[Member::File("noise", noise)]))?;
    engine.docker.run(&["push", "-q", image])?;
    engine.docker.run(&["rmi", image])?;
    Ok(6_000_000)
}

pub fn broken_pulls(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let registry = host.registry()?;
    let bytes = publish_noise(&engine, &registry.image("noise:1"))?;
    // Every connection breaks off after a fifth, more often than a download is tried, and the pull goes on each time.
    let relay = Relay::start(bytes / 5 - 50_000)?;
    let image = format!("{}/noise:1", Relay::ADDRESS);
    let pulled = engine.docker.run(&["pull", &image])?;
    assert!(pulled.contains("Download complete"), "{pulled}");
    let passed = relay.passed.load(Ordering::Relaxed);
    assert!(passed < bytes + bytes / 2, "{passed} bytes for {bytes}");
    engine.docker.run(&["rmi", &image])?;

    // A daemon that is killed half-way goes on there when it is back.
    for victim in ["dockerd", "docker-containerd"] {
        relay.passed.store(0, Ordering::Relaxed);
        relay.limit.store(bytes / 2, Ordering::Relaxed);
        let pulling = engine.docker.start(&["pull", &image])?;
        wait_until("a quarter of it", || (relay.passed.load(Ordering::Relaxed) > bytes / 4).then_some(()))?;
        if victim == "dockerd" {
            engine.kill_dockerd()?;
            assert_ne!(pulling.wait()?.code, 0);
            engine.start_again()?;
        } else {
            engine.kill_containerd()?;
            let _ = pulling.wait()?;
            wait_until("an answer", || engine.docker.run(&["images", "-aq"]).ok())?;
        }
        relay.limit.store(u64::MAX, Ordering::Relaxed);
        let pulled = engine.docker.run(&["pull", &image])?;
        assert!(pulled.contains("Status: "), "{pulled}");
        let passed = relay.passed.load(Ordering::Relaxed);
        assert!(passed < 2 * bytes, "{victim}: {passed} bytes for {bytes}");
        engine.docker.run(&["rmi", &image])?;
    }
    empty_of_images(&engine)
}

fn empty_of_images(engine: &Engine) -> Result<()> {
    assert_eq!(engine.docker.run(&["images", "-aq"])?, "");
    Ok(())
}

pub fn stalled_save(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let registry = host.registry()?;
    publish_noise(&engine, &registry.image("noise:1"))?;
    engine.docker.run(&["pull", "-q", &registry.image("noise:1")])?;
    // A client that asks for an archive and does not read it.
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let mut client = UnixStream::connect(engine.socket())?;
        write!(client, "GET /v1.51/images/{}/get HTTP/1.1\r\nHost: x\r\n\r\n", registry.image("noise:1"))?;
        client.read_exact(&mut [0; 64])?;
        stalled.push(client);
    }
    engine.import_busybox("busybox")?;
    assert_eq!(engine.docker.run(&["run", "--rm", "busybox", "echo", "goes on"])?, "goes on");
    engine.docker.run(&["save", "-o", &path(host, "noise.tar"), &registry.image("noise:1")])?;
    Ok(())
}
