//! Logs on their way to receivers that come, go, and forget.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use log_drivers::{Dialled, Info, Shipping, Watches, local_log};
use logs::{Cursor, Stream, Timestamp, Writer, WriterConfig};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    _folder: tempfile::TempDir,
    path: PathBuf,
    log: Option<Writer>,
    config: WriterConfig,
    info: Info,
    driver: &'static str,
    shipping: Shipping,
    printed: usize,
}

impl Bench {
    fn new(driver: &'static str, options: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options: BTreeMap<_, _> = options.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let info = Info { options, container_id: ID.to_owned(), name: "web".to_owned(), ..Info::default() };
        let plan = local_log(driver, &info, folder.path()).unwrap().unwrap();
        let config = WriterConfig {
            format: plan.format,
            max_size: plan.max_size,
            max_file: plan.max_file,
            compress: plan.compress,
            numbered: plan.numbered,
            ..WriterConfig::new(plan.path.clone())
        };
        let log = Some(Writer::open(config.clone()).unwrap());
        let shipping = Shipping::new(Watches::new().unwrap());
        Self { _folder: folder, path: plan.path, log, config, info, driver, shipping, printed: 0 }
    }

    async fn dial(&self) -> Dialled {
        Dialled::dial(self.driver, &self.info).await.unwrap().unwrap()
    }

    async fn start(&self) {
        self.shipping.start(ID, self.dial().await, &self.path).await.unwrap();
    }

    /// As a daemon that comes up does it.
    async fn resume(&self) {
        let dialled = Dialled::prepare(self.driver, &self.info).unwrap().unwrap();
        self.shipping.start(ID, dialled, &self.path).await.unwrap();
    }

    fn print(&mut self, count: usize) {
        let text: String = (self.printed..self.printed + count).map(|number| format!("line {number}\n")).collect();
        self.printed += count;
        let log = self.log.as_mut().unwrap();
        log.append(Stream::Stdout, text.as_bytes(), Timestamp::now()).unwrap();
    }

    fn shipped(&self) -> u64 {
        Cursor::peek(&self.path).unwrap().map_or(0, |place| place.ordinal)
    }

    async fn until_shipped(&self, count: u64) {
        let arrived = async {
            while self.shipped() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, arrived)
            .await
            .unwrap_or_else(|_| panic!("{} of {count} arrived", self.shipped()));
    }
}

fn number_of(line: &str) -> usize {
    line.trim_end().rsplit(' ').next().unwrap().parse().unwrap()
}

/// Reads lines until so many have come, then hangs up.
fn receive(stream: &TcpStream, count: usize) -> Vec<usize> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(stream);
    let mut seen = Vec::new();
    while seen.len() < count {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 {
            break;
        }
        seen.push(number_of(&line));
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_up_gets_the_rest_when_it_is_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut bench = Bench::new("syslog", &[("syslog-address", &format!("tcp://{address}"))]);
    bench.start().await;
    bench.print(100);
    let seen = tokio::task::spawn_blocking(move || {
        let (stream, _) = listener.accept().unwrap();
        receive(&stream, 100)
    });
    assert_eq!(seen.await.unwrap(), (0..100).collect::<Vec<_>>());
    bench.until_shipped(100).await;
    // Nobody listens now.
    bench.print(5000);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bench.shipped(), 100, "what nobody has taken has not arrived");
    let listener = TcpListener::bind(address).unwrap();
    let seen = tokio::task::spawn_blocking(move || {
        let (stream, _) = listener.accept().unwrap();
        receive(&stream, 5000)
    });
    assert_eq!(seen.await.unwrap(), (100..5100).collect::<Vec<_>>());
    bench.until_shipped(5100).await;
    bench.shipping.finish(ID, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_the_daemon_it_goes_on_at_the_cursor() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut bench = Bench::new("syslog", &[("syslog-address", &format!("tcp://{address}")), ("cache-max-size", "2k")]);
    bench.print(20);
    bench.start().await;
    bench.until_shipped(20).await;
    bench.shipping.shutdown().await;
    // The container prints on, and is stopped and started, with nobody who ships; the log turns meanwhile.
    bench.print(60);
    bench.log = None;
    bench.log = Some(Writer::open(bench.config.clone()).unwrap());
    bench.print(20);
    bench.resume().await;
    bench.until_shipped(100).await;
    bench.shipping.drain(ID);
    bench.shipping.finish(ID, PATIENCE).await;
    let seen = tokio::task::spawn_blocking(move || {
        let mut seen = Vec::new();
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            seen.extend(text.lines().map(number_of));
        }
        seen
    });
    assert_eq!(seen.await.unwrap(), (0..100).collect::<Vec<_>>());
}

/// Reads one chunk of the forward protocol off a stream: the length of what belongs to it is known by its end.
fn receive_chunk(stream: &mut TcpStream) -> (usize, String) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the stream ends within a chunk");
        bytes.extend_from_slice(&buffer[..count]);
        // `{"chunk": id, "size": n}`: the size is the last thing, a number below 128 here.
        let end = bytes.windows(5).rposition(|window| window == b"\xa4size");
        if let Some(end) = end.filter(|end| bytes.len() == end + 6) {
            let start = bytes.windows(6).rposition(|window| window == b"\xa5chunk").unwrap() + 8;
            let id = String::from_utf8(bytes[start..end].to_vec()).unwrap();
            return (usize::from(bytes[end + 5]), id);
        }
    }
}

fn acknowledge(stream: &mut TcpStream, id: &str) {
    let mut answer = b"\x81\xa3ack\xd9".to_vec();
    answer.push(id.len() as u8);
    answer.extend_from_slice(id.as_bytes());
    stream.write_all(&answer).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_is_not_acknowledged_is_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let options =
        [("fluentd-address", address.as_str()), ("fluentd-request-ack", "true"), ("fluentd-retry-wait", "10ms")];
    let mut bench = Bench::new("fluentd", &options);
    bench.start().await;
    bench.print(50);
    let receiver = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let first = receive_chunk(&mut stream);
        stream.shutdown(Shutdown::Both).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let second = receive_chunk(&mut stream);
        (first, second, stream)
    });
    let (first, second, mut stream) = receiver.await.unwrap();
    assert_eq!((first.0, second.0), (50, 50));
    assert_ne!(first.1, second.1);
    assert_eq!(bench.shipped(), 0, "received is not acknowledged");
    acknowledge(&mut stream, &second.1);
    bench.until_shipped(50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_given_up_only_where_the_options_say_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let options = [
        ("gelf-address", &*format!("tcp://{address}")),
        ("gelf-tcp-max-reconnect", "1"),
        ("gelf-tcp-reconnect-delay", "0"),
    ];
    let mut bench = Bench::new("gelf", &options);
    bench.start().await;
    drop(listener.accept().unwrap());
    drop(listener);
    bench.print(10);
    bench.until_shipped(10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_that_nobody_takes_stay_in_the_log() {
    let probe = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = probe.local_addr().unwrap();
    drop(probe);
    let mut bench = Bench::new("gelf", &[("gelf-address", &format!("udp://{address}"))]);
    bench.start().await;
    bench.print(3);
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(bench.shipped(), 0, "the kernel told that nobody is there");
    let receiver = UdpSocket::bind(address).unwrap();
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    bench.until_shipped(3).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let mut buffer = [0; 2000];
        let count = receiver.recv(&mut buffer).unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&buffer[..count]).read_to_string(&mut text).unwrap();
        let message: serde_json::Value = serde_json::from_str(&text).unwrap();
        seen.push(number_of(message["short_message"].as_str().unwrap()));
    }
    assert_eq!(seen, [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_fails_with_dockers_words_when_nobody_is_there() {
    let dial = |driver: &'static str, options: &[(&str, &str)]| {
        let bench = Bench::new(driver, options);
        async move { Dialled::dial(driver, &bench.info).await.map(drop).unwrap_err().to_string() }
    };
    assert_eq!(
        dial("syslog", &[("syslog-address", "tcp://127.0.0.1:1")]).await,
        "dial tcp 127.0.0.1:1: connect: connection refused"
    );
    assert_eq!(
        dial("fluentd", &[("fluentd-address", "unix:///nowhere/x")]).await,
        "dial unix /nowhere/x: connect: no such file or directory"
    );
    let bench = Bench::new("fluentd", &[("fluentd-address", "unix:///nowhere/x"), ("fluentd-async", "true")]);
    assert!(Dialled::dial("fluentd", &bench.info).await.unwrap().is_some(), "async puts it off");
}
