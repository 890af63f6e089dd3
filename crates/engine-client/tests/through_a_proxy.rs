//! The client behind a proxy that answers byte for byte what a test writes down.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use engine_api::ApiVersion;
use engine_client::{Client, Endpoint, Host, Request, Tls, VersionChoice, complete_host};

const LIST: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]";

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// One connection on loopback: each head that comes gets the next answer. The heads, at the end.
fn answering(answers: &'static [&'static str]) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let script = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        answers
            .iter()
            .map(|answer| {
                let head = read_head(&mut stream);
                stream.write_all(answer.as_bytes()).unwrap();
                head
            })
            .collect()
    });
    (address, script)
}

fn host(text: &str) -> Host {
    Host::parse(&complete_host(text, false).unwrap()).unwrap()
}

fn client(endpoint: Endpoint, variable: &'static str, proxy: SocketAddr) -> Client {
    let endpoint = endpoint.through_proxy(|name| (name == variable).then(|| format!("http://me:secret@{proxy}")));
    Client::new(endpoint.unwrap(), VersionChoice::Pinned(ApiVersion::MAX), "test")
}

#[tokio::test]
async fn a_plain_daemon_s_proxy_is_told_the_whole_url() {
    let (proxy, script) = answering(&[LIST, LIST]);
    let client = client(host("tcp://daemon.example:2375/base").into(), "HTTP_PROXY", proxy);
    for _ in 0..2 {
        let list: Vec<String> = client.call(Request::get("/images/json").with("all", "1")).await.unwrap();
        assert!(list.is_empty());
    }
    let heads = script.join().unwrap();
    let lines: Vec<&str> = heads[1].split("\r\n").collect();
    assert_eq!(lines[0], "GET http://daemon.example:2375/base/v1.51/images/json?all=1 HTTP/1.1");
    assert!(lines.contains(&"host: daemon.example:2375"), "{lines:?}");
    assert!(lines.contains(&"proxy-authorization: Basic bWU6c2VjcmV0"), "{lines:?}");
}

#[tokio::test]
async fn a_daemon_with_tls_is_reached_through_a_tunnel_or_the_proxy_s_refusal_is_told() {
    let (proxy, script) = answering(&["HTTP/1.1 403 Not from here\r\n\r\n"]);
    let endpoint =
        Endpoint::with_tls(host("tcp://daemon.example:2376"), Tls { skip_verify: true, ..Tls::default() }).unwrap();
    let error = client(endpoint, "HTTPS_PROXY", proxy).call::<Vec<String>>(Request::get("/images/json")).await;
    let error = error.unwrap_err().to_string();
    assert!(error.ends_with("Get \"https://daemon.example:2376/v1.51/images/json\": Not from here"), "{error}");
    let head = &script.join().unwrap()[0];
    assert!(head.starts_with("CONNECT daemon.example:2376 HTTP/1.1\r\nHost: daemon.example:2376\r\n"), "{head}");
    assert!(head.contains("\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n"), "{head}");
}

#[tokio::test]
async fn a_connection_that_is_hijacked_has_no_proxy() {
    let (daemon, script) = answering(&["HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"]);
    // An address of this machine that is not loopback's; and a proxy that nobody can reach.
    let endpoint = Endpoint::from(host(&format!("tcp://0.0.0.0:{}", daemon.port())));
    let client = client(endpoint, "HTTP_PROXY", "192.0.2.1:1".parse().unwrap());
    client.hijack(Request::post("/containers/x/attach")).await.unwrap();
    assert!(script.join().unwrap()[0].starts_with("POST /v1.51/containers/x/attach HTTP/1.1\r\n"));
}
