//! The client against servers that are told what to answer, the hostile ones among them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use errors::{ErrorKind, Kind};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ids::{Digest, Reference};
use registry_client::{
    BlobSource, Credentials, DeviceLogin, Hub, Proxies, Pushed, Registries, RegistryError, RegistryOptions, Repository,
    Secret, Verify,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A request as the server saw it.
#[derive(Debug, Clone)]
struct Seen {
    method: String,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A server on a loopback port of its own; ends with the test's runtime.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    async fn start(answer: impl Fn(&Seen, usize) -> Response<Body> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (answer, log) = (Arc::new(answer), seen.clone());
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (answer, log) = (answer.clone(), log.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (answer, log) = (answer.clone(), log.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                        let path = head.uri.path_and_query().map(|path| path.to_string()).unwrap_or_default();
                        let seen = Seen { method: head.method.to_string(), path, headers: head.headers, body };
                        let before = log.lock().unwrap().iter().filter(|other| other.path == seen.path).count();
                        log.lock().unwrap().push(seen.clone());
                        Ok::<_, Infallible>(answer(&seen, before))
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { address, seen }
    }

    fn repository(&self, credentials: Credentials) -> Repository {
        let reference = Reference::parse_familiar(&format!("{}/team/app:1", self.address)).unwrap();
        Registries::new(RegistryOptions::default()).repository(&reference, credentials)
    }

    fn anonymous(&self) -> Repository {
        self.repository(Credentials::Anonymous)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        response.headers_mut().append(header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    response
}

fn ok() -> Response<Body> {
    reply(200, &[], "{}")
}

fn endless() -> Response<Body> {
    let piece = Bytes::from(vec![b' '; 1 << 16]);
    let frames = futures_util::stream::repeat_with(move || Ok(Frame::data(piece.clone())));
    Response::new(StreamBody::new(frames).boxed_unsync())
}

async fn read(repository: &Repository, content: &[u8], verify: Verify) -> Result<Vec<u8>, RegistryError> {
    let mut reader = repository.blob(Digest::of(content), content.len() as u64, 0, verify).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

fn password() -> Credentials {
    Credentials::Password { username: "me".to_owned(), password: Secret::new("pass") }
}

#[tokio::test]
async fn a_token_is_asked_for_once_with_its_scope_and_renewed_when_it_is_refused() {
    let server = Server::start(|seen, before| {
        if seen.path.starts_with("/token") {
            return reply(200, &[], format!(r#"{{"token":"t{before}","expires_in":300}}"#));
        }
        let host = seen.header("host").unwrap();
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"reg\"");
        match seen.header("authorization") {
            // The first token is withdrawn as soon as the tags are asked for.
            Some("Bearer t0") if !seen.path.contains("tags") => reply(200, &[], "{}"),
            Some("Bearer t1") => reply(200, &[], r#"{"tags":["a"]}"#),
            _ => reply(401, &[("www-authenticate", &challenge)], ""),
        }
    })
    .await;
    let repository = server.repository(password());
    repository.manifest("1").await.unwrap();
    repository.manifest("1").await.unwrap();
    assert_eq!(repository.tags().await.unwrap(), ["a"]);
    let tokens: Vec<Seen> = server.seen().into_iter().filter(|seen| seen.path.starts_with("/token")).collect();
    assert_eq!(tokens.len(), 2);
    assert_eq!(tokens[0].path, "/token?service=reg&scope=repository%3Ateam%2Fapp%3Apull&account=me");
    assert_eq!(tokens[0].header("authorization"), Some("Basic bWU6cGFzcw=="));
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_post() {
    let server = Server::start(|seen, _| match (seen.path.as_str(), seen.header("authorization")) {
        ("/token", _) => reply(200, &[], r#"{"access_token":"short"}"#),
        (_, Some("Bearer short")) => ok(),
        _ => {
            let realm = format!("Bearer realm=\"http://{}/token\",service=\"reg\"", seen.header("host").unwrap());
            reply(401, &[("www-authenticate", &realm)], "")
        }
    })
    .await;
    let credentials = Credentials::IdentityToken { username: "me".to_owned(), token: Secret::new("long&secret") };
    server.repository(credentials).manifest("1").await.unwrap();
    let asked = server.seen().into_iter().find(|seen| seen.path == "/token").unwrap();
    let form = String::from_utf8(asked.body.to_vec()).unwrap();
    assert!(form.starts_with("grant_type=refresh_token&client_id=docker&service=reg&scope="), "{form}");
    assert!(form.ends_with("&refresh_token=long%26secret"), "{form}");
}

#[tokio::test]
async fn basic_credentials_are_sent_where_they_are_asked_for() {
    let server = Server::start(|seen, _| match seen.header("authorization") {
        Some("Basic bWU6cGFzcw==") => ok(),
        _ => reply(401, &[("www-authenticate", "Basic realm=\"r\"")], ""),
    })
    .await;
    server.repository(password()).manifest("1").await.unwrap();
    let error = server.anonymous().manifest("1").await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.kind()), ("no basic auth credentials", ErrorKind::Unauthenticated));
    let wrong = Credentials::Password { username: "me".to_owned(), password: Secret::new("wrong") };
    let error = server.repository(wrong).manifest("1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(server.seen().len() < 10, "a refused password is not tried for ever");
}

#[tokio::test]
async fn a_redirect_to_another_host_carries_no_credentials() {
    let content = b"from elsewhere";
    let elsewhere = Server::start(|_, _| reply(200, &[], &content[..])).await;
    let target = format!("http://{}/blob?signed=secret", elsewhere.address);
    let server = Server::start(move |seen, _| match seen.header("authorization") {
        None => reply(401, &[("www-authenticate", "Basic realm=\"r\"")], ""),
        Some(_) => reply(307, &[("location", &target)], ""),
    })
    .await;
    let bytes = read(&server.repository(password()), content, Verify::Here).await.unwrap();
    assert_eq!(bytes, content);
    assert_eq!(elsewhere.seen()[0].header("authorization"), None);
}

#[tokio::test]
async fn redirects_come_to_an_end() {
    let server = Server::start(|seen, _| match seen.path.as_str() {
        "/v2/" => ok(),
        path => reply(302, &[("location", path)], ""),
    })
    .await;
    assert!(matches!(server.anonymous().manifest("1").await, Err(RegistryError::Redirects(10))));
}

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

#[tokio::test]
async fn endless_bodies_are_cut_off() {
    let server = Server::start(|seen, _| if seen.path == "/v2/" { ok() } else { endless() }).await;
    let repository = server.anonymous();
    assert!(matches!(repository.manifest("1").await, Err(RegistryError::TooLarge { what: "manifest", .. })));
    assert!(matches!(repository.tags().await, Err(RegistryError::TooLarge { what: "list of tags", .. })));
    assert!(matches!(
        read(&repository, b"short", Verify::Receiver).await,
        Err(RegistryError::TooLarge { what: "blob", .. })
    ));
}

#[tokio::test]
async fn a_manifest_must_have_the_digest_it_was_asked_for_by() {
    let server =
        Server::start(|seen, _| if seen.path == "/v2/" { ok() } else { reply(200, &[], "{\"other\":1}") }).await;
    let wanted = Digest::of("{}");
    let error = server.anonymous().manifest(&wanted.to_string()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Digest(digest) if digest == wanted), "{error}");
}

#[tokio::test]
async fn a_page_in_place_of_an_answer_is_told_as_docker_tells_it() {
    let page = "<html><body>bad gateway</body></html>";
    let server = Server::start(move |seen, _| match seen.path.as_str() {
        "/v2/" => ok(),
        _ => reply(403, &[("content-type", "text/html")], page),
    })
    .await;
    let error = server.anonymous().manifest("1").await.unwrap_err().to_string();
    assert!(error.starts_with("error parsing HTTP 403 response body: invalid character '<'"), "{error}");
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_will_not_is_not() {
    let server = Server::start(|seen, before| match (seen.path.as_str(), before) {
        ("/v2/", _) => ok(),
        ("/v2/team/app/manifests/busy", 0) => reply(503, &[], ""),
        ("/v2/team/app/manifests/busy", 1) => reply(429, &[("retry-after", "2")], ""),
        ("/v2/team/app/manifests/busy", 2) => reply(429, &[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")], ""),
        ("/v2/team/app/manifests/busy", _) => reply(200, &[], "{}"),
        _ => reply(404, &[], r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#),
    })
    .await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let noted = told.clone();
    let repository = server.anonymous().telling_pauses(move |seconds| noted.lock().unwrap().push(seconds));
    repository.manifest("busy").await.unwrap();
    // Of a moment, and of two seconds; a time that has passed asks for none.
    assert_eq!(*told.lock().unwrap(), [1, 2, 1]);
    let error = repository.manifest("gone").await.unwrap_err();
    assert!(error.has_code("MANIFEST_UNKNOWN") && error.kind() == ErrorKind::NotFound);
    assert_eq!(server.seen().iter().filter(|seen| seen.path.ends_with("gone")).count(), 1);
}

#[tokio::test]
async fn tags_come_from_all_pages() {
    let server = Server::start(|seen, _| match seen.path.as_str() {
        "/v2/" => ok(),
        path if path.contains("last=b") => reply(200, &[], r#"{"tags":["c"]}"#),
        _ => reply(200, &[("link", "</v2/team/app/tags/list?last=b&n=2>; rel=\"next\"")], r#"{"tags":["a","b"]}"#),
    })
    .await;
    assert_eq!(server.anonymous().tags().await.unwrap(), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_blob_is_mounted_where_that_is_possible_and_else_sent() {
    let content = b"layer";
    for mountable in [true, false] {
        let server = Server::start(move |seen, _| match (seen.method.as_str(), seen.path.as_str()) {
            (_, "/v2/") => ok(),
            ("HEAD", _) => reply(404, &[], ""),
            ("POST", path) if path.contains("mount=") && mountable => reply(201, &[("location", "/x")], ""),
            ("POST", _) => reply(202, &[("location", "/v2/team/app/blobs/uploads/7?state=a")], ""),
            ("PATCH", _) => reply(202, &[("location", "/v2/team/app/blobs/uploads/7?state=b")], ""),
            _ => reply(201, &[], ""),
        })
        .await;
        let sent = Arc::new(Mutex::new(0));
        let count = sent.clone();
        let blob = BlobSource {
            digest: Digest::of(content),
            size: content.len() as u64,
            open: Arc::new(|offset| {
                let rest = Bytes::from_static(content).slice(usize::try_from(offset).unwrap()..);
                Box::pin(futures_util::stream::iter([Ok(rest)]))
            }),
            progress: Arc::new(move |bytes| *count.lock().unwrap() = bytes),
        };
        let pushed = server.anonymous().push_blob(&blob, &["team/base".to_owned()]).await.unwrap();
        let seen = server.seen();
        if mountable {
            assert_eq!(pushed, Pushed::Mounted("team/base".to_owned()));
            assert_eq!(seen.len(), 3);
            continue;
        }
        assert_eq!((pushed, *sent.lock().unwrap()), (Pushed::Uploaded, 5));
        let patch = seen.iter().find(|seen| seen.method == "PATCH").unwrap();
        assert_eq!((patch.header("content-length"), &patch.body[..]), (Some("5"), &content[..]));
        let put = seen.iter().find(|seen| seen.method == "PUT").unwrap();
        assert!(put.path.starts_with("/v2/team/app/blobs/uploads/7?state=b&digest=sha256%3A"), "{}", put.path);
    }
}

#[tokio::test]
async fn nobody_there_is_told_as_go_tells_it() {
    let reference = Reference::parse_familiar("127.0.0.1:1/app").unwrap();
    let registries = Registries::new(RegistryOptions::default());
    let error = registries.repository(&reference, Credentials::Anonymous).ping().await.unwrap_err();
    assert_eq!(
        errors::chain(&error),
        "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused"
    );
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_login_is_right_or_wrong_in_docker_s_words() {
    let server = Server::start(|seen, _| {
        if seen.path.starts_with("/token") {
            return match seen.header("authorization") {
                Some("Basic bWU6cGFzcw==") => reply(200, &[], r#"{"token":"t","refresh_token":"back"}"#),
                _ => reply(401, &[], r#"{"details":"incorrect username or password"}"#),
            };
        }
        let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", seen.header("host").unwrap());
        match seen.header("authorization") {
            Some("Bearer t") => ok(),
            _ => reply(401, &[("WWW-Authenticate", &realm)], "{}"),
        }
    })
    .await;
    let registries = Registries::new(RegistryOptions::default());
    let domain = server.address.to_string();
    let identity = registries.login(&domain, password()).await.unwrap();
    assert_eq!(identity.as_ref().map(Secret::reveal), Some("back"));
    assert!(server.seen().iter().any(|seen| seen.path.ends_with("&account=me&client_id=docker&offline_token=true")));
    assert!(server.seen().iter().all(|seen| !seen.path.contains("scope=")));
    let wrong = Credentials::Password { username: "me".to_owned(), password: Secret::new("no") };
    let error = registries.login(&domain, wrong.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert_eq!(errors::chain(&error), format!("Get \"http://{domain}/v2/\": incorrect username or password"));

    let basic = Server::start(|seen, _| match seen.header("authorization") {
        Some("Basic bWU6cGFzcw==") => ok(),
        _ => reply(401, &[("WWW-Authenticate", "Basic realm=\"r\"")], "{}"),
    })
    .await;
    let domain = basic.address.to_string();
    assert_eq!(registries.login(&domain, password()).await.unwrap(), None);
    let error = registries.login(&domain, wrong).await.unwrap_err();
    assert_eq!(error.to_string(), format!("login attempt to http://{domain}/v2/ failed with status: 401 Unauthorized"));
}

#[tokio::test]
async fn a_token_server_of_somebody_else_gets_no_credentials() {
    let thief = Server::start(|_, _| reply(200, &[], r#"{"token":"t"}"#)).await;
    // The same address by a name that is another host's.
    let realm = format!("http://thief.example:{}/token", thief.address.port());
    let server = Server::start(move |seen, _| match seen.header("authorization") {
        Some("Bearer t") => reply(200, &[], "{}"),
        _ => reply(401, &[("www-authenticate", &format!("Bearer realm=\"{realm}\",service=\"s\""))], ""),
    })
    .await;
    let error = server.repository(password()).manifest("1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let expected = format!("token server thief.example is not one of registry {}", server.address);
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert!(thief.seen().is_empty() && server.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_knows_nothing_of_the_registry_s_credentials() {
    let mirror = Server::start(|seen, _| if seen.path == "/v2/" { ok() } else { reply(404, &[], "") }).await;
    let options = RegistryOptions {
        mirrors: vec![format!("http://{}/", mirror.address), "reg.lan=http://127.0.0.1:9/".to_owned()],
        ..RegistryOptions::default()
    };
    let registries = Registries::new(options);
    let sources = |name: &str| registries.sources(&Reference::parse_familiar(name).unwrap(), password());
    let of_hub = sources("app:1");
    let authorities: Vec<&str> = of_hub.iter().map(Repository::authority).collect();
    assert_eq!(authorities, [mirror.address.to_string().as_str(), "registry-1.docker.io"]);
    assert_eq!(of_hub[0].path(), "library/app");
    assert!(of_hub[0].manifest("1").await.is_err());
    assert!(mirror.seen().iter().all(|seen| seen.header("authorization").is_none()));
    assert_eq!(sources("reg.lan/app").len(), 2, "a registry's own mirror");
    assert_eq!(sources("other.lan/app").len(), 1);
}

#[tokio::test]
async fn a_search_is_asked_for_as_docker_asks_for_it() {
    let server = Server::start(|seen, _| match seen.path.as_str() {
        "/v2/" => reply(404, &[], ""),
        "/v1/search?q=web%20server&n=2" if seen.header("authorization") == Some("Basic bWU6cGFzcw==") => reply(
            200,
            &[],
            r#"{"num_results":3,"results":[{"name":"a","star_count":7,"is_official":true,"description":"d"},
               {"name":"b"},{"name":"beyond"}]}"#,
        ),
        _ => reply(501, &[], ""),
    })
    .await;
    let registries = Registries::new(RegistryOptions::default());
    let domain = server.address.to_string();
    let hits = registries.search(&domain, "web server", 2, &password()).await.unwrap();
    assert_eq!(hits.iter().map(|hit| hit.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(hits[0].is_official && hits[0].star_count == 7);
    // Nobody listens there.
    let closed = registries.search("127.0.0.1:1", "x", 2, &Credentials::Anonymous).await.unwrap_err().to_string();
    let refused = "dial tcp 127.0.0.1:1: connect: connection refused";
    let attempt = |scheme: &str| format!("Get \"{scheme}://127.0.0.1:1/v1/_ping\": {refused}");
    let (https, http) = (attempt("https"), attempt("http"));
    let expected = "invalid registry endpoint \"http://127.0.0.1:1/v1/\". HTTPS attempt: ".to_owned();
    assert_eq!(closed, format!("{expected}{https}. HTTP attempt: {http}"));
    let error = registries.search(&domain, "x", 2, &Credentials::Anonymous).await.unwrap_err().to_string();
    assert_eq!(error, format!("registry {domain} offers no search: Unexpected status code 501"));
}

#[tokio::test]
async fn an_upload_that_breaks_off_goes_on_where_the_registry_has_it() {
    let content = b"a layer in two halves";
    let server = Server::start(|seen, before| match (seen.method.as_str(), seen.path.as_str()) {
        (_, "/v2/") => ok(),
        ("HEAD", _) => reply(404, &[], ""),
        ("POST", _) => reply(202, &[("location", "/v2/team/app/blobs/uploads/7")], ""),
        ("PATCH", _) if before == 0 => reply(503, &[], ""),
        ("GET", _) => reply(204, &[("location", "/v2/team/app/blobs/uploads/7"), ("range", "0-9")], ""),
        ("PATCH", _) => reply(202, &[("location", "/v2/team/app/blobs/uploads/7")], ""),
        _ => reply(201, &[], ""),
    })
    .await;
    let blob = BlobSource {
        digest: Digest::of(content),
        size: content.len() as u64,
        open: Arc::new(|offset| {
            let rest = Bytes::from_static(content).slice(usize::try_from(offset).unwrap()..);
            Box::pin(futures_util::stream::iter([Ok(rest)]))
        }),
        progress: Arc::new(|_| {}),
    };
    assert_eq!(server.anonymous().push_blob(&blob, &[]).await.unwrap(), Pushed::Uploaded);
    let seen = server.seen();
    let patches: Vec<&Seen> = seen.iter().filter(|seen| seen.method == "PATCH").collect();
    assert_eq!(patches.len(), 2);
    assert_eq!((patches[1].header("content-range"), &patches[1].body[..]), (Some("10-20"), &content[10..]));
    assert_eq!(seen.iter().filter(|seen| seen.method == "POST").count(), 1, "one session");
}

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

#[tokio::test]
async fn a_file_of_the_web_is_fetched_through_redirects_and_without_credentials() {
    let server = Server::start(|seen, _| match seen.path.as_str() {
        "/here" => reply(302, &[("location", "/there?x=1")], ""),
        "/there?x=1" => reply(200, &[], "content"),
        _ => reply(404, &[], "no\x1bthing"),
    })
    .await;
    let registries = Registries::new(RegistryOptions::default());
    let mut download = registries.web_file(&format!("http://{}/here", server.address)).await.unwrap();
    assert_eq!(download.size, Some(7));
    assert_eq!(download.next().await.unwrap().as_deref(), Some(&b"content"[..]));
    assert_eq!(download.next().await.unwrap(), None);
    let missing = format!("http://{}/nothing", server.address);
    let error = registries.web_file(&missing).await.err().unwrap();
    assert_eq!(error.to_string(), format!("failed to GET {missing} with status 404 Not Found: no\\x1bthing"));
    assert_eq!(error.kind(), ErrorKind::NotFound);
    for (url, expected) in [
        ("ftp://x/y", "Get \"ftp://x/y\": unsupported protocol scheme \"ftp\""),
        ("http://", "invalid URL \"http://\""),
        ("http://user@host/", "invalid URL \"http://user@host/\""),
        ("x", "invalid URL \"x\""),
    ] {
        assert_eq!(errors::chain(&registries.web_file(url).await.err().unwrap()), expected);
    }
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
async fn a_login_by_a_web_page_waits_for_its_user() {
    // {"https://hub.docker.com":{"username":"captain"}}
    const TOKEN: &str = "h.eyJodHRwczovL2h1Yi5kb2NrZXIuY29tIjp7InVzZXJuYW1lIjoiY2FwdGFpbiJ9fQ.s";
    let server = Server::start(|seen, before| match (seen.path.as_str(), before) {
        ("/oauth/device/code", _) => reply(
            200,
            &[],
            r#"{"device_code":"d c","user_code":"ABCD-EFGH","verification_uri_complete":"https://x/activate?user_code=ABCD-EFGH","expires_in":60,"interval":0}"#,
        ),
        ("/oauth/token", 0) => reply(403, &[], r#"{"error":"authorization_pending","error_description":"pending"}"#),
        ("/oauth/token", _) => reply(200, &[], format!(r#"{{"access_token":"{TOKEN}","refresh_token":"again"}}"#)),
        ("/v2/access-tokens/desktop-generate", _) if seen.header("authorization") == Some(&format!("Bearer {TOKEN}")) => {
            reply(201, &[], r#"{"data":{"token":"dckr_pat_x"}}"#)
        }
        _ => reply(500, &[], ""),
    })
    .await;
    let url = format!("http://{}", server.address);
    let hub = Hub { tenant: url.clone(), audience: url, client_id: "me".to_owned() };
    let login = DeviceLogin::start(hub.clone(), "docker-cli", Proxies::default()).await.unwrap();
    assert_eq!((login.code(), login.address()), ("ABCD-EFGH", "https://x/activate?user_code=ABCD-EFGH"));
    let account = login.wait().await.unwrap();
    assert_eq!((account.username.as_str(), account.password.reveal()), ("captain", "dckr_pat_x"));
    assert_eq!(account.refresh_token.reveal(), "again");
    let asked = server.seen().into_iter().find(|seen| seen.path == "/oauth/token").unwrap();
    let form = String::from_utf8(asked.body.to_vec()).unwrap();
    assert!(form.ends_with("&device_code=d%20c") && !format!("{account:?}").contains("again"), "{form}");

    let refusing = Server::start(|seen, _| match seen.path.as_str() {
        "/oauth/device/code" => reply(200, &[], r#"{"device_code":"d","user_code":"A","interval":0,"expires_in":9}"#),
        _ => reply(403, &[], r#"{"error":"access_denied","error_description":"the user said no"}"#),
    })
    .await;
    let hub = Hub { tenant: format!("http://{}", refusing.address), ..hub };
    let login = DeviceLogin::start(hub, "docker-cli", Proxies::default()).await.unwrap();
    assert_eq!(login.wait().await.unwrap_err().to_string(), "the user said no");
    let closed = Hub { tenant: "http://127.0.0.1:1".to_owned(), ..Hub::default() };
    assert!(DeviceLogin::start(closed, "docker-cli", Proxies::default()).await.is_err());
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
