//! The client against servers that are told what to answer, the hostile ones among them.

mod downloads;
mod proxies;
mod server;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use errors::{ErrorKind, Kind};
use ids::{Digest, Reference};
use registry_client::{
    BlobSource, Credentials, DeviceLogin, Hub, Proxies, Pushed, Registries, RegistryError, RegistryOptions, Repository,
    Secret, Verify,
};

use server::{Seen, Server, endless, ok, password, read, reply};

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
