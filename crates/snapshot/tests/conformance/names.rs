//! Names, kinds, parents, labels: what needs no mount.

use errors::{ErrorKind, Kind as _};
use snapshot::{Extras, Kind};

use super::{Case, NS, Room, labels};

pub const CASES: &[Case] = &[
    ("an_active_snapshot_is_listed_as_such", stat_active),
    ("a_commit_takes_the_key_away_and_gives_the_name", stat_committed),
    ("a_key_or_name_is_used_once", used_once),
    ("a_parent_must_be_there_and_committed", parents),
    ("only_active_snapshots_are_committed", commit_kinds),
    ("a_snapshot_with_a_child_stays", remove_with_child),
    ("committing_a_child_keeps_its_parent_in_use", committed_child),
    ("a_committed_snapshot_has_no_mounts", mounts_of_committed),
    ("labels_change_under_a_mask", update),
    ("a_walk_finds_what_its_filters_name", walk),
    ("namespaces_do_not_see_each_other", namespaces),
    ("bad_names_are_refused", bad_names),
    ("what_is_not_there_is_not_found", not_found),
    ("a_failed_addition_of_the_caller_leaves_no_snapshot", also),
];

fn kind_of<T: std::fmt::Debug>(result: Result<T, snapshot::Error>) -> ErrorKind {
    result.unwrap_err().kind()
}

fn stat_active(room: &Room) {
    room.layer("base", None, |_| {});
    let extras = Extras::labelled(labels(&[("k", "v")]));
    let mounts = room.snapshotter.prepare(NS, "active", Some("base"), extras).unwrap();
    let info = room.snapshotter.stat(NS, "active").unwrap();
    assert_eq!((info.kind, info.parent.as_deref()), (Kind::Active, Some("base")));
    assert_eq!(info.labels, labels(&[("k", "v")]));
    assert_eq!(room.snapshotter.mounts(NS, "active").unwrap(), mounts);
    room.view("view", Some("base"));
    assert_eq!(room.snapshotter.stat(NS, "view").unwrap().kind, Kind::View);
}

fn stat_committed(room: &Room) {
    room.prepare("key", None);
    let extras = Extras::labelled(labels(&[("of", "commit")]));
    room.snapshotter.commit(NS, "name", "key", extras).unwrap();
    let info = room.snapshotter.stat(NS, "name").unwrap();
    assert_eq!((info.kind, info.parent), (Kind::Committed, None));
    assert_eq!(info.labels, labels(&[("of", "commit")]));
    assert_eq!(kind_of(room.snapshotter.stat(NS, "key")), ErrorKind::NotFound);
    room.prepare("key", Some("name"));
}

fn used_once(room: &Room) {
    room.layer("name", None, |_| {});
    room.prepare("key", None);
    for taken in ["key", "name"] {
        assert_eq!(kind_of(room.snapshotter.prepare(NS, taken, None, Extras::default())), ErrorKind::AlreadyExists);
        assert_eq!(kind_of(room.snapshotter.view(NS, taken, None, Extras::default())), ErrorKind::AlreadyExists);
    }
    assert_eq!(kind_of(room.snapshotter.commit(NS, "name", "key", Extras::default())), ErrorKind::AlreadyExists);
    assert_eq!(room.snapshotter.stat(NS, "key").unwrap().kind, Kind::Active);
}

fn parents(room: &Room) {
    let prepare = |parent| room.snapshotter.prepare(NS, "child", Some(parent), Extras::default());
    assert_eq!(kind_of(prepare("missing")), ErrorKind::NotFound);
    room.prepare("active", None);
    assert_eq!(kind_of(prepare("active")), ErrorKind::InvalidArgument);
    assert_eq!(kind_of(room.snapshotter.stat(NS, "child")), ErrorKind::NotFound);
    room.prepare("empty-parent", Some(""));
    assert_eq!(room.snapshotter.stat(NS, "empty-parent").unwrap().parent, None);
}

fn commit_kinds(room: &Room) {
    room.layer("base", None, |_| {});
    room.view("view", Some("base"));
    let commit = |key| room.snapshotter.commit(NS, "new", key, Extras::default());
    assert_eq!(kind_of(commit("view")), ErrorKind::FailedPrecondition);
    assert_eq!(kind_of(commit("base")), ErrorKind::FailedPrecondition);
    assert_eq!(kind_of(commit("missing")), ErrorKind::NotFound);
}

fn remove_with_child(room: &Room) {
    room.layer("base", None, |_| {});
    room.prepare("child", Some("base"));
    let refused = room.snapshotter.remove(NS, "base").unwrap_err();
    assert_eq!(refused.to_string(), "cannot remove snapshot with child");
    assert_eq!(refused.kind(), ErrorKind::FailedPrecondition);
    room.snapshotter.remove(NS, "child").unwrap();
    room.snapshotter.remove(NS, "base").unwrap();
    room.snapshotter.cleanup().unwrap();
    assert_eq!(room.snapshotter.walk(NS, &[]).unwrap(), []);
}

fn committed_child(room: &Room) {
    room.layer("one", None, |_| {});
    room.layer("two", Some("one"), |_| {});
    assert_eq!(kind_of(room.snapshotter.remove(NS, "one")), ErrorKind::FailedPrecondition);
    assert_eq!(room.snapshotter.stat(NS, "two").unwrap().parent.as_deref(), Some("one"));
    room.snapshotter.remove(NS, "two").unwrap();
    room.snapshotter.remove(NS, "one").unwrap();
}

fn mounts_of_committed(room: &Room) {
    room.layer("base", None, |_| {});
    assert_eq!(kind_of(room.snapshotter.mounts(NS, "base")), ErrorKind::FailedPrecondition);
}

fn update(room: &Room) {
    let extras = Extras::labelled(labels(&[("a", "1"), ("b", "2")]));
    room.snapshotter.prepare(NS, "key", None, extras).unwrap();
    let before = room.snapshotter.stat(NS, "key").unwrap();
    let mask = ["labels.b".to_owned(), "labels.c.d".to_owned()];
    let after = room.snapshotter.update(NS, "key", labels(&[("c.d", "3")]), &mask).unwrap();
    assert_eq!(after.labels, labels(&[("a", "1"), ("c.d", "3")]));
    assert_eq!((after.created_at, after.kind), (before.created_at, before.kind));
    assert!(after.updated_at >= before.updated_at);
    assert_eq!(room.snapshotter.stat(NS, "key").unwrap(), after);
    let refused = room.snapshotter.update(NS, "key", labels(&[]), &["parent".to_owned()]);
    assert_eq!(kind_of(refused), ErrorKind::InvalidArgument);
}

fn walk(room: &Room) {
    room.layer("base", None, |_| {});
    room.layer("top", Some("base"), |_| {});
    room.snapshotter.prepare(NS, "container", Some("top"), Extras::labelled(labels(&[("x/y", "z")]))).unwrap();
    room.view("view", Some("top"));
    let found = |filters: &[&str]| {
        let filters: Vec<String> = filters.iter().map(ToString::to_string).collect();
        let infos = room.snapshotter.walk(NS, &filters).unwrap();
        infos.into_iter().map(|info| info.name).collect::<Vec<_>>()
    };
    assert_eq!(found(&[]), ["base", "container", "top", "view"]);
    assert_eq!(found(&["kind==committed"]), ["base", "top"]);
    assert_eq!(found(&["kind==active", "name==base"]), ["base", "container"]);
    assert_eq!(found(&["parent==top,kind!=view"]), ["container"]);
    assert_eq!(found(&["labels.\"x/y\"==z"]), ["container"]);
    for info in room.snapshotter.walk(NS, &[]).unwrap() {
        assert_eq!(room.snapshotter.stat(NS, &info.name).unwrap(), info);
    }
}

fn namespaces(room: &Room) {
    room.layer("base", None, |_| {});
    assert_eq!(kind_of(room.snapshotter.stat("other", "base")), ErrorKind::NotFound);
    let stranger = room.snapshotter.prepare("other", "key", Some("base"), Extras::default());
    assert_eq!(kind_of(stranger), ErrorKind::NotFound);
    room.snapshotter.prepare("other", "base", None, Extras::default()).unwrap();
    assert_eq!(room.snapshotter.walk(NS, &[]).unwrap().len(), 1);
}

fn bad_names(room: &Room) {
    for (namespace, key) in [(NS, ""), ("", "key"), (NS, &"k".repeat(5000))] {
        let refused = room.snapshotter.prepare(namespace, key, None, Extras::default());
        assert_eq!(kind_of(refused), ErrorKind::InvalidArgument);
    }
    for odd in ["../../etc", "a\0b", "new\nline", "sha256:abc"] {
        room.prepare(odd, None);
        assert_eq!(room.snapshotter.stat(NS, odd).unwrap().name, odd);
    }
}

fn not_found(room: &Room) {
    assert_eq!(kind_of(room.snapshotter.stat(NS, "x")), ErrorKind::NotFound);
    assert_eq!(kind_of(room.snapshotter.mounts(NS, "x")), ErrorKind::NotFound);
    assert_eq!(kind_of(room.snapshotter.usage(NS, "x")), ErrorKind::NotFound);
    assert_eq!(kind_of(room.snapshotter.remove(NS, "x")), ErrorKind::NotFound);
    assert_eq!(kind_of(room.snapshotter.update(NS, "x", labels(&[]), &[])), ErrorKind::NotFound);
}

fn also(room: &Room) {
    let fails = || Extras { also: Some(Box::new(|_| Err(metadata::Error::Closed))), ..Extras::default() };
    assert!(room.snapshotter.prepare(NS, "key", None, fails()).is_err());
    assert_eq!(room.snapshotter.walk(NS, &[]).unwrap(), []);
    room.prepare("key", None);
    assert!(room.snapshotter.commit(NS, "name", "key", fails()).is_err());
    assert_eq!(room.snapshotter.stat(NS, "key").unwrap().kind, Kind::Active);
}
