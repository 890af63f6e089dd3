//! The client against Debian's containerd, on roots and in a mount namespace of its own. Needs root.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use containerd_api::services::snapshots::v1::{ListSnapshotsRequest, PrepareSnapshotRequest, StatSnapshotRequest};
use containerd_api::types::Descriptor;
use containerd_client::{Client, Synchronous, WriteBlob};
use errors::{ErrorKind, Kind};
use ids::Digest;
use libtest_mimic::{Arguments, Trial};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tokio::io::AsyncReadExt;

const CONTAINERD: &str = "/usr/bin/containerd";
const READY: Duration = Duration::from_secs(30);

type Case = for<'a> fn(&'a mut Peer) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

fn main() {
    let arguments = Arguments::from_args();
    let missing = !Path::new(CONTAINERD).exists();
    if !arguments.list && !missing {
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace (needs root)");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private mounts");
    }
    let cases: &[(&str, Case)] = &[
        ("a_blob_is_written_once_and_read_within_its_limit", |peer| Box::pin(blob(peer))),
        ("an_interrupted_write_goes_on_or_begins_anew", |peer| Box::pin(resume(peer))),
        ("a_write_that_is_not_what_was_promised_is_refused", |peer| Box::pin(wrong(peer))),
        ("a_blob_longer_than_a_message_comes_through_whole", |peer| Box::pin(long(peer))),
        ("namespaces_do_not_see_each_other", |peer| Box::pin(namespaces(peer))),
        ("leases_are_made_and_ended_twice_without_error", |peer| Box::pin(leases(peer))),
        ("a_layer_is_applied_to_a_snapshot", |peer| Box::pin(layer(peer))),
        ("a_client_outlives_its_containerd", |peer| Box::pin(reconnect(peer))),
    ];
    let trials = cases.iter().map(|(name, case)| {
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut peer = Peer::start();
                peer.client.wait_until_ready(READY).await.unwrap();
                case(&mut peer).await;
            });
            Ok(())
        };
        Trial::test(*name, run).with_kind("containerd").with_ignored_flag(missing)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

struct Peer {
    child: Child,
    client: Client,
    folder: tempfile::TempDir,
}

impl Peer {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = "version = 2\n\
            disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n";
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        let client = Client::new(&socket(folder.path()), "test").unwrap();
        Self { child: spawn(folder.path()), client, folder }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("containerd.sock")
}

fn spawn(folder: &Path) -> Child {
    let place = |name: &str| folder.join(name);
    Command::new(CONTAINERD)
        .args([Path::new("--config"), &place("config.toml"), Path::new("--root"), &place("root")])
        .args([Path::new("--state"), &place("state"), Path::new("--address"), &socket(folder)])
        .args(["--log-level", "error"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn none() -> HashMap<String, String> {
    HashMap::new()
}

async fn blob(peer: &mut Peer) {
    let client = &peer.client;
    let mut labels = kept();
    labels.insert("a/b".to_owned(), "c".to_owned());
    let digest = client.write_bytes("ref", "hello", labels.clone()).await.unwrap();
    assert_eq!(digest, Digest::of("hello"));
    assert_eq!(client.write_bytes("ref", "hello", none()).await.unwrap(), digest, "a second time is no error");
    let info = client.blob_info(&digest).await.unwrap();
    assert_eq!((info.size, info.labels), (5, labels));
    assert_eq!(client.read_blob(&digest, 5).await.unwrap(), b"hello");
    assert_eq!(client.read_blob(&digest, 4).await.unwrap_err().kind(), ErrorKind::ResourceExhausted);
    let mut tail = String::new();
    client.open_blob(&digest, 3).await.unwrap().read_to_string(&mut tail).await.unwrap();
    assert_eq!(tail, "lo");
    let listed = client.list_blobs(vec!["labels.\"a/b\"==c".to_owned()]).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(client.write_bytes("empty", "", none()).await.unwrap(), Digest::of(""));
}

async fn resume(peer: &mut Peer) {
    let write = WriteBlob { reference: "layer".to_owned(), total: 6, expected: Some(Digest::of("abcdef")) };
    let mut writer = peer.client.write_blob(write.clone()).await.unwrap();
    writer.write(Bytes::from_static(b"abc")).await.unwrap();
    drop(writer);
    let mut writer = peer.client.write_blob(write.clone()).await.unwrap();
    assert_eq!(writer.offset(), 3);
    writer.write(Bytes::from_static(b"d")).await.unwrap();
    drop(writer);
    let mut writer = peer.client.write_blob(write).await.unwrap();
    assert_eq!(writer.offset(), 4);
    writer.restart().await.unwrap();
    assert_eq!(writer.offset(), 0);
    writer.write(Bytes::from_static(b"abcdef")).await.unwrap();
    assert_eq!(writer.commit(kept()).await.unwrap(), Digest::of("abcdef"));
    let mut writer =
        peer.client.write_blob(WriteBlob { reference: "other".into(), ..WriteBlob::default() }).await.unwrap();
    writer.write(Bytes::from_static(b"x")).await.unwrap();
    writer.close().await.unwrap();
    peer.client.abort_blob("missing").await.unwrap();
    peer.client.abort_blob("other").await.unwrap();
}

async fn wrong(peer: &mut Peer) {
    let write = WriteBlob { reference: "r".to_owned(), total: 3, expected: Some(Digest::of("abc")) };
    let mut writer = peer.client.write_blob(write).await.unwrap();
    writer.write(Bytes::from_static(b"xyz")).await.unwrap();
    let refused = writer.commit(none()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::FailedPrecondition, "{refused}");
    assert!(refused.to_string().contains("unexpected commit digest"), "{refused}");
    let missing = peer.client.read_blob(&Digest::of("abc"), 10).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

/// What nothing refers to is collected, at the latest a moment after containerd's start.
fn kept() -> HashMap<String, String> {
    HashMap::from([("containerd.io/gc.root".to_owned(), "true".to_owned())])
}

async fn long(peer: &mut Peer) {
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|number| (number / 7) as u8).collect();
    let digest = peer.client.write_bytes("long", bytes.clone(), kept()).await.unwrap();
    assert_eq!(peer.client.read_blob(&digest, bytes.len()).await.unwrap(), bytes);
}

async fn namespaces(peer: &mut Peer) {
    let digest = peer.client.write_bytes("r", "abc", kept()).await.unwrap();
    let other = peer.client.with_namespace("other").unwrap();
    assert_eq!(other.blob_info(&digest).await.unwrap_err().kind(), ErrorKind::NotFound);
    let known = WriteBlob { reference: "r".to_owned(), total: 3, expected: Some(digest) };
    let writer = other.write_blob(known).await.unwrap();
    assert_eq!(writer.offset(), 3, "the bytes are known from the other namespace");
    writer.commit(kept()).await.unwrap();
    assert_eq!(other.read_blob(&digest, 3).await.unwrap(), b"abc");
    assert_eq!(peer.client.with_namespace("a\nb").err().unwrap().kind(), ErrorKind::InvalidArgument);
}

async fn leases(peer: &mut Peer) {
    let client = &peer.client;
    for _ in 0..2 {
        client.create_lease("pull", none(), Some(Duration::from_secs(3600))).await.unwrap();
    }
    let digest = client.with_lease("pull").unwrap().write_bytes("r", "abc", none()).await.unwrap();
    client.add_to_lease("pull", "content", &digest.to_string()).await.unwrap();
    let listed = client.list_leases(vec!["id==pull".to_owned()]).await.unwrap();
    assert!(listed[0].labels["containerd.io/gc.expire"].ends_with('Z'), "{listed:?}");
    for _ in 0..2 {
        client.delete_lease("pull", Synchronous::Yes).await.unwrap();
    }
    let gone = client.blob_info(&digest).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound, "what no lease holds is collected");
}

async fn layer(peer: &mut Peer) {
    let client = &peer.client;
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o644);
    header.set_cksum();
    archive.append_data(&mut header, "file", &b"abc"[..]).unwrap();
    let bytes = archive.into_inner().unwrap();
    let size = i64::try_from(bytes.len()).unwrap();
    let digest = client.write_bytes("layer", bytes, kept()).await.unwrap();
    let prepare = PrepareSnapshotRequest {
        snapshotter: "overlayfs".to_owned(),
        key: "active".to_owned(),
        ..PrepareSnapshotRequest::default()
    };
    let mounts = client.snapshots().prepare(prepare).await.unwrap().into_inner().mounts;
    let root = PathBuf::from(&mounts[0].source);
    let layer = Descriptor {
        media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
        digest: digest.to_string(),
        size,
        ..Descriptor::default()
    };
    let applied = client.apply_diff(layer, mounts).await.unwrap();
    assert_eq!(applied.digest, digest.to_string(), "a plain layer is its own diff id");
    assert_eq!(std::fs::read(root.join("file")).unwrap(), b"abc");
    let list = ListSnapshotsRequest { snapshotter: "overlayfs".to_owned(), ..ListSnapshotsRequest::default() };
    let mut stream = client.snapshots().list(list).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().info[0].name, "active");
    let stat = StatSnapshotRequest { snapshotter: "overlayfs".to_owned(), key: "missing".to_owned() };
    let missing = containerd_client::Error::from(client.snapshots().stat(stat).await.unwrap_err());
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

async fn reconnect(peer: &mut Peer) {
    assert!(peer.client.version().await.unwrap().version.starts_with('1'));
    peer.kill();
    let gone = peer.client.version().await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Unavailable, "{gone}");
    peer.child = spawn(peer.folder.path());
    peer.client.wait_until_ready(READY).await.unwrap();
    peer.client.write_bytes("r", "abc", kept()).await.unwrap();
    let nowhere = Client::new(Path::new("/nonexistent/containerd.sock"), "test").unwrap();
    let refused = nowhere.version().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.to_string().contains("No such file"), "{refused}");
}
