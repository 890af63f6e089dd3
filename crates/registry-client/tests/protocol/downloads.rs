//! Downloads that break off, start again, and come in parts.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use ids::Reference;
use registry_client::{Credentials, Registries, RegistryError, RegistryOptions, Repository, Verify};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::server::{Server, ok, read, reply};

/// A server that ends each connection after `step` bytes of a body, and knows ranges or does not. Answers its address and
/// the ranges it was asked for.
async fn breaking_server(content: Vec<u8>, step: usize, ranges: bool) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = asked.clone();
    tokio::spawn(async move {
        let mut sent = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            // A greeting of TLS (22) is no request: it is hung up on.
            while request.first() != Some(&22) && !request.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let request = String::from_utf8_lossy(&request).to_ascii_lowercase();
            if request.starts_with("get /v2/ ") {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await.unwrap();
            } else if request.starts_with("get ") {
                let range = request.lines().find_map(|line| line.strip_prefix("range: bytes="));
                log.lock().unwrap().push(range.unwrap_or("all").to_owned());
                let from = if ranges { sent } else { 0 };
                let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
                let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", content.len() - from);
                if from > 0 {
                    head += &format!("Content-Range: bytes {from}-{}/{}\r\n", content.len() - 1, content.len());
                }
                sent = (sent + step).min(content.len());
                let body = [head.as_bytes(), b"\r\n", &content[from..sent]].concat();
                stream.write_all(&body).await.unwrap();
            }
            let _ = stream.shutdown().await;
        }
    });
    (address, asked)
}

#[tokio::test]
async fn a_blob_that_breaks_off_goes_on_where_it_ended() {
    let content: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    for (ranges, expected) in [(true, ["all", "70000-", "140000-"]), (false, ["all", "70000-", "140000-"])] {
        let (address, asked) = breaking_server(content.clone(), 70_000, ranges).await;
        let reference = Reference::parse_familiar(&format!("{address}/app")).unwrap();
        let repository = Registries::new(RegistryOptions::default()).repository(&reference, Credentials::Anonymous);
        let bytes = read(&repository, &content, Verify::Here).await.unwrap();
        assert!(bytes == content, "ranges: {ranges}");
        assert_eq!(*asked.lock().unwrap(), expected);
    }
}

#[tokio::test]
async fn a_download_is_tried_as_often_as_the_options_say() {
    let content: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    for (download_attempts, expected) in [(1, 1), (2, 2), (3, 3)] {
        let (address, asked) = breaking_server(content.clone(), 70_000, true).await;
        let reference = Reference::parse_familiar(&format!("{address}/app")).unwrap();
        let options = RegistryOptions { download_attempts, ..RegistryOptions::default() };
        let repository = Registries::new(options).repository(&reference, Credentials::Anonymous);
        let read = read(&repository, &content, Verify::Here).await;
        assert_eq!(read.is_ok(), download_attempts == 3, "{download_attempts}");
        assert_eq!(asked.lock().unwrap().len(), expected, "{download_attempts}");
    }
}

#[tokio::test]
async fn a_connection_that_brought_something_is_not_counted_when_it_breaks_off() {
    let content: Vec<u8> = (0..8_u32 << 20).map(|n| (n % 251) as u8).collect();
    let (address, asked) = breaking_server(content.clone(), 1200 << 10, true).await;
    let reference = Reference::parse_familiar(&format!("{address}/app")).unwrap();
    let options = RegistryOptions { download_attempts: 2, ..RegistryOptions::default() };
    let repository = Registries::new(options).repository(&reference, Credentials::Anonymous);
    assert!(read(&repository, &content, Verify::Here).await.unwrap() == content);
    assert_eq!(asked.lock().unwrap().len(), 7);
}

#[tokio::test]
async fn a_registry_that_is_restarted_meanwhile_is_waited_for() {
    let content: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sent = content.clone();
    let serving = tokio::spawn(async move {
        // One after the other: a greeting, half of the blob, nobody, the rest.
        let (mut listener, mut from) = (listener, 0);
        while from < sent.len() {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while request.first() != Some(&22) && !request.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            if request.starts_with(b"GET /v2/ ") {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await.unwrap();
            } else if request.starts_with(b"GET ") {
                let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", sent.len() - from);
                let to = if from == 0 { 100_000 } else { sent.len() };
                stream.write_all(&[head.as_bytes(), &sent[from..to]].concat()).await.unwrap();
                let was_first = from == 0;
                from = to;
                if was_first {
                    drop((stream, listener));
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    listener = TcpListener::bind(address).await.unwrap();
                }
            }
        }
    });
    let reference = Reference::parse_familiar(&format!("{address}/app")).unwrap();
    let repository = Registries::new(RegistryOptions::default()).repository(&reference, Credentials::Anonymous);
    assert!(read(&repository, &content, Verify::Here).await.unwrap() == content);
    serving.await.unwrap();
}

#[tokio::test]
async fn other_bytes_too_many_and_too_few_are_told_apart() {
    let content = b"what it should be";
    for (answer, expected) in
        [(&b"what it should bf"[..], "digest"), (b"what it should be, and more", "more"), (b"what", "less")]
    {
        let server =
            Server::start(move |seen, _| if seen.path == "/v2/" { ok() } else { reply(200, &[], answer) }).await;
        let error = read(&server.anonymous(), content, Verify::Here).await.unwrap_err();
        match expected {
            "digest" => assert!(matches!(error, RegistryError::Digest(_)), "{error}"),
            "more" => assert!(matches!(error, RegistryError::TooLarge { .. }), "{error}"),
            _ => assert!(matches!(error, RegistryError::Short { .. } | RegistryError::Protocol(_)), "{error}"),
        }
    }
}

/// A registry that gives parts, each connection at the same slow pace; answers its address, the ranges it was asked for,
/// and the most connections that were open at once.
async fn slow_server(content: Vec<u8>, says_so: bool) -> (SocketAddr, Arc<Mutex<(Vec<String>, usize, usize)>>) {
    const STEP: usize = 64 << 10;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen: Arc<Mutex<(Vec<String>, usize, usize)>> = Arc::default();
    let (log, content) = (seen.clone(), Arc::new(content));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (log, content) = (log.clone(), content.clone());
            tokio::spawn(async move {
                let mut request = Vec::new();
                while request.first() != Some(&22) && !request.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut request).await? == 0 {
                        return Ok(());
                    }
                }
                if request.first() == Some(&22) {
                    return Ok(());
                }
                let request = String::from_utf8_lossy(&request).to_ascii_lowercase();
                if request.starts_with("get /v2/ ") {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                    return stream.write_all(answer).await;
                }
                let range = request.lines().find_map(|line| line.strip_prefix("range: bytes="));
                let (from, to) = range.and_then(|range| range.split_once('-')).unwrap_or(("0", ""));
                let (from, last) = (from.parse().unwrap_or(0), to.parse().unwrap_or(content.len() - 1));
                {
                    let mut log = log.lock().unwrap();
                    log.0.push(range.unwrap_or("all").to_owned());
                    log.1 += 1;
                    log.2 = log.2.max(log.1);
                }
                let ranges = if says_so { "Accept-Ranges: bytes\r\n" } else { "" };
                let part = &content[from..=last];
                let (status, place) = match range {
                    Some(_) => {
                        ("206 Partial Content", format!("Content-Range: bytes {from}-{last}/{}\r\n", content.len()))
                    }
                    None => ("200 OK", String::new()),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{place}{ranges}Connection: close\r\n\r\n",
                    part.len()
                );
                stream.write_all(head.as_bytes()).await?;
                for piece in part.chunks(STEP) {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                    if stream.write_all(piece).await.is_err() {
                        break;
                    }
                }
                log.lock().unwrap().1 -= 1;
                stream.shutdown().await
            });
        }
    });
    (address, seen)
}

#[tokio::test]
async fn a_big_blob_of_a_slow_registry_comes_in_parts_at_once() {
    let content: Vec<u8> = (0..32_u32 << 20).map(|n| (n % 251) as u8).collect();
    for says_so in [true, false] {
        let (address, seen) = slow_server(content.clone(), says_so).await;
        let reference = Reference::parse_familiar(&format!("{address}/app")).unwrap();
        let repository = Registries::new(RegistryOptions::default()).repository(&reference, Credentials::Anonymous);
        assert!(read(&repository, &content, Verify::Here).await.unwrap() == content);
        let (ranges, _, most) = seen.lock().unwrap().clone();
        if says_so {
            assert!(ranges.len() > 4 && most >= 4, "{most} at once: {ranges:?}");
        } else {
            assert_eq!(ranges, ["all"], "who says nothing of ranges is asked for none");
        }
    }
}

#[tokio::test]
async fn slow_downloads_share_the_room_for_parts_and_stay_in_order() {
    let content: Vec<u8> = (0..28_u32 << 20).map(|n| (n % 251) as u8).collect();
    let (address, seen) = slow_server(content.clone(), true).await;
    let registries = Registries::new(RegistryOptions::default());
    let repositories: Vec<Repository> = ["a", "b", "c", "d"]
        .map(|name| Reference::parse_familiar(&format!("{address}/{name}")).unwrap())
        .map(|reference| registries.repository(&reference, Credentials::Anonymous))
        .into();
    let reads = repositories.iter().map(|repository| read(repository, &content, Verify::Here));
    for bytes in futures_util::future::join_all(reads).await {
        assert!(bytes.unwrap() == content);
    }
    // Four that are read, and what is fetched ahead; the server notices a connection that was cut a little later.
    assert!(seen.lock().unwrap().2 <= 4 + 6 + 4, "{} at once", seen.lock().unwrap().2);
}
