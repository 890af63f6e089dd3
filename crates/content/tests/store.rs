//! The store as its users see it.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use content::{Commit, Error, Store, WriteRequest};
use errors::{ErrorKind, Kind};
use ids::Digest;
use metadata::{Database, Labels, Options};
use proptest::prelude::*;

struct Room {
    store: Store,
    folder: tempfile::TempDir,
}

impl Room {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { store: open(folder.path()), folder }
    }

    fn reopen(self) -> Self {
        let Self { store, folder } = self;
        drop(store);
        Self { store: open(folder.path()), folder }
    }

    fn exists(&self, path: &str) -> bool {
        self.folder.path().join("content").join(path).exists()
    }
}

fn open(folder: &Path) -> Store {
    let database = Database::open(&folder.join("meta.db"), &Options::default()).unwrap();
    Store::open(&folder.join("content"), database).unwrap()
}

fn request(reference: &str) -> WriteRequest {
    WriteRequest { reference: reference.to_owned(), ..WriteRequest::default() }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn put(store: &Store, namespace: &str, bytes: &[u8]) -> Digest {
    let mut writer = store.writer(namespace, &request("put")).unwrap();
    writer.write(bytes).unwrap();
    writer.commit(Commit::default()).unwrap()
}

#[test]
fn a_committed_blob_can_be_read_whole_and_in_parts() {
    let room = Room::new();
    let mut writer = room.store.writer("a", &request("r")).unwrap();
    writer.write(b"hello ").unwrap();
    writer.write(b"world").unwrap();
    assert_eq!(room.store.walk("a", &[]).unwrap(), [], "nothing is seen before the commit");
    let digest = Digest::of(b"hello world");
    assert_eq!(writer.digest(), digest);
    let commit = Commit { size: Some(11), expected: Some(digest), labels: labels(&[("k", "v")]), also: None };
    assert_eq!(writer.commit(commit).unwrap(), digest);
    assert!(room.exists(&format!("blobs/sha256/{}", digest.hex())));
    assert!(!room.exists(&format!("ingest/{}", Digest::of("a/r").hex())));
    assert_eq!(room.store.read_range("a", &digest, 0, 100).unwrap(), b"hello world");
    assert_eq!(room.store.read_range("a", &digest, 6, 3).unwrap(), b"wor");
    assert_eq!(room.store.read_range("a", &digest, 11, 3).unwrap(), b"");
    assert_eq!(room.store.read_range("a", &digest, 12, 3).unwrap_err().kind(), ErrorKind::InvalidArgument);
    let room = room.reopen();
    let info = room.store.info("a", &digest).unwrap();
    assert_eq!((info.size, info.labels), (11, labels(&[("k", "v")])));
}

#[test]
fn a_wrong_size_or_digest_is_refused_and_wrong_bytes_do_not_stay() {
    let room = Room::new();
    let other = Digest::of(b"other");
    let mut writer = room.store.writer("a", &request("r")).unwrap();
    writer.write(b"abc").unwrap();
    let error = writer.commit(Commit { size: Some(4), ..Commit::default() }).unwrap_err();
    assert_eq!(error.to_string(), "unexpected commit size 3, expected 4");
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    let mut writer = room.store.writer("a", &request("r")).unwrap();
    assert_eq!(writer.status().offset, 3, "a short write can go on");
    writer.write(b"d").unwrap();
    let error = writer.commit(Commit { expected: Some(other), ..Commit::default() }).unwrap_err();
    assert_eq!(error.to_string(), format!("unexpected commit digest {}, expected {other}", Digest::of(b"abcd")));
    assert_eq!(room.store.statuses("a", &[]).unwrap(), []);
    assert_eq!(room.store.walk("a", &[]).unwrap(), []);
}

#[test]
fn an_interrupted_write_goes_on_after_a_restart() {
    let room = Room::new();
    let mut writer = room.store.writer("a", &WriteRequest { total: 6, ..request("r") }).unwrap();
    writer.write(b"abc").unwrap();
    drop(writer);
    let room = room.reopen();
    let status = room.store.status("a", "r").unwrap();
    assert_eq!((status.offset, status.total, status.reference.as_str()), (3, 6, "r"));
    assert!(status.started_at <= status.updated_at);
    let mut writer = room.store.writer("a", &WriteRequest { total: 6, ..request("r") }).unwrap();
    assert_eq!(writer.status().offset, 3);
    writer.write(b"def").unwrap();
    assert_eq!(writer.commit(Commit::default()).unwrap(), Digest::of(b"abcdef"));
    assert_eq!(room.store.status("a", "r").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_write_with_another_total_begins_anew() {
    let room = Room::new();
    let mut writer = room.store.writer("a", &WriteRequest { total: 6, ..request("r") }).unwrap();
    writer.write(b"abc").unwrap();
    drop(writer);
    let writer = room.store.writer("a", &WriteRequest { total: 7, ..request("r") }).unwrap();
    assert_eq!((writer.status().offset, writer.status().total), (0, 7));
}

#[test]
fn bytes_that_came_behind_the_hash_are_hashed_again() {
    let room = Room::new();
    let mut writer = room.store.writer("a", &request("r")).unwrap();
    writer.write(b"abc").unwrap();
    drop(writer);
    let data = room.folder.path().join("content/ingest").join(Digest::of("a/r").hex()).join("data");
    std::fs::write(data, b"abcd").unwrap();
    let writer = room.store.writer("a", &request("r")).unwrap();
    assert_eq!(writer.digest(), Digest::of(b"abcd"));
}

#[test]
fn a_reference_has_one_writer_at_a_time() {
    let room = Room::new();
    let writer = room.store.writer("a", &request("r")).unwrap();
    assert_eq!(room.store.writer("a", &request("r")).err().unwrap().kind(), ErrorKind::Unavailable);
    assert!(room.store.writer("b", &request("r")).is_ok(), "another namespace has other references");
    assert_eq!(room.store.abort("a", "r").unwrap_err().kind(), ErrorKind::Unavailable);
    drop(writer);
    room.store.abort("a", "r").unwrap();
    assert_eq!(room.store.abort("a", "r").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_blob_is_written_once_a_namespace() {
    let room = Room::new();
    let digest = put(&room.store, "a", b"abc");
    let known = WriteRequest { expected: Some(digest), ..request("again") };
    assert_eq!(room.store.writer("a", &known).err().unwrap().kind(), ErrorKind::AlreadyExists);
    let mut writer = room.store.writer("a", &request("again")).unwrap();
    writer.write(b"abc").unwrap();
    assert!(matches!(writer.commit(Commit::default()), Err(Error::AlreadyExists { .. })));
    assert_eq!(room.store.statuses("a", &[]).unwrap(), []);
    assert_eq!(room.store.read_range("a", &digest, 0, 9).unwrap(), b"abc");
}

#[test]
fn a_blob_of_another_namespace_becomes_visible_by_its_digest_without_bytes() {
    let room = Room::new();
    let digest = put(&room.store, "a", b"abc");
    assert_eq!(room.store.info("b", &digest).unwrap_err().kind(), ErrorKind::NotFound);
    let known = WriteRequest { expected: Some(digest), ..request("r") };
    let writer = room.store.writer("b", &known).unwrap();
    assert_eq!((writer.status().offset, writer.digest()), (3, digest));
    writer.commit(Commit { expected: Some(digest), size: Some(3), ..Commit::default() }).unwrap();
    assert_eq!(room.store.info("b", &digest).unwrap().size, 3);
    room.store.delete("a", &digest).unwrap();
    assert_eq!(room.store.read_range("b", &digest, 0, 9).unwrap(), b"abc");
    room.store.delete("b", &digest).unwrap();
    assert!(!room.exists(&format!("blobs/sha256/{}", digest.hex())));
    assert_eq!(room.store.delete("b", &digest).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn writing_more_to_a_shared_blob_makes_a_copy_of_it() {
    let room = Room::new();
    let digest = put(&room.store, "a", b"abc");
    let known = WriteRequest { expected: Some(digest), ..request("r") };
    let mut writer = room.store.writer("b", &known).unwrap();
    writer.write(b"d").unwrap();
    assert_eq!(writer.commit(Commit::default()).unwrap(), Digest::of(b"abcd"));
    let mut writer = room.store.writer("b", &known).unwrap();
    writer.truncate(1).unwrap();
    assert_eq!(writer.digest(), Digest::of(b"a"));
    writer.abort().unwrap();
    assert_eq!(room.store.read_range("a", &digest, 0, 9).unwrap(), b"abc");
}

#[test]
fn a_truncated_write_hashes_what_is_left() {
    let room = Room::new();
    let mut writer = room.store.writer("a", &request("r")).unwrap();
    writer.write(b"abcdef").unwrap();
    assert_eq!(writer.truncate(7).unwrap_err().kind(), ErrorKind::InvalidArgument);
    writer.truncate(2).unwrap();
    writer.write(b"X").unwrap();
    assert_eq!(writer.commit(Commit::default()).unwrap(), Digest::of(b"abX"));
}

#[test]
fn labels_change_under_a_mask_and_filters_find_them() {
    let room = Room::new();
    let (one, two) = (put(&room.store, "a", b"1"), put(&room.store, "a", b"2"));
    let given = labels(&[("x/y.z", "1"), ("other", "2")]);
    let before = room.store.info("a", &one).unwrap();
    let info = room.store.update("a", &one, given, &["labels.x/y.z".to_owned()]).unwrap();
    assert_eq!(info.labels, labels(&[("x/y.z", "1")]));
    assert_eq!(info.created_at, before.created_at);
    assert!(info.updated_at >= before.updated_at);
    let found = |filter: &str| room.store.walk("a", &[filter.to_owned()]).unwrap();
    assert_eq!(found("labels.\"x/y.z\"==1"), [info]);
    assert_eq!(found(&format!("digest==\"{two}\""))[0].digest, two);
    assert_eq!(room.store.walk("a", &["labels.".to_owned()]).unwrap_err().kind(), ErrorKind::InvalidArgument);
    let long = labels(&[("k", &"v".repeat(5000))]);
    assert_eq!(room.store.update("a", &one, long, &[]).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_blob_without_a_record_is_removed_when_the_store_opens() {
    let room = Room::new();
    let digest = put(&room.store, "a", b"kept");
    let orphan = room.folder.path().join("content/blobs/sha256").join(Digest::of(b"orphan").hex());
    std::fs::write(&orphan, b"orphan").unwrap();
    let room = room.reopen();
    assert!(!orphan.exists());
    assert_eq!(room.store.read_range("a", &digest, 0, 9).unwrap(), b"kept");
}

#[test]
fn a_write_that_was_cut_short_is_removed_when_the_store_opens() {
    let room = Room::new();
    let mut left = room.store.writer("a", &request("left")).unwrap();
    left.write(b"half").unwrap();
    drop(left);
    // As a kill leaves them that falls into the making or the publishing of one.
    let ingests = room.folder.path().join("content/ingest");
    for file in ["ref", "startedat"] {
        let torn = ingests.join(file);
        std::fs::create_dir(&torn).unwrap();
        std::fs::write(torn.join(file), "a/torn").unwrap();
    }
    let room = room.reopen();
    assert_eq!(std::fs::read_dir(&ingests).unwrap().count(), 1);
    assert_eq!(room.store.status("a", "left").unwrap().offset, 4);
}

#[test]
fn several_blobs_are_deleted_at_once() {
    let room = Room::new();
    let (one, two, shared) = (put(&room.store, "a", b"1"), put(&room.store, "a", b"2"), put(&room.store, "a", b"3"));
    put(&room.store, "b", b"3");
    assert_eq!(room.store.delete_all("a", &[one, two, shared, Digest::of(b"none")]).unwrap(), 3);
    assert!(room.store.walk("a", &[]).unwrap().is_empty());
    for (digest, there) in [(one, false), (two, false), (shared, true)] {
        assert_eq!(room.exists(&format!("blobs/sha256/{}", digest.hex())), there);
    }
}

#[test]
fn what_the_caller_adds_is_stored_with_the_blob_or_not_at_all() {
    const LEASES: metadata::Table<String> = metadata::Table::new("test-leases");
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("meta.db"), &Options::default()).unwrap();
    let store = Store::open(&folder.path().join("content"), database.clone()).unwrap();
    let mut writer = store.writer("a", &request("r")).unwrap();
    writer.write(b"abc").unwrap();
    let also: content::Also = Box::new(|tx| LEASES.put(tx, "lease", &"abc".to_owned()));
    writer.commit(Commit { also: Some(also), ..Commit::default() }).unwrap();
    assert_eq!(database.view(|tx| LEASES.get(tx, "lease")).unwrap().as_deref(), Some("abc"));
    let mut writer = store.writer("a", &request("r")).unwrap();
    writer.write(b"abcd").unwrap();
    let fails: content::Also = Box::new(|_| Err(metadata::Error::Closed));
    assert!(writer.commit(Commit { also: Some(fails), ..Commit::default() }).is_err());
    assert_eq!(store.walk("a", &[]).unwrap().len(), 1);
}

#[test]
fn names_that_could_leave_their_namespace_are_refused() {
    let room = Room::new();
    for (namespace, reference) in [("a/b", "r"), ("", "r"), ("a", ""), ("a", "\0"), ("a", &"r".repeat(5000))] {
        let error = room.store.writer(namespace, &request(reference)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{namespace:?} {reference:?}");
    }
    drop(room.store.writer("a", &request("../../x")).unwrap());
    assert_eq!(room.store.statuses("a", &[]).unwrap()[0].reference, "../../x");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn however_a_write_is_cut_the_blob_is_the_same(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..6)) {
        let room = Room::new();
        for part in &parts {
            let mut writer = room.store.writer("a", &request("r")).unwrap();
            writer.write(part).unwrap();
        }
        let whole = parts.concat();
        let writer = room.store.writer("a", &request("r")).unwrap();
        let digest = writer.commit(Commit { size: Some(whole.len() as u64), ..Commit::default() }).unwrap();
        prop_assert_eq!(digest, Digest::of(&whole));
        prop_assert_eq!(room.store.read_range("a", &digest, 0, 2000).unwrap(), whole);
    }
}

#[test]
fn a_blob_can_be_read_while_it_is_written() {
    use std::io::Read;
    let room = Room::new();
    let digest = Digest::of("first second");
    assert!(matches!(room.store.follow("a", "r", &digest), Err(Error::NoSuchWrite { .. })));
    let mut writer = room.store.writer("a", &request("r")).unwrap();
    writer.write(b"first ").unwrap();
    let mut following = room.store.follow("a", "r", &digest).unwrap();
    let reading = std::thread::spawn(move || {
        let mut first = [0; 6];
        following.read_exact(&mut first).unwrap();
        let mut rest = String::new();
        following.read_to_string(&mut rest).unwrap();
        (first, rest, following.is_given_up())
    });
    writer.write(b"second").unwrap();
    writer.commit(Commit { expected: Some(digest), ..Commit::default() }).unwrap();
    assert_eq!(reading.join().unwrap(), (*b"first ", "second".to_owned(), false));
}

#[test]
fn who_reads_along_hears_that_the_blob_does_not_come() {
    use std::io::Read;
    let room = Room::new();
    let wanted = Digest::of("wanted");
    let read = |store: &Store, end: &dyn Fn(content::Writer)| {
        let mut writer = store.writer("a", &request("r")).unwrap();
        writer.write(b"other").unwrap();
        let mut following = store.follow("a", "r", &wanted).unwrap();
        let reading = std::thread::spawn(move || {
            let error = following.read_to_end(&mut Vec::new()).unwrap_err();
            assert!(following.is_given_up());
            error.to_string()
        });
        end(writer);
        reading.join().unwrap()
    };
    assert_eq!(read(&room.store, &drop), "the write was given up");
    assert_eq!(read(&room.store, &|mut writer| writer.truncate(0).unwrap()), "the write was given up");
    let refused = |writer: content::Writer| {
        writer.commit(Commit { expected: Some(wanted), ..Commit::default() }).unwrap_err();
    };
    assert_eq!(read(&room.store, &refused), "the write was given up");
    let other = Digest::of("other");
    let committed = |writer: content::Writer| drop(writer.commit(Commit::default()));
    assert_eq!(read(&room.store, &committed), format!("the write became {other}"));
}
