use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::write::TarWriter;

fn archive(entries: &[(Entry, &str)]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    for (entry, content) in entries {
        writer.append(entry, &mut content.as_bytes()).unwrap();
    }
    writer.finish().unwrap()
}

fn file(path: &str, content: &'static str) -> (Entry, &'static str) {
    let mut entry = Entry::new(path, EntryKind::File, 0o640);
    entry.size = content.len() as u64;
    (entry, content)
}

fn entry(path: &str, kind: EntryKind) -> (Entry, &'static str) {
    (Entry::new(path, kind, 0o750), "")
}

fn put(root: &Path, place: &str, entries: &[(Entry, &str)], options: &ExtractOptions) -> Result<u64, ArchiveError> {
    extract(&archive(entries)[..], File::open(root).unwrap().as_fd(), Path::new(place), options)
}

#[test]
fn everything_is_made_below_the_place_with_its_attributes() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("srv")).unwrap();
    let mut owned = file("d/f", "text");
    (owned.0.uid, owned.0.gid, owned.0.mtime) = (7, 8, (1_000_000, 0));
    let mut directory = entry("d", EntryKind::Directory);
    directory.0.mtime = (2_000_000, 0);
    let entries = [
        directory,
        owned,
        entry("d/link", EntryKind::Symlink(b"/etc/passwd".to_vec())),
        entry("d/same", EntryKind::HardLink(b"d/f".to_vec())),
        entry("d/pipe", EntryKind::Fifo),
        file("implied/deep/file", "x"),
    ];
    assert_eq!(put(root.path(), "/srv", &entries, &ExtractOptions::default()).unwrap(), 6);
    let made = fs::metadata(root.path().join("srv/d/f")).unwrap();
    assert_eq!((made.uid(), made.gid(), made.mode() & 0o7777, made.mtime(), made.nlink()), (7, 8, 0o640, 1_000_000, 2));
    assert_eq!(fs::metadata(root.path().join("srv/d")).unwrap().mtime(), 2_000_000);
    assert_eq!(fs::read_link(root.path().join("srv/d/link")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(fs::symlink_metadata(root.path().join("srv/d/pipe")).unwrap().mode() & 0o7777, 0o750);
    assert_eq!(fs::read(root.path().join("srv/implied/deep/file")).unwrap(), b"x");
}

#[test]
fn one_owner_can_be_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let options = ExtractOptions { owner: Some((11, 12)), ..ExtractOptions::default() };
    put(root.path(), "/", &[file("f", "x"), entry("l", EntryKind::Symlink(b"f".to_vec()))], &options).unwrap();
    for name in ["f", "l"] {
        let made = fs::symlink_metadata(root.path().join(name)).unwrap();
        assert_eq!((made.uid(), made.gid()), (11, 12));
    }
}

#[test]
fn a_link_on_the_way_is_followed_inside_the_root_only() {
    let root = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("real")).unwrap();
    symlink("/real", root.path().join("inner")).unwrap();
    symlink(outside.path(), root.path().join("outer")).unwrap();
    put(root.path(), "/", &[file("inner/f", "x")], &ExtractOptions::default()).unwrap();
    assert_eq!(fs::read(root.path().join("real/f")).unwrap(), b"x");
    // Inside the root that path does not exist, and outside of it nothing is looked at.
    assert!(put(root.path(), "/", &[file("outer/f", "x")], &ExtractOptions::default()).is_err());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn names_that_climb_out_are_refused_in_docker_s_words() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("d")).unwrap();
    let options = ExtractOptions::default();
    let error = put(root.path(), "/d", &[file("../f", "x")], &options).unwrap_err();
    assert_eq!(error.to_string(), "\"../f\" is outside of \"/d\"");
    let error = put(root.path(), "/d", &[entry("l", EntryKind::HardLink(b"../x".to_vec()))], &options).unwrap_err();
    assert!(error.to_string().starts_with("invalid hardlink"), "{error}");
}

#[test]
fn a_directory_stays_one_when_that_is_asked_for() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("d")).unwrap();
    fs::write(root.path().join("f"), "old").unwrap();
    let keep = ExtractOptions { overwrite: Overwrite::KeepKind, ..ExtractOptions::default() };
    let refused = |entries: &[(Entry, &str)]| put(root.path(), "/", entries, &keep).unwrap_err().to_string();
    assert_eq!(refused(&[file("d", "x")]), "cannot overwrite directory \"/d\" with non-directory \"/\"");
    assert_eq!(
        refused(&[entry("f", EntryKind::Directory)]),
        "cannot overwrite non-directory \"/f\" with directory \"/\""
    );
    put(root.path(), "/", &[file("f", "new"), entry("d", EntryKind::Directory)], &keep).unwrap();
    assert_eq!(fs::read(root.path().join("f")).unwrap(), b"new");
    put(root.path(), "/", &[file("d", "x")], &ExtractOptions::default()).unwrap();
    assert_eq!(fs::read(root.path().join("d")).unwrap(), b"x");
}

#[test]
fn the_first_component_can_be_called_something_else() {
    let root = tempfile::tempdir().unwrap();
    let renamed = Some(Renamed { from: b"a".to_vec(), to: b"b".to_vec() });
    let options = ExtractOptions { renamed, ..ExtractOptions::default() };
    let entries = [
        entry("a", EntryKind::Directory),
        file("a/a", "x"),
        entry("a/same", EntryKind::HardLink(b"a/a".to_vec())),
        file("ab", "y"),
    ];
    put(root.path(), "/", &entries, &options).unwrap();
    assert_eq!(fs::read(root.path().join("b/same")).unwrap(), b"x");
    assert_eq!(fs::read(root.path().join("b/a")).unwrap(), b"x");
    assert_eq!(fs::read(root.path().join("ab")).unwrap(), b"y");
}

/// CVE-2018-15664: somebody in the container swaps a directory for a link to the host while the archive goes in.
#[test]
fn a_swapper_of_links_leads_nothing_out_of_the_root() {
    let root = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("victim"), "safe").unwrap();
    let before = fs::metadata(outside.path()).unwrap();
    fs::create_dir(root.path().join("real")).unwrap();
    let (name, other) = (root.path().join("swap"), root.path().join("other"));
    fs::create_dir(&name).unwrap();
    symlink(outside.path(), &other).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let _ = rustix::fs::renameat_with(rustix::fs::CWD, &name, rustix::fs::CWD, &other, flags);
            }
        });
        let mut hostile = entry("swap", EntryKind::Directory);
        hostile.0.mode = 0o777;
        let entries = [hostile, file("swap/victim", "gone"), file("swap/new", "x")];
        for _ in 0..400 {
            // It may fail, since names come and go; it may not reach the outside.
            let _ = put(root.path(), "/", &entries, &ExtractOptions::default());
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read(outside.path().join("victim")).unwrap(), b"safe");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(fs::metadata(outside.path()).unwrap().mode(), before.mode());
}
