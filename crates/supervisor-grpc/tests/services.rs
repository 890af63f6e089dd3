//! The services over a real socket, asked by a gRPC client: codes, streams, and what a client may get wrong.

use std::path::Path;

use containerd_api::Any;
use containerd_api::services::content::v1::{
    DeleteContentRequest, InfoRequest, ReadContentRequest, WriteAction, WriteContentRequest, WriteContentResponse,
};
use containerd_api::services::events::v1::{PublishRequest, SubscribeRequest};
use containerd_api::services::introspection::v1::PluginsRequest;
use containerd_api::services::namespaces::v1::GetNamespaceRequest;
use containerd_api::services::snapshots::v1::PrepareSnapshotRequest;
use containerd_api::services::tasks::v1::{CreateTaskRequest, GetRequest};
use containerd_client::Client;
use ids::Digest;
use supervisor::runtimes::Runtimes;
use supervisor::{Daemon, Roots, Services};
use supervisor_grpc::{About, serve};
use tokio::net::UnixListener;
use tonic::{Code, Status};

const NS: &str = "default";

/// Serves on a socket in `folder` while `work` asks.
async fn served<F: Future<Output = ()>>(folder: &Path, work: impl FnOnce(Client) -> F) {
    let roots = Roots { root: folder.join("root"), state: folder.join("state") };
    let socket = folder.join("c.sock");
    let daemon = Daemon {
        address: socket.display().to_string(),
        ttrpc_address: String::new(),
        executable: "/no/program".into(),
        debug: false,
    };
    let services = Services::open(&roots, daemon, Runtimes::default()).expect("open");
    let grpc = UnixListener::bind(&socket).expect("bind");
    let shims = UnixListener::bind(folder.join("c.sock.ttrpc")).expect("bind");
    let about = About { version: "1.2.3", revision: "abc", snapshots: roots.snapshots(), root: roots.root.clone() };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(serve(grpc, shims, services, about, async move {
        let _ = stopped.await;
    }));
    work(Client::new(&socket, NS).expect("client")).await;
    stop.send(()).expect("still serving");
    serving.await.expect("join").expect("serve");
}

fn test<F: Future<Output = ()>>(work: impl FnOnce(Client) -> F) {
    let folder = tempfile::tempdir().expect("tempdir");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    runtime.block_on(served(folder.path(), work));
}

fn request(action: WriteAction, data: &'static [u8], offset: i64) -> WriteContentRequest {
    WriteContentRequest {
        action: action.into(),
        r#ref: "ref".to_owned(),
        data: data.into(),
        offset,
        ..WriteContentRequest::default()
    }
}

/// Sends these requests on one stream; the answers, and the error that ended it.
async fn write(client: &Client, requests: Vec<WriteContentRequest>) -> (Vec<WriteContentResponse>, Option<Status>) {
    let mut answers = Vec::new();
    let mut stream = match client.content().write(futures_util::stream::iter(requests)).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return (answers, Some(status)),
    };
    loop {
        match stream.message().await {
            Ok(Some(answer)) => answers.push(answer),
            Ok(None) => return (answers, None),
            Err(status) => return (answers, Some(status)),
        }
    }
}

async fn read(client: &Client, digest: &Digest, offset: i64, size: i64) -> Result<Vec<u8>, Status> {
    let ask = ReadContentRequest { digest: digest.to_string(), offset, size };
    let mut stream = client.content().read(ask).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(answer) = stream.message().await? {
        assert_eq!(answer.offset, offset + i64::try_from(bytes.len()).expect("length"));
        bytes.extend_from_slice(&answer.data);
    }
    Ok(bytes)
}

#[test]
fn a_write_goes_on_in_another_stream_and_is_read_in_parts() {
    test(|client| async move {
        let (answers, error) = write(&client, vec![request(WriteAction::Write, b"hello ", 0)]).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(answers[0].offset, 6);
        let digest = Digest::of("hello world");
        let mut commit = request(WriteAction::Commit, b"", 11);
        (commit.total, commit.expected) = (11, digest.to_string());
        let rest = vec![request(WriteAction::Stat, b"", 0), request(WriteAction::Write, b"world", 6), commit];
        let (answers, error) = write(&client, rest).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(answers.iter().map(|answer| answer.offset).collect::<Vec<_>>(), [6, 11, 11]);
        assert!(answers[0].started_at.is_some());
        assert_eq!(read(&client, &digest, 0, 0).await.expect("all"), b"hello world");
        assert_eq!(read(&client, &digest, 6, 3).await.expect("part"), b"wor");
        assert_eq!(read(&client, &digest, 6, 100).await.expect("rest"), b"world");
        assert_eq!(read(&client, &digest, 11, 0).await.expect("end"), b"");
        assert_eq!(read(&client, &digest, 12, 0).await.expect_err("beyond").code(), Code::OutOfRange);
    });
}

#[test]
fn a_large_blob_comes_back_in_order_over_many_messages() {
    test(|client| async move {
        let bytes: Vec<u8> = (0..5_000_000_u32).map(|number| (number % 251) as u8).collect();
        let digest = Digest::of(&bytes);
        let mut requests: Vec<WriteContentRequest> = bytes
            .chunks(700_000)
            .enumerate()
            .map(|(number, chunk)| WriteContentRequest {
                data: chunk.to_vec().into(),
                ..request(WriteAction::Write, b"", i64::try_from(number * 700_000).expect("offset"))
            })
            .collect();
        requests.push(WriteContentRequest { expected: digest.to_string(), ..request(WriteAction::Commit, b"", 0) });
        let (answers, error) = write(&client, requests).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(answers.last().map(|answer| answer.digest.clone()), Some(digest.to_string()));
        assert!(read(&client, &digest, 0, 0).await.expect("read") == bytes);
    });
}

#[test]
fn wrong_writes_are_refused_with_containerds_codes() {
    test(|client| async move {
        let code = |outcome: (Vec<WriteContentResponse>, Option<Status>)| outcome.1.map(|status| status.code());
        assert_eq!(code(write(&client, Vec::new()).await), Some(Code::InvalidArgument));
        let nameless = WriteContentRequest { r#ref: String::new(), ..request(WriteAction::Write, b"x", 0) };
        assert_eq!(code(write(&client, vec![nameless]).await), Some(Code::InvalidArgument));
        let beyond = vec![request(WriteAction::Write, b"x", 5)];
        assert_eq!(code(write(&client, beyond).await), Some(Code::OutOfRange));
        let negative = vec![request(WriteAction::Write, b"x", -5)];
        assert_eq!(code(write(&client, negative).await), Some(Code::InvalidArgument));
        let unknown = WriteContentRequest { action: 99, ..request(WriteAction::Write, b"x", 0) };
        assert_eq!(code(write(&client, vec![unknown]).await), Some(Code::InvalidArgument));
        let no_digest = WriteContentRequest { expected: "sha256:x".into(), ..request(WriteAction::Write, b"x", 0) };
        assert_eq!(code(write(&client, vec![no_digest]).await), Some(Code::InvalidArgument));
        let other = WriteContentRequest {
            expected: Digest::of("other").to_string(),
            ..request(WriteAction::Commit, b"bytes", 0)
        };
        assert_eq!(code(write(&client, vec![other]).await), Some(Code::FailedPrecondition));
        let short = WriteContentRequest { total: 100, ..request(WriteAction::Commit, b"bytes", 0) };
        assert_eq!(code(write(&client, vec![short]).await), Some(Code::FailedPrecondition));
        let commit = || WriteContentRequest { total: 5, ..request(WriteAction::Commit, b"bytes", 0) };
        assert_eq!(code(write(&client, vec![commit()]).await), None);
        let again = WriteContentRequest { expected: Digest::of("bytes").to_string(), ..commit() };
        assert_eq!(code(write(&client, vec![again]).await), Some(Code::AlreadyExists));
        let mut content = client.content();
        for (digest, code) in [("nonsense", Code::InvalidArgument), (&Digest::of("none").to_string(), Code::NotFound)] {
            let info = content.info(InfoRequest { digest: digest.to_owned() }).await;
            assert_eq!(info.expect_err("info").code(), code);
            let delete = content.delete(DeleteContentRequest { digest: digest.to_owned() }).await;
            assert_eq!(delete.expect_err("delete").code(), code);
        }
    });
}

#[test]
fn a_request_has_to_name_a_good_namespace() {
    test(|client| async move {
        for (name, code) in [("", Code::FailedPrecondition), ("a/b", Code::InvalidArgument)] {
            let client = client.with_namespace(name).expect("client");
            let asked = client.content().info(InfoRequest { digest: Digest::of("x").to_string() }).await;
            assert_eq!(asked.expect_err(name).code(), code);
        }
        let unknown = client.namespaces().get(GetNamespaceRequest { name: "unknown".to_owned() }).await;
        assert!(unknown.expect("no error").into_inner().namespace.expect("namespace").labels.is_empty());
    });
}

#[test]
fn what_is_not_there_is_said_in_containerds_words() {
    test(|client| async move {
        let version = client.version().await.expect("version");
        assert_eq!((version.version.as_str(), version.revision.as_str()), ("1.2.3", "abc"));
        let plugins = client.introspection().plugins(PluginsRequest::default()).await.expect("plugins").into_inner();
        assert!(plugins.plugins.iter().any(|plugin| plugin.id == "overlayfs"));
        let create = CreateTaskRequest { container_id: "x".to_owned(), ..CreateTaskRequest::default() };
        let status = client.tasks().create(create).await.expect_err("no container");
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.message(), "container \"x\" in namespace \"default\": not found");
        let get = GetRequest { container_id: "x".to_owned(), exec_id: String::new() };
        assert_eq!(client.tasks().get(get).await.expect_err("no task").code(), Code::NotFound);
        let prepare = PrepareSnapshotRequest {
            snapshotter: "btrfs".into(),
            key: "k".into(),
            ..PrepareSnapshotRequest::default()
        };
        let status = client.snapshots().prepare(prepare).await.expect_err("no such snapshotter");
        assert_eq!(
            (status.code(), status.message()),
            (Code::InvalidArgument, "snapshotter not loaded: btrfs: invalid argument")
        );
    });
}

#[test]
fn published_events_reach_subscribers_in_their_namespace() {
    test(|client| async move {
        let filters = vec!["namespace==default,topic~=|^/test/|".to_owned()];
        let mut events = client.events().subscribe(SubscribeRequest { filters }).await.expect("subscribe").into_inner();
        let publish = |topic: &str| PublishRequest {
            topic: topic.to_owned(),
            event: Some(Any { type_url: "x".to_owned(), value: vec![1] }),
        };
        client.events().publish(publish("/other/x")).await.expect("publish");
        client.events().publish(publish("/test/x")).await.expect("publish");
        let event = events.message().await.expect("event").expect("one");
        assert_eq!((event.namespace.as_str(), event.topic.as_str()), ("default", "/test/x"));
        assert_eq!(client.events().publish(publish("no-topic")).await.expect_err("bad").code(), Code::InvalidArgument);
        let broken = SubscribeRequest { filters: vec!["topic=".to_owned()] };
        assert_eq!(client.events().subscribe(broken).await.expect_err("bad").code(), Code::InvalidArgument);
    });
}
