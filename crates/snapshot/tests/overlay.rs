//! The conformance suite on the overlay driver, and what is the driver's own. Needs root; all mounts are made in a
//! mount namespace of the process.
#![allow(clippy::unwrap_used)]

mod conformance;

use std::fs;
use std::path::Path;

use conformance::{NS, Room, cases};
use errors::{ErrorKind, Kind as _};
use libtest_mimic::{Arguments, Trial};
use metadata::{Database, Options};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use snapshot::{Extras, Overlay, Snapshotter};

fn main() {
    let arguments = Arguments::from_args();
    if !arguments.list {
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace (needs root)");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private mounts");
    }
    let mut trials = cases("overlay", make);
    let own: &[(&str, fn())] = &[
        ("the_folders_are_where_containerd_has_them", layout),
        ("everything_is_there_after_opening_again", reopen),
        ("left_over_folders_are_removed_at_open", leftovers),
        ("a_removed_snapshot_leaves_nothing_on_the_disk", removal),
        ("an_unsynced_snapshot_of_an_earlier_boot_is_dropped", unsynced),
        ("an_unsynced_snapshot_in_use_stays_marked", unsynced_in_use),
        ("a_record_without_its_folder_is_dropped", lost_folder),
    ];
    trials.extend(own.iter().map(|(name, run)| {
        Trial::test(*name, move || {
            run();
            Ok(())
        })
    }));
    libtest_mimic::run(&arguments, trials).exit();
}

fn make() -> Room {
    let folder = tempfile::tempdir().unwrap();
    Room { snapshotter: Box::new(open(folder.path())), folder }
}

fn open(folder: &Path) -> Overlay {
    let database = Database::open(&folder.join("meta.db"), &Options::default()).unwrap();
    Overlay::open(&folder.join("overlay"), database).unwrap()
}

fn folders(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("overlay/snapshots")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn layout() {
    let folder = tempfile::tempdir().unwrap();
    let overlay = open(folder.path());
    let root = folder.path().join("overlay/snapshots");
    let path = |name: &str| root.join(name).display().to_string();
    let mounts = overlay.prepare(NS, "a", None, Extras::default()).unwrap();
    assert_eq!((mounts[0].kind.as_str(), mounts[0].source.clone()), ("bind", path("1/fs")));
    assert_eq!(mounts[0].options, ["rw", "rbind"]);
    assert!(root.join("1/work").is_dir());
    overlay.commit(NS, "A", "a", Extras::default()).unwrap();
    let mounts = overlay.prepare(NS, "b", Some("A"), Extras::default()).unwrap();
    assert_eq!((mounts[0].kind.as_str(), mounts[0].source.as_str()), ("overlay", "overlay"));
    let mut expected = vec![
        format!("workdir={}", path("2/work")),
        format!("upperdir={}", path("2/fs")),
        format!("lowerdir={}", path("1/fs")),
    ];
    if Path::new("/sys/module/overlay/parameters/index").exists() {
        expected.push("index=off".to_owned());
    }
    assert_eq!(mounts[0].options, expected);
    let mounts = overlay.view(NS, "v", Some("A"), Extras::default()).unwrap();
    assert_eq!((mounts[0].source.clone(), mounts[0].options.join(",")), (path("1/fs"), "ro,rbind".to_owned()));
    assert!(!root.join("3/work").exists());
    assert_eq!(overlay.upper_path(NS, "b").unwrap(), root.join("2/fs"));
}

fn reopen() {
    let folder = tempfile::tempdir().unwrap();
    let overlay = open(folder.path());
    overlay.prepare(NS, "a", None, Extras::default()).unwrap();
    overlay.commit(NS, "A", "a", Extras::default()).unwrap();
    let mounts = overlay.prepare(NS, "b", Some("A"), Extras::default()).unwrap();
    drop(overlay);
    let overlay = open(folder.path());
    assert_eq!(overlay.mounts(NS, "b").unwrap(), mounts);
    overlay.prepare(NS, "c", Some("A"), Extras::default()).unwrap();
    assert_eq!(folders(folder.path()), ["1", "2", "3"]);
}

fn leftovers() {
    let folder = tempfile::tempdir().unwrap();
    let overlay = open(folder.path());
    overlay.prepare(NS, "a", None, Extras::default()).unwrap();
    drop(overlay);
    for name in ["7", "rm-9", "new-123"] {
        fs::create_dir_all(folder.path().join("overlay/snapshots").join(name).join("fs/deep")).unwrap();
    }
    let overlay = open(folder.path());
    overlay.cleanup().unwrap();
    assert_eq!(folders(folder.path()), ["1"]);
    overlay.prepare(NS, "b", None, Extras::default()).unwrap();
    assert_eq!(folders(folder.path()), ["1", "10"], "a number is not used again while its folder may be there");
}

fn removal() {
    let folder = tempfile::tempdir().unwrap();
    let overlay = open(folder.path());
    for number in 0..20 {
        overlay.prepare(NS, &number.to_string(), None, Extras::default()).unwrap();
        fs::create_dir_all(overlay.upper_path(NS, &number.to_string()).unwrap().join("a/b/c")).unwrap();
    }
    for number in 0..20 {
        overlay.remove(NS, &number.to_string()).unwrap();
    }
    overlay.cleanup().unwrap();
    assert_eq!(folders(folder.path()), [] as [&str; 0]);
}

/// Rewrites the boot in the records, as if the machine had gone down before the sync.
fn unsynced() {
    let folder = tempfile::tempdir().unwrap();
    let overlay = open(folder.path());
    for (name, parent) in [("A", None), ("B", Some("A")), ("C", Some("B"))] {
        overlay.prepare(NS, "x", parent, Extras::default()).unwrap();
        overlay.commit(NS, name, "x", Extras::default()).unwrap();
    }
    drop(overlay);
    age(folder.path(), &["B", "C"]);
    let overlay = open(folder.path());
    assert!(overlay.stat(NS, "A").is_ok(), "what was synced stays");
    assert_eq!(overlay.stat(NS, "B").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(overlay.stat(NS, "C").unwrap_err().kind(), ErrorKind::NotFound);
    overlay.cleanup().unwrap();
    assert_eq!(folders(folder.path()), ["1"]);
}

/// Its child is a container's: dropping it would lose what nobody can unpack again.
fn unsynced_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let overlay = open(folder.path());
    overlay.prepare(NS, "x", None, Extras::default()).unwrap();
    overlay.commit(NS, "A", "x", Extras::default()).unwrap();
    overlay.prepare(NS, "container", Some("A"), Extras::default()).unwrap();
    drop(overlay);
    age(folder.path(), &["A"]);
    let overlay = open(folder.path());
    overlay.prepare(NS, "y", None, Extras::default()).unwrap();
    overlay.commit(NS, "B", "y", Extras::default()).unwrap();
    overlay.remove(NS, "container").unwrap();
    drop(overlay);
    let overlay = open(folder.path());
    assert_eq!(overlay.stat(NS, "A").unwrap_err().kind(), ErrorKind::NotFound, "dropped as soon as it is not in use");
    assert!(overlay.stat(NS, "B").is_ok());
}

fn age(folder: &Path, names: &[&str]) {
    const RECORDS: metadata::Table<BootRecord> = metadata::Table::new("snapshots-overlayfs");
    let database = Database::open(&folder.join("meta.db"), &Options::default()).unwrap();
    for name in names {
        let key = metadata::join_key(&[NS, name]);
        let aged: Result<(), metadata::Error> = database.write_blocking(metadata::Durability::Lazy, move |tx| {
            let mut record = RECORDS.get(tx, &key)?.unwrap();
            assert!(!record.0.contains_key("unsynced_boot"), "closing had synced it");
            record.0.insert("unsynced_boot".into(), "an earlier boot".into());
            RECORDS.put(tx, &key, &record)
        });
        aged.unwrap();
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct BootRecord(serde_json::Map<String, serde_json::Value>);

fn lost_folder() {
    let folder = tempfile::tempdir().unwrap();
    let overlay = open(folder.path());
    overlay.prepare(NS, "a", None, Extras::default()).unwrap();
    overlay.prepare(NS, "b", None, Extras::default()).unwrap();
    let lost = overlay.upper_path(NS, "a").unwrap();
    drop(overlay);
    fs::remove_dir_all(lost.parent().unwrap()).unwrap();
    let overlay = open(folder.path());
    assert_eq!(overlay.stat(NS, "a").unwrap_err().kind(), ErrorKind::NotFound);
    assert!(overlay.stat(NS, "b").is_ok());
}
