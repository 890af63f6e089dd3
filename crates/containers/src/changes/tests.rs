use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};

use rustix::fs::{CWD, Timespec, Timestamps, XattrFlags, lsetxattr, mknodat, utimensat};

use super::*;

struct Layers {
    folder: tempfile::TempDir,
}

impl Layers {
    /// Two layers of an image below an upper directory.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["upper", "middle", "bottom"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn folder(&self, path: &str) {
        fs::create_dir_all(self.path(path)).unwrap();
    }

    fn file(&self, path: &str, text: &str) {
        self.folder(Path::new(path).parent().unwrap().to_str().unwrap());
        fs::write(self.path(path), text).unwrap();
        let time = Timespec { tv_sec: 1_000, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, self.path(path), &times, AtFlags::empty()).unwrap();
    }

    fn whiteout(&self, path: &str) {
        mknodat(CWD, self.path(path), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    }

    fn opaque(&self, path: &str) {
        self.folder(path);
        lsetxattr(self.path(path), "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
    }

    fn changes(&self) -> Vec<String> {
        let open = |name: &str| OwnedFd::from(File::open(self.path(name)).unwrap());
        let upper = Upper { root: open("upper"), lower: Lower(vec![open("middle"), open("bottom")]) };
        let told = |change: Change| {
            let kind = match change.kind {
                ChangeKind::Modified => "C",
                ChangeKind::Added => "A",
                ChangeKind::Deleted => "D",
            };
            format!("{kind} {}", change.path.display())
        };
        upper.changes().unwrap().into_iter().map(told).collect()
    }
}

#[test]
fn what_is_new_changed_and_gone_is_told_with_the_folders_above() {
    let layers = Layers::new();
    layers.file("bottom/etc/passwd", "old");
    layers.file("bottom/etc/group", "old");
    layers.file("bottom/srv/same", "same");
    layers.file("upper/etc/passwd", "longer");
    layers.whiteout("upper/etc/group");
    layers.file("upper/srv/same", "same");
    layers.file("upper/new/deep/file", "x");
    assert_eq!(
        layers.changes(),
        ["C /etc", "D /etc/group", "C /etc/passwd", "A /new", "A /new/deep", "A /new/deep/file"]
    );
}

#[test]
fn what_the_runtime_makes_to_mount_on_is_no_change() {
    let layers = Layers::new();
    layers.file("bottom/etc/passwd", "old");
    for file in ["upper/etc/hosts", "upper/etc/hostname", "upper/etc/resolv.conf"] {
        layers.file(file, "");
    }
    for folder in ["upper/proc", "upper/sys", "upper/dev"] {
        layers.folder(folder);
    }
    assert_eq!(layers.changes(), [""; 0]);
    // Made by a user, it is one.
    layers.file("upper/etc/hosts", "127.0.0.1 x\n");
    layers.file("upper/dev/tool", "x");
    assert_eq!(layers.changes(), ["A /dev", "A /dev/tool", "C /etc", "A /etc/hosts"]);
}

#[test]
fn a_folder_s_time_is_no_change_and_its_mode_is_one() {
    let layers = Layers::new();
    layers.folder("bottom/srv");
    layers.folder("upper/srv");
    assert_eq!(layers.changes(), [""; 0]);
    fs::set_permissions(layers.path("upper/srv"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(layers.changes(), ["C /srv"]);
}

#[test]
fn a_folder_made_again_shows_what_it_had() {
    let layers = Layers::new();
    layers.file("bottom/d/old", "x");
    layers.file("bottom/d/hidden", "x");
    layers.file("middle/d/kept", "x");
    layers.whiteout("middle/d/hidden");
    layers.opaque("upper/d");
    layers.file("upper/d/kept", "x");
    layers.file("upper/d/new", "x");
    assert_eq!(layers.changes(), ["C /d", "A /d/new", "D /d/old"]);
}

#[test]
fn what_a_layer_hides_was_not_there() {
    let layers = Layers::new();
    layers.file("bottom/a/file", "x");
    layers.file("bottom/b/file", "x");
    layers.opaque("middle/a");
    layers.whiteout("middle/b");
    layers.file("upper/a/file", "x");
    layers.file("upper/b/file", "x");
    assert_eq!(layers.changes(), ["C /a", "A /a/file", "A /b", "A /b/file"]);
}

#[test]
fn a_link_in_the_image_is_not_followed_to_the_host() {
    let layers = Layers::new();
    symlink("/etc", layers.path("bottom/link")).unwrap();
    layers.file("upper/link/passwd", "x");
    assert_eq!(layers.changes(), ["C /link", "A /link/passwd"]);
}
