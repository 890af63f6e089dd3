//! Files: what is seen through the mounts.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use snapshot::{Extras, Usage};

use super::{Case, NS, Room};

pub const CASES: &[Case] = &[
    ("what_was_written_is_seen_by_children", basic),
    ("changes_stay_in_their_own_snapshot", isolation),
    ("a_view_cannot_be_written_to", read_only),
    ("a_removed_file_stays_removed_in_children", removed_file),
    ("a_directory_made_anew_hides_the_old_one", directory_anew),
    ("files_of_lower_layers_can_be_moved", moved),
    ("owner_mode_and_links_survive_a_commit", attributes),
    ("the_top_directory_keeps_its_owner_and_mode", top_directory),
    ("usage_counts_own_files_once", usage),
    ("two_children_of_one_parent_can_be_mounted_at_once", siblings),
    ("a_hundred_and_fifty_layers_can_be_mounted", many_layers),
];

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap();
}

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap()
}

fn basic(room: &Room) {
    room.layer("one", None, |root| {
        write(root, "a", "1");
        fs::create_dir_all(root.join("d/e")).unwrap();
        write(root, "d/e/f", "deep");
    });
    room.layer("two", Some("one"), |root| {
        assert_eq!(read(root, "a"), "1");
        write(root, "b", "2");
    });
    room.look("two", |root| {
        assert_eq!((read(root, "a"), read(root, "b"), read(root, "d/e/f")), ("1".into(), "2".into(), "deep".into()));
    });
    room.look("one", |root| assert!(!root.join("b").exists()));
}

fn isolation(room: &Room) {
    room.layer("base", None, |root| write(root, "a", "base"));
    room.layer("changed", Some("base"), |root| write(root, "a", "changed"));
    room.look("base", |root| assert_eq!(read(root, "a"), "base"));
    room.look("changed", |root| assert_eq!(read(root, "a"), "changed"));
    let mounts = room.prepare("dropped", Some("base"));
    room.mounted(&mounts, |root| write(root, "a", "dropped"));
    room.mounted(&room.snapshotter.mounts(NS, "dropped").unwrap(), |root| assert_eq!(read(root, "a"), "dropped"));
    room.snapshotter.remove(NS, "dropped").unwrap();
    room.look("base", |root| assert_eq!(read(root, "a"), "base"));
}

fn read_only(room: &Room) {
    room.layer("one", None, |root| write(root, "a", "1"));
    room.layer("two", Some("one"), |_| {});
    let refused = |root: &Path| fs::write(root.join("a"), "x").unwrap_err().kind();
    for parent in ["one", "two"] {
        room.look(parent, |root| assert_eq!(refused(root), std::io::ErrorKind::ReadOnlyFilesystem));
    }
    let empty = room.view("empty", None);
    room.mounted(&empty, |root| {
        assert_eq!(fs::write(root.join("a"), "x").unwrap_err().kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    });
}

fn removed_file(room: &Room) {
    room.layer("one", None, |root| {
        fs::create_dir(root.join("d")).unwrap();
        write(root, "d/gone", "1");
        write(root, "kept", "1");
    });
    room.layer("two", Some("one"), |root| fs::remove_file(root.join("d/gone")).unwrap());
    room.layer("three", Some("two"), |root| write(root, "new", "3"));
    room.look("three", |root| {
        assert!(!root.join("d/gone").exists());
        assert!(root.join("kept").exists());
        assert_eq!(fs::read_dir(root.join("d")).unwrap().count(), 0);
    });
}

fn directory_anew(room: &Room) {
    room.layer("one", None, |root| {
        fs::create_dir(root.join("d")).unwrap();
        write(root, "d/old", "1");
    });
    room.layer("two", Some("one"), |root| {
        fs::remove_dir_all(root.join("d")).unwrap();
        fs::create_dir(root.join("d")).unwrap();
        write(root, "d/new", "2");
    });
    room.look("two", |root| {
        let names: Vec<_> = fs::read_dir(root.join("d")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["new"]);
    });
}

fn moved(room: &Room) {
    room.layer("one", None, |root| write(root, "a", "1"));
    room.layer("two", Some("one"), |root| fs::rename(root.join("a"), root.join("b")).unwrap());
    room.look("two", |root| {
        assert!(!root.join("a").exists());
        assert_eq!(read(root, "b"), "1");
    });
}

fn attributes(room: &Room) {
    room.layer("one", None, |root| {
        write(root, "file", "1");
        chown(root.join("file"), Some(1234), Some(5678)).unwrap();
        fs::set_permissions(root.join("file"), fs::Permissions::from_mode(0o4711)).unwrap();
        symlink("/etc/nowhere", root.join("link")).unwrap();
        fs::hard_link(root.join("file"), root.join("twin")).unwrap();
    });
    room.layer("two", Some("one"), |_| {});
    room.look("two", |root| {
        let file = fs::metadata(root.join("file")).unwrap();
        assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777, file.nlink()), (1234, 5678, 0o4711, 2));
        assert_eq!(fs::read_link(root.join("link")).unwrap(), Path::new("/etc/nowhere"));
    });
}

fn top_directory(room: &Room) {
    room.layer("one", None, |root| {
        assert_eq!(fs::metadata(root).unwrap().mode() & 0o7777, 0o755);
        chown(root, Some(42), Some(43)).unwrap();
    });
    let mounts = room.prepare("two", Some("one"));
    room.mounted(&mounts, |root| {
        let top = fs::metadata(root).unwrap();
        assert_eq!((top.uid(), top.gid(), top.mode() & 0o7777), (42, 43, 0o755));
    });
}

fn usage(room: &Room) {
    let empty = {
        room.prepare("empty", None);
        room.snapshotter.usage(NS, "empty").unwrap()
    };
    assert_eq!(empty.inodes, 1);
    let mounts = room.prepare("one-active", None);
    room.mounted(&mounts, |root| {
        fs::write(root.join("big"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(root.join("big"), root.join("twin")).unwrap();
        fs::create_dir(root.join("d")).unwrap();
    });
    let active = room.snapshotter.usage(NS, "one-active").unwrap();
    assert_eq!(active.inodes, 3);
    assert!((1 << 20..(1 << 20) + 65536).contains(&active.bytes), "{active:?}");
    room.commit("one", "one-active");
    assert_eq!(room.snapshotter.usage(NS, "one").unwrap(), active);
    room.prepare("two", Some("one"));
    assert!(room.snapshotter.usage(NS, "two").unwrap().bytes < 65536, "a parent's files are not counted");
    room.view("view", Some("one"));
    assert_eq!(room.snapshotter.usage(NS, "view").unwrap(), Usage::default());
}

fn siblings(room: &Room) {
    room.layer("one", None, |root| write(root, "a", "1"));
    let (left, right) = (room.prepare("left", Some("one")), room.prepare("right", Some("one")));
    room.mounted(&left, |left| {
        room.mounted(&right, |right| {
            write(left, "a", "left");
            write(right, "a", "right");
            assert_eq!((read(left, "a"), read(right, "a")), ("left".into(), "right".into()));
        });
    });
}

fn many_layers(room: &Room) {
    const LAYERS: usize = 150;
    for number in 0..LAYERS {
        let parent = number.checked_sub(1).map(|below| format!("layer-{below}"));
        let (key, name) = (format!("active-{number}"), format!("layer-{number}"));
        let mounts = room.snapshotter.prepare(NS, &key, parent.as_deref(), Extras::default()).unwrap();
        if number % 50 == 0 || number == LAYERS - 1 {
            room.mounted(&mounts, |root| write(root, &name, "x"));
        }
        room.commit(&name, &key);
    }
    let mounts = room.prepare("top", Some(&format!("layer-{}", LAYERS - 1)));
    let bytes: usize = mounts.iter().flat_map(|mount| &mount.options).map(String::len).sum();
    assert!(bytes > 4096, "{bytes} bytes of options would fit into a page");
    room.mounted(&mounts, |root| {
        for number in [0, 50, 100, LAYERS - 1] {
            assert_eq!(read(root, &format!("layer-{number}")), "x");
        }
        write(root, "top", "x");
    });
}
