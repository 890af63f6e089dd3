//! The pump driven by an epoll loop of the test's own, with pipes for a process and sockets for clients.

use logs::poller::{Event, Poller};
use logs::pump::{MAX_REQUEST, Pipes, Pump, PumpConfig};
use logs::{ReadOptions, Reader};
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

struct Bench {
    folder: tempfile::TempDir,
    poller: Poller,
    pump: Pump,
    scratch: Vec<u8>,
}

struct Ends {
    stdin: PipeReader,
    stdout: PipeWriter,
    stderr: PipeWriter,
}

impl Bench {
    fn new(query: &str) -> Self {
        let folder = tempfile::tempdir().expect("tempdir");
        let at = folder.path().display();
        let uri = format!("pump://{at}/attach.sock?log={at}/c-json.log{query}");
        let config = PumpConfig::parse(&uri, false).expect("uri");
        let poller = Poller::new().expect("epoll");
        let pump = Pump::listen(config, &poller, 1 << 16).expect("listen");
        Self { folder, poller, pump, scratch: vec![0; 64 << 10] }
    }

    fn process(&mut self) -> Ends {
        let (stdin, stdin_ours) = pipe().expect("pipe");
        let (stdout_ours, stdout) = pipe().expect("pipe");
        let (stderr_ours, stderr) = pipe().expect("pipe");
        let pipes = Pipes {
            stdin: Some(stdin_ours.into()),
            stdout: Some(stdout_ours.into()),
            stderr: Some(stderr_ours.into()),
        };
        self.pump.connect_pipes(&self.poller, pipes).expect("connect");
        Ends { stdin, stdout, stderr }
    }

    /// Handles events until there are none.
    fn settle(&mut self) {
        let mut events: Vec<Event> = Vec::new();
        for _ in 0..10_000 {
            self.poller.wait(&mut events, Some(Duration::ZERO)).expect("wait");
            if events.is_empty() {
                return;
            }
            for event in &events {
                self.pump.ready(&self.poller, *event, &mut self.scratch);
            }
        }
        panic!("the loop does not come to rest");
    }

    fn end(&mut self) {
        self.pump.end(&self.poller, &mut self.scratch);
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("attach.sock")
    }

    fn attach(&mut self, request: &str) -> UnixStream {
        let mut client = UnixStream::connect(self.socket()).expect("connect");
        client.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
        client.write_all(request.as_bytes()).expect("request");
        client.write_all(b"\n").expect("request");
        self.settle();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).expect("answer");
        assert_eq!(&answer, b"{\"ok\":true}\n");
        client
    }

    fn log(&self) -> Vec<u8> {
        let mut reader = Reader::open(&self.folder.path().join("c-json.log"), ReadOptions::default()).expect("log");
        let mut text = Vec::new();
        while let Some(entry) = reader.next_entry().expect("entry") {
            text.extend(entry.bytes);
        }
        text
    }
}

fn frame(number: u8, text: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number, 0, 0, 0];
    bytes.extend((text.len() as u32).to_be_bytes());
    bytes.extend(text);
    bytes
}

#[test]
fn a_client_from_before_the_start_gets_every_byte_and_then_the_end() {
    let mut bench = Bench::new("");
    let mut client = bench.attach("{\"stdin\":false,\"stdout\":true,\"stderr\":true}");
    let mut quiet = bench.attach("{\"stdout\":false,\"stderr\":true}");
    let mut ends = bench.process();
    ends.stdout.write_all(b"out\n").expect("write");
    bench.settle();
    ends.stderr.write_all(b"err\n").expect("write");
    bench.settle();
    ends.stdout.write_all(b"unfinished").expect("write");
    drop(ends);
    bench.end();
    assert_eq!(bench.log(), b"out\nerr\nunfinished");
    let mut seen = Vec::new();
    client.read_to_end(&mut seen).expect("read");
    assert_eq!(seen, [frame(1, b"out\n"), frame(2, b"err\n"), frame(1, b"unfinished")].concat());
    seen.clear();
    quiet.read_to_end(&mut seen).expect("read");
    assert_eq!(seen, frame(2, b"err\n"));
    assert!(bench.pump.is_settled(Instant::now()) && !bench.pump.has_clients());
    assert!(!bench.socket().exists());
}

#[test]
fn a_grandchild_that_holds_the_pipe_does_not_hold_up_the_end() {
    let mut bench = Bench::new("");
    let mut ends = bench.process();
    let mut grandchild = ends.stdout.try_clone().expect("clone");
    ends.stdout.write_all(b"last words\n").expect("write");
    drop(ends);
    bench.end();
    assert_eq!(bench.log(), b"last words\n");
    assert_eq!(grandchild.write(b"x").expect_err("closed").kind(), std::io::ErrorKind::BrokenPipe);
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody_and_loses_nothing() {
    let mut bench = Bench::new("&max-size=-1");
    let mut client = bench.attach("{\"stdout\":true}");
    let mut ends = bench.process();
    let line = [b'x'; 99];
    let mut written = Vec::new();
    for _ in 0..40_000 {
        ends.stdout.write_all(&line).expect("write");
        ends.stdout.write_all(b"\n").expect("write");
        written.extend(line);
        written.push(b'\n');
        if written.len() % 50_000 == 0 {
            bench.settle();
        }
    }
    drop(ends);
    bench.end();
    assert_eq!(bench.log().len(), written.len());
    assert!(bench.pump.has_clients() && !bench.pump.is_settled(Instant::now()));
    assert!(bench.pump.is_settled(Instant::now() + logs::pump::CLIENT_STALL), "a stalled client is not waited for");
    let reader = std::thread::spawn(move || {
        let mut seen = Vec::new();
        client.read_to_end(&mut seen).expect("read");
        seen
    });
    while bench.pump.has_clients() {
        bench.settle();
    }
    let (seen, mut text) = (reader.join().expect("reader"), Vec::<u8>::new());
    let mut rest = &seen[..];
    while let Some((head, tail)) = rest.split_at_checked(8).filter(|(head, _)| !head.is_empty()) {
        let length = u32::from_be_bytes(head[4..].try_into().expect("four")) as usize;
        text.extend(&tail[..length]);
        rest = &tail[length..];
    }
    assert!(text == written, "every byte, once, in order");
}

#[test]
fn once_closes_stdin_when_the_first_client_that_sends_it_ends() {
    let mut bench = Bench::new("&stdin=once");
    let mut client = bench.attach("{\"stdin\":true,\"stdout\":true}");
    client.write_all(b"before the start ").expect("write");
    bench.settle();
    let mut ends = bench.process();
    client.write_all(b"and after").expect("write");
    client.shutdown(std::net::Shutdown::Write).expect("shutdown");
    bench.settle();
    let mut input = String::new();
    ends.stdin.read_to_string(&mut input).expect("stdin ends");
    assert_eq!(input, "before the start and after");
    ends.stdout.write_all(b"still here\n").expect("write");
    bench.settle();
    let mut seen = [0; 19];
    client.read_exact(&mut seen).expect("a half-closed client goes on reading");
    assert_eq!(seen[..], frame(1, b"still here\n")[..]);
}

#[test]
fn open_keeps_stdin_open_and_the_next_client_goes_on() {
    let mut bench = Bench::new("&stdin=open");
    let mut ends = bench.process();
    for text in ["one", "two"] {
        let mut client = bench.attach("{\"stdin\":true}");
        client.write_all(text.as_bytes()).expect("write");
        drop(client);
        bench.settle();
        let mut input = [0; 3];
        ends.stdin.read_exact(&mut input).expect("stdin");
        assert_eq!(input, text.as_bytes());
    }
    assert!(!bench.pump.has_clients());
    bench.pump.close_stdin(&bench.poller);
    assert_eq!(ends.stdin.read(&mut [0; 1]).expect("closed"), 0);
}

#[test]
fn a_process_that_does_not_read_holds_up_the_sender_and_the_loop_rests() {
    let mut bench = Bench::new("&stdin=once");
    let mut client = bench.attach("{\"stdin\":true}");
    let mut ends = bench.process();
    client.set_nonblocking(true).expect("nonblocking");
    let (mut sent, chunk) = (0, [7; 8192]);
    loop {
        match client.write(&chunk) {
            Ok(count) => sent += count,
            Err(_) => {
                bench.settle();
                if client.write(&[7]).map(|count| sent += count).is_err() {
                    break;
                }
            }
        }
        assert!(sent < 4 << 20, "input is bounded");
    }
    // The sender goes away altogether while its input waits: the loop rests, and nothing of it is lost.
    drop(client);
    bench.settle();
    let reader = std::thread::spawn(move || {
        let mut input = Vec::new();
        ends.stdin.read_to_end(&mut input).expect("stdin");
        input.len()
    });
    while !reader.is_finished() {
        bench.settle();
    }
    assert_eq!(reader.join().expect("reader"), sent);
}

#[test]
fn a_bad_request_is_answered_with_an_error_and_closed() {
    let mut bench = Bench::new("");
    for request in ["not json\n".to_owned(), "x".repeat(MAX_REQUEST + 10)] {
        let mut client = UnixStream::connect(bench.socket()).expect("connect");
        client.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
        client.write_all(request.as_bytes()).expect("request");
        bench.settle();
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("answer");
        assert!(answer.starts_with("{\"error\":\"") && answer.ends_with("\"}\n"), "{answer}");
    }
    assert!(!bench.pump.has_clients());
}
