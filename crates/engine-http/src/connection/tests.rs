use std::sync::atomic::AtomicBool;

use futures_util::stream;
use http::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

use super::*;
use crate::{hijack, reply};

#[derive(Default)]
struct Switch(AtomicBool);

impl Liveness for Switch {
    fn is_hung_up(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

const PATIENCE: Patience = Patience { head: Duration::from_millis(200), hangup_check: Duration::from_millis(5) };
const SLOW: Duration = Duration::from_millis(500);

struct Session {
    client: DuplexStream,
    served: JoinHandle<()>,
    ending: CancellationToken,
}

/// `/panic` panics, `/slow` takes longer than a head may, `/stream` goes on, `/echo` takes the connection over, the
/// rest says ok.
async fn handler(request: http::Request<Incoming>, _connection: Connection) -> Reply {
    match request.uri().path() {
        "/panic" => panic!("on purpose"),
        "/slow" => {
            tokio::time::sleep(SLOW).await;
            reply::text("late")
        }
        "/stream" => reply::chunks(HeaderValue::from_static("text/plain"), stream::pending()),
        "/echo" => {
            let raw = hijack::raw(request.into_parts().0, "echo");
            tokio::spawn(async move {
                let (mut input, mut output) = tokio::io::split(raw.stream.await.unwrap());
                tokio::io::copy(&mut input, &mut output).await
            });
            raw.reply
        }
        _ => reply::text("OK"),
    }
}

fn open() -> Session {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let ending = CancellationToken::new();
    let connection = Connection {
        peer: Arc::default(),
        liveness: Arc::new(Switch::default()),
        ending: ending.clone(),
        patience: PATIENCE,
    };
    Session { client, served: tokio::spawn(serve(server, connection, handler)), ending }
}

impl Session {
    async fn send(&mut self, text: &str) {
        self.client.write_all(text.as_bytes()).await.unwrap();
    }

    /// Until these words have come.
    async fn expect(&mut self, words: &str) -> String {
        let mut seen = Vec::new();
        let mut piece = [0; 1024];
        while !String::from_utf8_lossy(&seen).contains(words) {
            let length = self.client.read(&mut piece).await.unwrap();
            assert!(length > 0, "ended after {}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&piece[..length]);
        }
        String::from_utf8(seen).unwrap()
    }

    async fn rest(&mut self) -> String {
        let mut text = String::new();
        self.client.read_to_string(&mut text).await.unwrap();
        text
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: d\r\n\r\n";

#[tokio::test]
async fn a_head_that_does_not_end_is_given_up_and_silence_is_not() {
    let mut silent = open();
    tokio::time::sleep(PATIENCE.head * 2).await;
    silent.send(GET).await;
    silent.expect("OK").await;
    tokio::time::sleep(PATIENCE.head * 2).await;
    silent.send(GET).await;
    silent.expect("OK").await;

    let mut slow = open();
    slow.send("GET / HTTP/1.1\r\nHost:").await;
    let before = tokio::time::Instant::now();
    assert_eq!(slow.rest().await, "");
    assert!(before.elapsed() >= PATIENCE.head);
    slow.served.await.unwrap();

    // The second request of a connection is held to the same limit, byte after byte.
    let mut dripping = open();
    dripping.send(GET).await;
    dripping.expect("OK").await;
    let before = tokio::time::Instant::now();
    for byte in "GET / HTTP/1.1\r\nX: ".bytes().chain(std::iter::repeat(b'x')) {
        if dripping.client.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(PATIENCE.head / 10).await;
    }
    assert!(before.elapsed() <= PATIENCE.head * 10, "{:?}", before.elapsed());
}

#[tokio::test]
async fn a_request_may_take_its_time() {
    let mut session = open();
    session.send("GET /slow HTTP/1.1\r\nHost: d\r\n\r\n").await;
    session.expect("late").await;
}

#[tokio::test]
async fn a_connection_that_was_taken_over_may_be_silent_between_words() {
    let mut session = open();
    session.send("POST /echo HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n").await;
    session.expect("\r\n\r\n").await;
    for word in ["first", "second"] {
        session.send(word).await;
        session.expect(word).await;
        tokio::time::sleep(PATIENCE.head * 2).await;
    }
}

#[tokio::test]
async fn a_panic_is_answered_and_the_connection_goes_on() {
    let mut session = open();
    session.send("GET /panic HTTP/1.1\r\nHost: d\r\n\r\n").await;
    let answer = session.expect("}").await;
    assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains(r#"{"message":"#), "{answer}");
    session.send(GET).await;
    session.expect("OK").await;
}

#[tokio::test]
async fn heads_have_limits() {
    let mut many = open();
    let fields: String = (0..=MAX_HEADERS).map(|n| format!("X-{n}: 1\r\n")).collect();
    many.send(&format!("GET / HTTP/1.1\r\n{fields}\r\n")).await;
    assert!(many.expect("\r\n").await.starts_with("HTTP/1.1 431 "));

    let long = open();
    let (mut read, mut write) = tokio::io::split(long.client);
    let writing = tokio::spawn(async move {
        // The server may close before all is written.
        let _ = write.write_all(b"GET / HTTP/1.1\r\nX: ").await;
        let _ = write.write_all(&vec![b'x'; 2 * MAX_HEAD]).await;
    });
    let mut answer = [0; 13];
    read.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431 ");
    writing.abort();
    long.served.abort();

    let mut noise = open();
    noise.send("\x16\x03\x01 what\r\n\r\n").await;
    assert!(noise.rest().await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn going_down_ends_silence_at_once_and_waits_for_requests() {
    let mut silent = open();
    silent.send(GET).await;
    silent.expect("OK").await;
    silent.ending.cancel();
    silent.served.await.unwrap();

    let mut working = open();
    working.send("GET /slow HTTP/1.1\r\nHost: d\r\n\r\n").await;
    tokio::time::sleep(SLOW / 5).await;
    working.ending.cancel();
    let answer = working.rest().await;
    assert!(answer.contains("late") && answer.contains("connection: close"), "{answer}");
    working.served.await.unwrap();
}

#[tokio::test]
async fn a_client_that_hangs_up_is_noticed() {
    let switch = Arc::new(Switch::default());
    let connection = Connection {
        peer: Arc::default(),
        liveness: Arc::clone(&switch) as Arc<dyn Liveness>,
        ending: CancellationToken::new(),
        patience: PATIENCE,
    };
    let waiting = tokio::spawn(async move { connection.hung_up().await });
    tokio::time::sleep(PATIENCE.hangup_check * 10).await;
    assert!(!waiting.is_finished());
    switch.0.store(true, Ordering::Relaxed);
    waiting.await.unwrap();
}
