//! Registries behind HTTP and SOCKS proxies.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use ids::Reference;
use registry_client::{Credentials, Proxies, Registries, RegistryOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::server::{Server, ok, reply};

#[tokio::test]
async fn a_proxy_stands_between_us_and_every_registry_but_those_excepted() {
    let proxy = Server::start(|seen, _| match seen.method.as_str() {
        "CONNECT" => reply(403, &[], ""),
        _ if seen.header("proxy-authorization") == Some("Basic dTpw") => reply(200, &[], "{}"),
        _ => reply(407, &[], ""),
    })
    .await;
    let url = format!("http://u:p@{}", proxy.address);
    let proxies = Proxies { http: url.clone(), https: url, none: "direct.test".to_owned() };
    let insecure = vec!["registry.test:5000".to_owned(), "direct.test:5000".to_owned()];
    let registries = Registries::new(RegistryOptions { proxies, insecure, ..RegistryOptions::default() });
    let repository =
        |name: &str| registries.repository(&Reference::parse_familiar(name).unwrap(), Credentials::Anonymous);
    repository("registry.test:5000/app").manifest("1").await.unwrap();
    let seen = proxy.seen();
    assert_eq!(seen[0].method, "CONNECT");
    assert_eq!(seen[0].header("host"), Some("registry.test:5000"));
    assert!(seen.iter().any(|seen| seen.method == "GET" && seen.header("host") == Some("registry.test:5000")));
    let count = seen.len();
    // Its name is resolved here, and nobody has it.
    assert!(repository("direct.test:5000/app").ping().await.is_err());
    assert_eq!(proxy.seen().len(), count);
}

/// A SOCKS5 proxy for whom these bytes are a login; answers its address and the targets that it was asked for.
async fn socks_proxy(login: Option<&'static [u8]>, to: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let log = log.clone();
            tokio::spawn(async move {
                let mut head = [0; 2];
                client.read_exact(&mut head).await?;
                client.read_exact(&mut vec![0; usize::from(head[1])]).await?;
                client.write_all(&[5, if login.is_some() { 2 } else { 0 }]).await?;
                if let Some(login) = login {
                    let mut given = vec![0; login.len()];
                    client.read_exact(&mut given).await?;
                    client.write_all(&[1, u8::from(given != login)]).await?;
                }
                let mut request = [0; 5];
                client.read_exact(&mut request).await?;
                let mut name = vec![0; usize::from(request[4]) + 2];
                client.read_exact(&mut name).await?;
                let port = u16::from_be_bytes([name[name.len() - 2], name[name.len() - 1]]);
                log.lock().unwrap().push(format!("{}:{port}", String::from_utf8_lossy(&name[..name.len() - 2])));
                client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
                let mut server = tokio::net::TcpStream::connect(to).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
            });
        }
    });
    (address, asked)
}

#[tokio::test]
async fn a_socks_proxy_finds_the_registry_by_its_name() {
    let server = Server::start(|seen, _| match seen.header("proxy-authorization") {
        None if seen.path.starts_with("/v2/") => ok(),
        _ => reply(400, &[], ""),
    })
    .await;
    for (login, user) in [(None, ""), (Some(&b"\x01\x02me\x04p ss"[..]), "me:p%20ss@")] {
        let (proxy, asked) = socks_proxy(login, server.address).await;
        let url = format!("socks5://{user}{proxy}");
        let proxies = Proxies { http: url.clone(), https: url, ..Proxies::default() };
        let insecure = vec!["registry.test:5000".to_owned()];
        let registries = Registries::new(RegistryOptions { proxies, insecure, ..RegistryOptions::default() });
        let reference = Reference::parse_familiar("registry.test:5000/app").unwrap();
        registries.repository(&reference, Credentials::Anonymous).manifest("1").await.unwrap();
        let asked = asked.lock().unwrap().clone();
        assert!(asked.len() >= 2 && asked.iter().all(|target| target == "registry.test:5000"), "{asked:?}");
    }
}

#[tokio::test]
async fn a_socks_proxy_that_refuses_is_told_of_without_the_password() {
    let (proxy, _) = socks_proxy(Some(b"\x01\x02me\x06secret"), "127.0.0.1:1".parse().unwrap()).await;
    for (user, expected) in [("me:wrong1@", "username/password authentication failed"), ("", "no acceptable auth")] {
        let proxies = Proxies { http: format!("socks5://{user}{proxy}"), ..Proxies::default() };
        let options = RegistryOptions { proxies, ..RegistryOptions::default() };
        let error = Registries::new(options).web_file("http://registry.test/x").await.err().unwrap();
        let error = errors::chain(&error);
        assert!(error.contains(&format!("socks connect tcp {proxy}: {expected}")), "{error}");
        assert!(!error.contains("wrong1"), "{error}");
    }
}
