//! The client against a daemon behind TLS: who is trusted, who is known, and what is said when not.

use std::sync::Arc;

use engine_client::{Client, Endpoint, Host, Request, Tls, VersionChoice};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const CA: &[u8] = include_bytes!("pem/ca.pem");
const SERVER: &[u8] = include_bytes!("pem/server.pem");
const SERVER_KEY: &[u8] = include_bytes!("pem/server-key.pem");
const CLIENT: &[u8] = include_bytes!("pem/client.pem");
const CLIENT_KEY: &[u8] = include_bytes!("pem/client-key.pem");

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\n[]";
const PING: &[u8] = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 0\r\n\r\n";

/// Whether the daemon wants to know who asks.
#[derive(Clone, Copy, PartialEq)]
enum Asks {
    Anybody,
    TheKnown,
}

fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(CA).unwrap()).unwrap();
    roots
}

/// Answers every request with an empty list; the port.
async fn daemon(asks: Asks) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match asks {
        Asks::Anybody => builder.with_no_client_auth(),
        Asks::TheKnown => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots()), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = vec![CertificateDer::from_pem_slice(SERVER).unwrap()];
    let config = builder.with_single_cert(chain, PrivateKeyDer::from_pem_slice(SERVER_KEY).unwrap()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // Ends with the test's runtime.
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = Vec::new();
            let mut byte = [0];
            while stream.read(&mut byte).await.unwrap_or(0) == 1 {
                head.push(byte[0]);
                if head.ends_with(b"\r\n\r\n") {
                    let answer = if head.starts_with(b"HEAD") { PING } else { ANSWER };
                    stream.write_all(answer).await.unwrap();
                    head.clear();
                }
            }
        }
    });
    port
}

fn client(name: &str, port: u16, tls: Tls) -> Client {
    let host = Host::parse(&format!("tcp://{name}:{port}")).unwrap();
    Client::new(Endpoint::with_tls(host, tls).unwrap(), VersionChoice::Negotiate, "test")
}

async fn list(name: &str, port: u16, tls: Tls) -> Result<Vec<String>, String> {
    client(name, port, tls).call(Request::get("/images/json")).await.map_err(|error| error.to_string())
}

fn trusting() -> Tls {
    Tls { ca: Some(CA.to_vec()), ..Tls::default() }
}

fn known() -> Tls {
    Tls { cert: Some(CLIENT.to_vec()), key: Some(CLIENT_KEY.to_vec()), ..trusting() }
}

#[tokio::test]
async fn a_daemon_whose_authority_is_trusted_is_spoken_to() {
    let port = daemon(Asks::Anybody).await;
    assert_eq!(list("localhost", port, trusting()).await, Ok(Vec::new()));
    assert_eq!(list("127.0.0.1", port, trusting()).await, Ok(Vec::new()));
    let anybody = Tls { skip_verify: true, ..Tls::default() };
    assert_eq!(list("127.0.0.1", port, anybody).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_daemon_that_nobody_vouches_for_is_refused() {
    let port = daemon(Asks::Anybody).await;
    let error = list("127.0.0.1", port, Tls::default()).await.unwrap_err();
    assert_eq!(
        error,
        format!(
            "error during connect: Get \"https://127.0.0.1:{port}/v1.51/images/json\": tls: failed to verify certificate: x509: certificate signed by unknown authority"
        )
    );
}

#[tokio::test]
async fn a_daemon_that_wants_to_know_who_asks_is_told() {
    let port = daemon(Asks::TheKnown).await;
    assert_eq!(list("127.0.0.1", port, known()).await, Ok(Vec::new()));
    let error = list("127.0.0.1", port, trusting()).await.unwrap_err();
    assert!(error.contains("certificate required"), "{error}");
    assert!(error.starts_with("the server probably has client authentication (--tlsverify) enabled"), "{error}");
}

#[tokio::test]
async fn a_daemon_without_tls_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        }
    });
    let error = list("127.0.0.1", port, trusting()).await.unwrap_err();
    assert!(error.ends_with("http: server gave HTTP response to HTTPS client"), "{error}");
}

#[tokio::test]
async fn a_plain_client_is_told_that_the_daemon_speaks_tls() {
    let port = daemon(Asks::Anybody).await;
    let host = Host::parse(&format!("tcp://127.0.0.1:{port}")).unwrap();
    let plain = Client::new(host, VersionChoice::Negotiate, "test");
    let error = plain.bytes(Request::get("/info")).await.unwrap_err().to_string();
    assert!(error.ends_with("* Are you trying to connect to a TLS-enabled daemon without TLS?"), "{error}");
}

#[test]
fn wrong_files_are_refused_before_anything_is_sent() {
    let host = || Host::parse("tcp://127.0.0.1:1").unwrap();
    let refused = |tls: Tls| Endpoint::with_tls(host(), tls).map(drop).unwrap_err().to_string();
    let garbage = || Some(b"x".to_vec());
    assert_eq!(
        refused(Tls { ca: garbage(), ..Tls::default() }),
        "failed to retrieve context tls info: ca.pem seems invalid"
    );
    assert_eq!(
        refused(Tls { cert: garbage(), key: Some(CLIENT_KEY.to_vec()), ..trusting() }),
        "failed to retrieve context tls info: tls: failed to find any PEM data in certificate input"
    );
    assert_eq!(refused(Tls { key: garbage(), ..known() }), "no valid private key found");
}
