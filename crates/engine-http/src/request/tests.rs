use engine_api::StringMap;
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;

use super::*;

fn request(method: &str, uri: &str, headers: &[(&str, &str)], body: RequestBody) -> Result<Request, Failure> {
    let mut builder = http::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let (parts, ()) = builder.body(()).unwrap().into_parts();
    Request::new(parts, body, ApiVersion::MIN)
}

fn full(text: &str) -> RequestBody {
    boxed(Full::new(Bytes::from(text.to_owned())))
}

fn refused(method: &str, uri: &str) -> (u16, String) {
    let failure = request(method, uri, &[], full("")).err().unwrap();
    (failure.status.as_u16(), failure.message)
}

#[test]
fn paths_and_versions_that_are_not_served_get_docker_s_words() {
    let gone = (404, "page not found".to_owned());
    for (method, uri) in [
        ("GET", "/nothing"),
        ("PUT", "/containers/json"),
        ("PATCH", "/info"),
        ("GET", "/v1.51"),
        ("GET", "/v1.51/"),
        ("GET", "/v1.24/system/df"),
        // A path that nobody has is not found before its version is looked at.
        ("GET", "/v1.10/nothing"),
    ] {
        assert_eq!(refused(method, uri), gone, "{method} {uri}");
    }
    let old = "client version 1.10 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version";
    assert_eq!(refused("GET", "/v1.10/info"), (400, old.to_owned()));
    let new = "client version 1.99 is too new. Maximum supported API version is 1.51";
    assert_eq!(refused("GET", "/v1.99/info"), (400, new.to_owned()));
    assert_eq!(request("GET", "/info", &[], full("")).unwrap().version, ApiVersion::MAX);
}

#[test]
fn what_belongs_to_a_swarm_or_to_plugins_is_told_so() {
    let missing = (404, "plugin \"a/b:c\" not found".to_owned());
    assert_eq!(refused("GET", "/v1.51/plugins/a/b:c/json"), missing);
    assert_eq!(refused("DELETE", "/v1.51/plugins/a/b:c"), missing);
    assert_eq!(refused("POST", "/v1.51/plugins/pull").0, 501);
    assert_eq!(refused("GET", "/v1.51/nodes").0, 503);
}

#[tokio::test]
async fn content_types_and_empty_bodies_are_taken_as_docker_does() {
    let json = [("Content-Type", "application/json"), ("Content-Length", "9")];
    let none: [(&str, &str); 0] = [];
    for (headers, body, expected) in [
        (&json[..], r#"{"a":"b"}"#, Ok(1)),
        (&[("Content-Type", "application/json; charset=utf-8"), ("Content-Length", "9")][..], r#"{"a":"b"}"#, Ok(1)),
        (&none[..], "", Ok(0)),
        (&[("Content-Length", "0")][..], "", Ok(0)),
        (
            &[("Content-Type", "text/plain")][..],
            "",
            Err("unsupported Content-Type header (text/plain): must be 'application/json'"),
        ),
        (&[("Content-Length", "9")][..], r#"{"a":"b"}"#, Err("malformed Content-Type header (): mime: no media type")),
        (
            &[("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")][..],
            "",
            Err("invalid JSON: got EOF while reading request body"),
        ),
    ] {
        let read = request("POST", "/exec/x/start", headers, full(body)).unwrap().json::<StringMap>().await;
        let read = read.map(|map| map.len()).map_err(|failure| failure.message);
        assert_eq!(read, expected.map_err(str::to_owned), "{headers:?}");
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused() {
    let headers = [("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")];
    let body = boxed(Full::new(Bytes::from(vec![b' '; MAX_JSON + 1])));
    let failure = request("POST", "/exec/x/start", &headers, body).unwrap().json::<StringMap>().await.unwrap_err();
    assert_eq!(failure.status, StatusCode::PAYLOAD_TOO_LARGE);
}

/// A body of a length that was told, of which nothing comes.
struct Announced(u64);

impl http_body::Body for Announced {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        std::task::Poll::Pending
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0)
    }
}

#[tokio::test]
async fn a_body_that_would_be_too_large_is_not_waited_for() {
    let body = boxed(Announced(MAX_JSON as u64 + 1));
    let failure = read(body, Duration::from_secs(3600)).await.unwrap_err();
    assert_eq!(failure.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let silent = futures_util::stream::pending::<Result<Frame<Bytes>, std::io::Error>>();
    let failure = read(boxed(StreamBody::new(silent)), Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(failure.status, StatusCode::REQUEST_TIMEOUT);
}
