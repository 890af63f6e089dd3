//! The services over real stores in a folder of the test's own: records, leases, collection, restarts.

use std::collections::HashMap;
use std::path::Path;

use containerd_api::Any;
use containerd_api::services::containers::v1::{Container, container};
use containerd_api::services::images::v1::Image;
use containerd_api::services::leases::v1::Resource;
use containerd_api::services::namespaces::v1::Namespace;
use containerd_api::types::{Descriptor, Mount};
use content::WriteRequest;
use errors::{ErrorKind, Kind};
use ids::Digest;
use metadata::Labels;
use supervisor::runtimes::Runtimes;
use supervisor::snapshots::NewSnapshot;
use supervisor::{Daemon, Roots, Scope, Services};

const NS: &str = "default";

fn open(folder: &Path) -> Services {
    let roots = Roots { root: folder.join("root"), state: folder.join("state") };
    let daemon = Daemon {
        address: "/no/socket".to_owned(),
        ttrpc_address: "/no/socket.ttrpc".to_owned(),
        executable: "/no/program".into(),
        debug: false,
    };
    Services::open(&roots, daemon, Runtimes::default()).expect("open")
}

/// Runs one life of a daemon: its stores are closed when this returns.
fn live<F: Future<Output = ()>>(folder: &Path, work: impl FnOnce(Services) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    runtime.block_on(async { work(open(folder)).await });
}

fn once<F: Future<Output = ()>>(work: impl FnOnce(Services) -> F) {
    let folder = tempfile::tempdir().expect("tempdir");
    live(folder.path(), work);
}

fn scope(lease: Option<&str>) -> Scope {
    Scope { namespace: NS.to_owned(), lease: lease.map(str::to_owned) }
}

fn sample(id: &str) -> Container {
    Container {
        id: id.to_owned(),
        labels: HashMap::from([("env".to_owned(), id.to_owned())]),
        image: "busybox".to_owned(),
        runtime: Some(container::Runtime { name: "io.containerd.runc.v2".to_owned(), options: None }),
        spec: Some(Any { type_url: "spec".to_owned(), value: b"{}".to_vec() }),
        ..Container::default()
    }
}

fn image(name: &str, target: &Digest) -> Image {
    let target =
        Descriptor { media_type: "m".to_owned(), digest: target.to_string(), size: 1, ..Descriptor::default() };
    Image { name: name.to_owned(), target: Some(target), ..Image::default() }
}

async fn put(services: &Services, scope: Scope, bytes: &[u8], labels: &[(&str, String)]) -> Digest {
    let digest = Digest::of(bytes);
    let request =
        WriteRequest { reference: format!("put-{digest}"), expected: Some(digest), ..WriteRequest::default() };
    let mut write = services.contents.write(scope, request).await.expect("open a write");
    write = tokio::task::spawn_blocking({
        let bytes = bytes.to_vec();
        move || {
            write.write_at(None, &bytes).expect("write");
            write
        }
    })
    .await
    .expect("join");
    let labels: Labels = labels.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    write.commit(None, Some(digest), labels).await.expect("commit")
}

#[test]
fn a_container_is_made_once_found_by_filters_and_survives_a_restart() {
    let folder = tempfile::tempdir().expect("tempdir");
    live(folder.path(), |services| async move {
        services.containers.create(NS, sample("one")).await.expect("create");
        services.containers.create(NS, sample("two")).await.expect("create");
        services.containers.create("other", sample("one")).await.expect("another namespace is another world");
        let again = services.containers.create(NS, sample("one")).await.expect_err("twice");
        assert_eq!(
            (again.kind(), again.to_string().as_str()),
            (ErrorKind::AlreadyExists, "container \"one\": already exists")
        );
    });
    live(folder.path(), |services| async move {
        let found = services.containers.list(NS, &["labels.env==two".to_owned()]).expect("list");
        assert_eq!(found.iter().map(|container| container.id.as_str()).collect::<Vec<_>>(), ["two"]);
        assert_eq!(services.containers.list(NS, &[]).expect("list").len(), 2);
        services.containers.delete(NS, "one").await.expect("delete");
        assert_eq!(services.containers.delete(NS, "one").await.expect_err("gone").kind(), ErrorKind::NotFound);
        assert!(services.containers.get("other", "one").is_ok());
    });
}

#[test]
fn only_the_named_fields_of_a_container_change() {
    once(|services| async move {
        services.containers.create(NS, sample("one")).await.expect("create");
        let mut given = sample("one");
        given.image = "debian".to_owned();
        given.labels = HashMap::from([("a".to_owned(), "b".to_owned())]);
        let updated = services.containers.update(NS, given.clone(), vec!["labels.a".to_owned()]).await.expect("update");
        assert_eq!((updated.image.as_str(), updated.labels.len()), ("busybox", 2));
        let updated = services.containers.update(NS, given.clone(), Vec::new()).await.expect("update");
        assert_eq!((updated.image.as_str(), updated.labels.len()), ("debian", 1));
        let refused = services.containers.update(NS, given.clone(), vec!["created_at".to_owned()]).await;
        assert_eq!(refused.expect_err("field").kind(), ErrorKind::InvalidArgument);
        given.runtime = None;
        let refused = services.containers.update(NS, given, Vec::new()).await;
        assert_eq!(refused.expect_err("runtime").kind(), ErrorKind::InvalidArgument);
    });
}

#[test]
fn broken_containers_are_refused() {
    once(|services| async move {
        let broken = [
            Container { id: "../x".to_owned(), ..sample("x") },
            Container { id: String::new(), ..sample("x") },
            Container { runtime: None, ..sample("x") },
            Container { spec: None, ..sample("x") },
            Container { snapshot_key: "key".to_owned(), ..sample("x") },
            Container { labels: HashMap::from([("l".to_owned(), "v".repeat(5000))]), ..sample("x") },
        ];
        for container in broken {
            let error = services.containers.create(NS, container.clone()).await.expect_err("broken");
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{container:?}");
        }
        assert!(services.containers.list(NS, &[]).expect("list").is_empty());
    });
}

#[test]
fn an_image_name_is_removed_only_while_it_means_what_was_said() {
    once(|services| async move {
        let digest = Digest::of("x");
        services.images.create(NS, image("busybox", &digest), None).await.expect("create");
        let refused = services.images.delete(NS, "busybox", Some(Digest::of("y").to_string())).await;
        assert_eq!(refused.expect_err("another target").kind(), ErrorKind::NotFound);
        services.images.delete(NS, "busybox", Some(digest.to_string())).await.expect("delete");
        assert_eq!(services.images.get(NS, "busybox").expect_err("gone").to_string(), "image \"busybox\": not found");
    });
}

#[test]
fn content_lives_as_long_as_something_refers_to_it() {
    once(|services| async move {
        services.leases.create(NS, "pull", HashMap::new()).await.expect("lease");
        let leased = || scope(Some("pull"));
        let layer = put(&services, leased(), b"layer", &[]).await;
        let reference = [("containerd.io/gc.ref.content.l.0", layer.to_string())];
        let manifest = put(&services, leased(), b"manifest", &reference).await;
        put(&services, scope(None), b"rubbish", &[]).await;
        services.collector.collect().await;
        assert_eq!(services.contents.list(NS, Vec::new()).await.expect("list").len(), 2, "the lease holds two");
        services.images.create(NS, image("busybox", &manifest), None).await.expect("image");
        services.leases.delete(NS, "pull").await.expect("delete");
        services.collector.collect().await;
        assert_eq!(services.contents.list(NS, Vec::new()).await.expect("list").len(), 2, "the image holds both");
        services.images.delete(NS, "busybox", None).await.expect("delete");
        services.collector.collect().await;
        assert!(services.contents.list(NS, Vec::new()).await.expect("list").is_empty());
    });
}

#[test]
fn a_blob_that_is_there_already_comes_under_the_lease_of_who_asks_for_it() {
    once(|services| async move {
        let labels = [("containerd.io/gc.root", "x".to_owned())];
        let digest = put(&services, scope(None), b"blob", &labels).await;
        services.leases.create(NS, "mine", HashMap::new()).await.expect("lease");
        let request = WriteRequest { reference: "again".to_owned(), expected: Some(digest), ..WriteRequest::default() };
        let Err(error) = services.contents.write(scope(Some("mine")), request).await else { panic!("it exists") };
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        services.contents.update(NS, digest, Labels::new(), vec!["labels".to_owned()]).await.expect("update");
        services.collector.collect().await;
        assert!(services.contents.info(NS, &digest).is_ok());
        services.leases.delete(NS, "mine").await.expect("delete");
        services.collector.collect().await;
        assert!(services.contents.info(NS, &digest).is_err());
    });
}

/// A client that gives up leaves writes open behind it: neither they nor what they would become outlive its lease.
#[test]
fn a_write_that_is_still_open_goes_with_its_lease() {
    once(|services| async move {
        services.leases.create(NS, "pull", HashMap::new()).await.expect("lease");
        let request = WriteRequest { reference: "layer".to_owned(), ..WriteRequest::default() };
        let mut open = services.contents.write(scope(Some("pull")), request).await.expect("open");
        open = tokio::task::spawn_blocking(move || open.write_at(None, b"half").map(|()| open))
            .await
            .expect("join")
            .expect("write");
        let unleased = WriteRequest { reference: "other".to_owned(), ..WriteRequest::default() };
        drop(services.contents.write(scope(None), unleased).await.expect("open"));
        services.leases.delete(NS, "pull").await.expect("delete");
        services.collector.collect().await;
        let left = services.contents.statuses(NS, Vec::new()).await.expect("list");
        assert_eq!(left.iter().map(|status| status.reference.as_str()).collect::<Vec<_>>(), ["other"]);
        let refused = open.commit(None, None, Labels::new()).await.expect_err("its lease is gone");
        assert_eq!(refused.kind(), ErrorKind::NotFound);
        assert!(services.contents.list(NS, Vec::new()).await.expect("list").is_empty());
        assert_eq!(services.contents.statuses(NS, Vec::new()).await.expect("list").len(), 1);
    });
}

/// Commits that are at work when the lease goes are waited for, and what they made goes as well.
#[test]
fn a_commit_that_races_with_the_end_of_its_lease_leaves_nothing() {
    once(|services| async move {
        for round in 0..20 {
            services.leases.create(NS, "pull", HashMap::new()).await.expect("lease");
            let request = WriteRequest { reference: "layer".to_owned(), ..WriteRequest::default() };
            let mut write = services.contents.write(scope(Some("pull")), request).await.expect("open");
            write = tokio::task::spawn_blocking(move || write.write_at(None, &[round; 4096]).map(|()| write))
                .await
                .expect("join")
                .expect("write");
            let commit = tokio::spawn(write.commit(None, None, Labels::new()));
            tokio::task::yield_now().await;
            services.leases.delete(NS, "pull").await.expect("delete");
            services.collector.collect().await;
            let left = services.contents.list(NS, Vec::new()).await.expect("list").len();
            let writes = services.contents.statuses(NS, Vec::new()).await.expect("list").len();
            let committed = commit.await.expect("join");
            assert_eq!((left, writes), (0, 0), "round {round}: {committed:?}");
        }
    });
}

#[test]
fn snapshots_are_collected_children_first_and_held_by_containers() {
    once(|services| async move {
        let new =
            |key: &str, parent: &str| NewSnapshot { key: key.into(), parent: parent.into(), ..Default::default() };
        services.leases.create(NS, "unpack", HashMap::new()).await.expect("lease");
        let leased = || scope(Some("unpack"));
        services.snapshots.create(leased(), new("extract", "")).await.expect("prepare");
        services.snapshots.commit(leased(), "base".into(), "extract".into(), Labels::new()).await.expect("commit");
        services.snapshots.create(leased(), new("rw", "base")).await.expect("prepare");
        let mut container = sample("one");
        (container.snapshotter, container.snapshot_key) = ("overlayfs".into(), "rw".into());
        services.containers.create(NS, container).await.expect("container");
        services.leases.delete(NS, "unpack").await.expect("delete");
        services.collector.collect().await;
        assert_eq!(services.snapshots.list(NS, Vec::new()).await.expect("list").len(), 2);
        services.containers.delete(NS, "one").await.expect("delete");
        services.collector.collect().await;
        assert!(services.snapshots.list(NS, Vec::new()).await.expect("list").is_empty());
    });
}

#[test]
fn leases_hold_what_is_named_by_a_known_type() {
    once(|services| async move {
        services.leases.create(NS, "l", HashMap::new()).await.expect("lease");
        let resource = |r#type: &str, id: &str| Resource { id: id.to_owned(), r#type: r#type.to_owned() };
        let digest = Digest::of("x").to_string();
        for good in [resource("content", &digest), resource("snapshots/overlayfs", "key"), resource("ingests", "ref")] {
            services.leases.add_resource(NS, "l", good).await.expect("good");
        }
        assert_eq!(services.leases.resources(NS, "l").expect("list").len(), 3);
        for (bad, kind) in [
            (resource("content", "no digest"), ErrorKind::InvalidArgument),
            (resource("snapshots", "key"), ErrorKind::InvalidArgument),
            (resource("moons", "x"), ErrorKind::NotImplemented),
        ] {
            assert_eq!(services.leases.add_resource(NS, "l", bad).await.expect_err("bad").kind(), kind);
        }
        let unknown = services.leases.add_resource(NS, "none", resource("ingests", "x")).await;
        assert_eq!(unknown.expect_err("unknown").kind(), ErrorKind::NotFound);
        let refused =
            services.contents.write(scope(Some("none")), WriteRequest { reference: "r".into(), ..Default::default() });
        assert_eq!(refused.await.err().map(|error| error.kind()), Some(ErrorKind::NotFound));
    });
}

#[test]
fn a_namespace_comes_with_its_first_object_and_goes_when_it_is_empty() {
    once(|services| async move {
        assert!(services.namespaces.list().expect("list").is_empty());
        services.containers.create("auto", sample("one")).await.expect("create");
        assert_eq!(services.namespaces.list().expect("list").len(), 1);
        let refused = services.namespaces.delete("auto", Vec::new()).await.expect_err("not empty");
        assert_eq!(refused.kind(), ErrorKind::FailedPrecondition);
        assert!(refused.to_string().contains("still has containers"), "{refused}");
        services.containers.delete("auto", "one").await.expect("delete");
        services.namespaces.delete("auto", Vec::new()).await.expect("empty");
        let named = Namespace { name: "bad/name".to_owned(), labels: HashMap::new() };
        assert_eq!(services.namespaces.create(named).await.expect_err("name").kind(), ErrorKind::InvalidArgument);
    });
}

/// An archive of one file (POSIX ustar), without the blocks at its end.
fn archive_of(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    header[148..156].fill(b' ');
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    [&header, content].concat()
}

/// Waits until a part of the file is there.
async fn begun(file: &Path) {
    while std::fs::metadata(file).map_or(0, |found| found.len()) < 1 << 19 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[test]
fn a_layer_is_unpacked_while_its_write_goes_on() {
    let folder = tempfile::tempdir().expect("tempdir");
    let target = tempfile::tempdir().expect("tempdir");
    let bytes = &archive_of("file", &vec![7; 3 << 20]);
    let digest = Digest::of(bytes);
    let mount = Mount {
        r#type: "bind".to_owned(),
        source: target.path().display().to_string(),
        options: vec!["rbind".to_owned(), "rw".to_owned()],
        ..Mount::default()
    };
    let layer = |write: &str| Descriptor {
        media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
        digest: digest.to_string(),
        size: i64::try_from(bytes.len()).expect("length"),
        annotations: HashMap::from([(containerd_api::WRITE_ANNOTATION.to_owned(), write.to_owned())]),
    };
    let file = target.path().join("file");
    live(folder.path(), |services| async move {
        let apply = |layer| {
            let (services, mount) = (services.clone(), mount.clone());
            tokio::spawn(async move { services.differ.apply(NS, layer, vec![mount], false).await })
        };
        let open = || async {
            let request =
                WriteRequest { reference: "layer".to_owned(), expected: Some(digest), ..WriteRequest::default() };
            services.contents.write(scope(None), request).await.expect("open a write")
        };
        let nowhere = apply(layer("another")).await.expect("join").expect_err("no such write");
        assert_eq!(nowhere.kind(), ErrorKind::NotFound);

        // Given up half-way: an error that says so.
        let mut write = open().await;
        write.write_at(None, &bytes[..1 << 20]).expect("write");
        let half = apply(layer("layer"));
        begun(&file).await;
        drop(write);
        assert_eq!(half.await.expect("join").expect_err("half of it").kind(), ErrorKind::Unavailable);

        // Gone on with: the files are there before the last byte has come, the answer only after it.
        let mut write = open().await;
        assert_eq!(write.status().offset, 1 << 20);
        std::fs::remove_file(&file).expect("the half");
        let applied = apply(layer("layer"));
        begun(&file).await;
        assert!(!applied.is_finished());
        write.write_at(None, &bytes[1 << 20..]).expect("write");
        write.commit(None, Some(digest), Labels::new()).await.expect("commit");
        assert_eq!(applied.await.expect("join").expect("apply").digest, digest.to_string());
        assert_eq!(std::fs::metadata(&file).expect("the file").len(), 3 << 20);
    });
}
