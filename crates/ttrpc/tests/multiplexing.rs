//! The tokio client and server against each other.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::Notify;
use ttrpc::asynchronous::{Client, Service, serve};
use ttrpc::{Code, Error, Request, Status, metadata};

#[derive(Default)]
struct Echo {
    released: Notify,
}

impl Service for Echo {
    async fn call(&self, request: Request) -> Result<Vec<u8>, Status> {
        match request.method.as_str() {
            "echo" => Ok(request.payload),
            "namespace" => Ok(metadata(&request, "containerd-namespace-ttrpc").unwrap_or("").as_bytes().to_vec()),
            "hold" => {
                self.released.notified().await;
                Ok(request.payload)
            }
            "release" => {
                self.released.notify_waiters();
                Ok(Vec::new())
            }
            "big" => Ok(vec![0; 5 << 20]),
            method => Err(Status::unknown_method(&request.service, method)),
        }
    }
}

fn start() -> (tempfile::TempDir, PathBuf, tokio::task::JoinHandle<std::io::Result<()>>) {
    let folder = tempfile::tempdir().expect("tempdir");
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).expect("bind");
    let server = tokio::spawn(serve(listener, Arc::new(Echo::default())));
    (folder, path, server)
}

#[tokio::test]
async fn a_thousand_calls_share_a_connection_and_each_gets_its_own_answer() {
    let (_folder, path, _server) = start();
    let client = Client::connect(&path).await.expect("connect");
    let mut calls = tokio::task::JoinSet::new();
    for index in 0..1000u32 {
        let client = client.clone();
        calls.spawn(async move {
            let payload = index.to_be_bytes().repeat(index as usize % 50 + 1);
            let answer = client.call("s", "echo", payload.clone(), &[], None).await.expect("echo");
            assert_eq!(answer, payload);
        });
    }
    while let Some(result) = calls.join_next().await {
        result.expect("call");
    }
}

#[tokio::test]
async fn a_call_that_waits_does_not_hold_up_the_others() {
    let (_folder, path, _server) = start();
    let client = Client::connect(&path).await.expect("connect");
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.call("s", "hold", vec![1], &[], None).await }
    });
    let answer = client.call("s", "namespace", vec![], &[("containerd-namespace-ttrpc", "moby")], None).await;
    assert_eq!(answer.expect("namespace"), b"moby");
    // The held call may not have registered with the server yet; releasing is repeated until it has.
    while !waiting.is_finished() {
        client.call("s", "release", vec![], &[], None).await.expect("release");
    }
    assert_eq!(waiting.await.expect("join").expect("hold"), [1]);
}

#[tokio::test]
async fn a_lost_connection_fails_every_call_at_once() {
    let (_folder, path, server) = start();
    let client = Client::connect(&path).await.expect("connect");
    client.call("s", "echo", vec![], &[], None).await.expect("echo");
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.call("s", "hold", vec![], &[], None).await }
    });
    let closed = client.closed();
    server.abort();
    closed.await;
    assert!(matches!(waiting.await.expect("join"), Err(Error::Closed)));
    assert!(client.is_closed());
    assert!(matches!(client.call("s", "echo", vec![], &[], None).await, Err(Error::Closed)));
}

#[tokio::test]
async fn errors_limits_and_time_limits_come_back_as_such() {
    let (_folder, path, _server) = start();
    let client = Client::connect(&path).await.expect("connect");
    let error = client.call("s", "nothing", vec![], &[], None).await.expect_err("nothing");
    assert!(matches!(error, Error::Status(Status { code: Code::Unimplemented, .. })));
    let error = client.call("s", "big", vec![], &[], None).await.expect_err("big");
    assert!(matches!(error, Error::Status(Status { code: Code::ResourceExhausted, .. })));
    let error = client.call("s", "echo", vec![0; 5 << 20], &[], None).await.expect_err("too long");
    assert!(matches!(error, Error::TooLong(_)));
    let error = client.call("s", "hold", vec![], &[], Some(Duration::from_millis(20))).await.expect_err("hold");
    assert!(matches!(error, Error::TimedOut));
    client.call("s", "echo", vec![], &[], None).await.expect("the connection lives on");
}
