//! Unpacking and making layers on a real file system. Needs root: owners, devices and overlay's attributes are root's.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use archive::{
    Applied, ApplyOptions, ArchiveError, Entry, EntryKind, Limits, TarWriter, Whiteouts, apply, diff_directories,
    diff_upper,
};
use proptest::prelude::*;
use rustix::fs::{FileType, Mode, XattrFlags, lgetxattr, lsetxattr, makedev, mknodat};
use tempfile::TempDir;

fn root() -> TempDir {
    TempDir::new().unwrap()
}

/// An archive in the making.
#[derive(Default)]
struct Tar(Vec<(Entry, Vec<u8>)>);

impl Tar {
    fn file(self, path: &str, content: &str) -> Self {
        self.with(path, content, |_| {})
    }

    fn with(mut self, path: &str, content: &str, change: impl FnOnce(&mut Entry)) -> Self {
        let mut entry = Entry::new(path, EntryKind::File, 0o644);
        entry.size = content.len() as u64;
        change(&mut entry);
        self.0.push((entry, content.as_bytes().to_vec()));
        self
    }

    fn entry(mut self, path: &str, kind: EntryKind, mode: u32) -> Self {
        self.0.push((Entry::new(path, kind, mode), Vec::new()));
        self
    }

    fn directory(self, path: &str) -> Self {
        self.entry(path, EntryKind::Directory, 0o755)
    }

    fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, EntryKind::Symlink(target.into()), 0o777)
    }

    fn link(self, path: &str, target: &str) -> Self {
        self.entry(path, EntryKind::HardLink(target.into()), 0o644)
    }

    fn whiteout(self, path: &str) -> Self {
        self.file(path, "")
    }

    fn bytes(&self) -> Vec<u8> {
        let mut writer = TarWriter::new(Vec::new());
        for (entry, content) in &self.0 {
            writer.append(entry, &mut &content[..]).unwrap();
        }
        writer.finish().unwrap()
    }

    fn unpack(&self, root: &Path) -> Result<Applied, ArchiveError> {
        apply(&self.bytes()[..], root, &ApplyOptions::default())
    }

    fn unpack_upper(&self, root: &Path) -> Applied {
        let options = ApplyOptions { whiteouts: Whiteouts::Overlay, ..Default::default() };
        apply(&self.bytes()[..], root, &options).unwrap()
    }
}

/// Every path with what it is, sorted.
fn tree(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(root.join(&directory)).unwrap() {
            let path = directory.join(entry.unwrap().file_name());
            let metadata = fs::symlink_metadata(root.join(&path)).unwrap();
            let kind = metadata.file_type();
            found.push(if kind.is_dir() {
                pending.push(path.clone());
                format!("{}/", path.display())
            } else if kind.is_symlink() {
                format!("{} -> {}", path.display(), fs::read_link(root.join(&path)).unwrap().display())
            } else if kind.is_char_device() {
                format!("{} c{}", path.display(), metadata.rdev())
            } else {
                format!("{}={}", path.display(), fs::read_to_string(root.join(&path)).unwrap())
            });
        }
    }
    found.sort();
    found
}

fn opaque(path: &Path) -> bool {
    let mut value = [0_u8; 8];
    matches!(lgetxattr(path, "trusted.overlay.opaque", &mut value[..]), Ok(1)) && value[0] == b'y'
}

#[test]
fn owners_modes_times_links_and_attributes_are_those_of_the_archive() {
    let root = root();
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tar = Tar::default()
        .entry("etc/", EntryKind::Directory, 0o2750)
        .with("etc/shadow", "secret", |entry| {
            (entry.uid, entry.gid, entry.mode, entry.mtime) = (7, 42, 0o4711, (1_000_000_000, 0));
            entry.xattrs = vec![
                (b"security.capability".to_vec(), capability.to_vec()),
                (b"user.note".to_vec(), b"n".to_vec()),
                (b"trusted.overlay.redirect".to_vec(), b"/etc".to_vec()),
            ];
        })
        .symlink("link", "/nowhere/at/all")
        .link("again", "etc/shadow")
        .entry("null", EntryKind::Character { major: 1, minor: 3 }, 0o666)
        .entry("pipe", EntryKind::Fifo, 0o600);
    let bytes = tar.bytes();
    let applied = tar.unpack(root.path()).unwrap();
    assert_eq!(applied.diff_id, ids::Digest::of(&bytes));
    assert_eq!((applied.size, applied.entries), (bytes.len() as u64, 6));
    let path = |name: &str| root.path().join(name);
    let shadow = fs::metadata(path("etc/shadow")).unwrap();
    assert_eq!((shadow.uid(), shadow.gid(), shadow.mode() & 0o7777), (7, 42, 0o4711));
    assert_eq!((shadow.mtime(), shadow.nlink()), (1_000_000_000, 2));
    let mut value = [0_u8; 64];
    assert_eq!(lgetxattr(path("etc/shadow"), "security.capability", &mut value[..]), Ok(capability.len()));
    assert_eq!(lgetxattr(path("etc/shadow"), "user.note", &mut value[..]), Ok(1));
    assert!(
        lgetxattr(path("etc/shadow"), "trusted.overlay.redirect", &mut value[..]).is_err(),
        "overlay's own are refused"
    );
    let etc = fs::metadata(path("etc")).unwrap();
    assert_eq!((etc.mode() & 0o7777, etc.mtime()), (0o2750, 0), "the directory's time is set last");
    assert_eq!(fs::metadata(path("null")).unwrap().rdev(), makedev(1, 3));
    assert!(fs::metadata(path("pipe")).unwrap().file_type().is_fifo());
}

#[test]
fn no_path_leads_out_of_the_root() {
    let outside = root();
    fs::write(outside.path().join("victim"), "whole").unwrap();
    let out = outside.path().to_str().unwrap();
    for tar in [
        Tar::default().file("../victim", "x"),
        Tar::default().file("a/../../victim", "x"),
        Tar::default().symlink("a", "..").file("a/../../victim", "x"),
        Tar::default().link("a", "../victim"),
        Tar::default().whiteout("../.wh.victim"),
        Tar::default().whiteout(".wh..."),
        Tar::default().whiteout(".wh.."),
        Tar::default().whiteout(".wh."),
    ] {
        let inner = outside.path().join("root");
        fs::create_dir(&inner).unwrap();
        let error = tar.unpack(&inner).unwrap_err();
        assert!(matches!(error, ArchiveError::Path(_)), "{error}");
        assert_eq!(fs::read_to_string(outside.path().join("victim")).unwrap(), "whole");
        fs::remove_dir_all(&inner).unwrap();
    }
    // Links that point out lead to places inside.
    let inner = outside.path().join("root");
    fs::create_dir_all(inner.join(out.trim_start_matches('/'))).unwrap();
    let tar = Tar::default()
        .symlink("up", "../../../../..")
        .symlink("abs", out)
        .file("abs/victim", "in")
        .file("up/top", "in");
    tar.unpack(&inner).unwrap();
    assert_eq!(fs::read_to_string(outside.path().join("victim")).unwrap(), "whole");
    assert!(inner.join("top").exists());
    assert_eq!(fs::read_to_string(inner.join(out.trim_start_matches('/')).join("victim")).unwrap(), "in");
}

#[test]
fn a_link_in_a_files_place_is_replaced_and_not_followed() {
    let root = root();
    fs::write(root.path().join("victim"), "whole").unwrap();
    Tar::default().symlink("a", "victim").file("a", "new").unpack(root.path()).unwrap();
    assert_eq!(tree(root.path()), ["a=new", "victim=whole"]);
    // The same with a hard link: writing anew breaks it.
    Tar::default().link("b", "victim").file("b", "new").unpack(root.path()).unwrap();
    assert_eq!(tree(root.path()), ["a=new", "b=new", "victim=whole"]);
}

#[test]
fn kinds_replace_each_other() {
    let root = root();
    Tar::default().file("a/b/c", "1").file("f", "1").symlink("l", "a").unpack(root.path()).unwrap();
    Tar::default()
        .file("a", "2")
        .directory("f")
        .file("f/x", "2")
        .directory("l")
        .file("l/y", "2")
        .unpack(root.path())
        .unwrap();
    assert_eq!(tree(root.path()), ["a=2", "f/", "f/x=2", "l/", "l/y=2"]);
}

#[test]
fn whiteouts_delete_in_a_plain_tree() {
    let root = root();
    Tar::default()
        .file("a/old", "1")
        .file("a/sub/deep", "1")
        .file("b", "1")
        .file("c/x", "1")
        .unpack(root.path())
        .unwrap();
    let tar = Tar::default()
        .file("a/new", "2")
        .whiteout("a/.wh..wh..opq")
        .file("a/sub/own", "2")
        .whiteout(".wh.b")
        .whiteout(".wh.absent")
        .whiteout("absent/.wh.x")
        .file("c", "2")
        .whiteout(".wh..wh.plnk");
    tar.unpack(root.path()).unwrap();
    assert_eq!(tree(root.path()), ["a/", "a/new=2", "a/sub/", "a/sub/own=2", "c=2"]);
    // A whiteout speaks of what is below, not of its own layer, in either order.
    Tar::default().file("k", "3").whiteout(".wh.k").whiteout(".wh.a").file("a/z", "3").unpack(root.path()).unwrap();
    assert_eq!(tree(root.path()), ["a/", "a/z=3", "c=2", "k=3"]);
}

#[test]
fn whiteouts_become_overlays_marks_in_an_upper_directory() {
    let root = root();
    Tar::default()
        .whiteout("a/.wh.gone")
        .directory("b")
        .whiteout("b/.wh..wh..opq")
        .file("b/x", "1")
        .whiteout(".wh.c")
        .directory("c")
        .directory("d")
        .whiteout(".wh.d")
        .whiteout(".wh.e")
        .file("e/implied", "1")
        .unpack_upper(root.path());
    assert_eq!(tree(root.path()), ["a/", "a/gone c0", "b/", "b/x=1", "c/", "d/", "e/", "e/implied=1"]);
    for (name, expected) in [("a", false), ("b", true), ("c", true), ("d", true), ("e", true)] {
        assert_eq!(opaque(&root.path().join(name)), expected, "{name}");
    }
}

#[test]
fn an_implied_directory_looks_like_the_one_below() {
    let (lower, upper) = (root(), root());
    fs::create_dir_all(lower.path().join("var/lib")).unwrap();
    fs::set_permissions(lower.path().join("var"), fs::Permissions::from_mode(0o1777)).unwrap();
    std::os::unix::fs::chown(lower.path().join("var/lib"), Some(5), Some(6)).unwrap();
    let options =
        ApplyOptions { whiteouts: Whiteouts::Overlay, lower: vec![lower.path().to_owned()], ..Default::default() };
    apply(&Tar::default().file("var/lib/x", "1").bytes()[..], upper.path(), &options).unwrap();
    assert_eq!(fs::metadata(upper.path().join("var")).unwrap().mode() & 0o7777, 0o1777);
    let lib = fs::metadata(upper.path().join("var/lib")).unwrap();
    assert_eq!((lib.uid(), lib.gid()), (5, 6));
}

#[test]
fn what_passes_a_limit_is_refused() {
    let limits = Limits {
        entries: 3,
        path_bytes: 300,
        header_bytes: 2000,
        xattr_bytes: 100,
        archive_bytes: 20_000,
        ..Limits::default()
    };
    let options = ApplyOptions { limits, ..Default::default() };
    let attribute =
        |length| Tar::default().with("a", "", |entry| entry.xattrs = vec![(b"user.a".to_vec(), vec![b'x'; length])]);
    for (what, tar) in [
        ("number of entries", Tar::default().file("a", "").file("b", "").file("c", "").file("d", "")),
        ("length of a path", Tar::default().file(&"a/".repeat(200), "")),
        ("extended header", Tar::default().file(&"a/".repeat(1100), "")),
        ("extended attributes", attribute(200)),
    ] {
        let error = apply(&tar.bytes()[..], root().path(), &options).unwrap_err();
        assert!(matches!(&error, ArchiveError::Limit { what: found, .. } if *found == what), "{what}: {error}");
    }
    let large = Tar::default().file("a", &"x".repeat(30_000)).bytes();
    assert!(matches!(apply(&large[..], root().path(), &options).unwrap_err(), ArchiveError::Read(_)));
}

#[test]
fn a_chain_of_extended_headers_without_end_is_refused() {
    let one = Tar::default().file(&"n".repeat(200), "").bytes();
    // A PAX header with its record, again and again, never followed by the member.
    let bytes = one[..1024].repeat(50);
    let error = apply(&bytes[..], root().path(), &ApplyOptions::default()).unwrap_err();
    assert!(matches!(error, ArchiveError::Limit { what: "chain of extended headers", .. }), "{error}");
}

#[test]
fn a_torn_archive_is_an_error_wherever_it_is_torn() {
    let bytes = Tar::default().file("a", &"x".repeat(700)).file("b", "y").bytes();
    for length in [100, 511, 513, 600, 1100, 1700] {
        let answer = apply(&bytes[..length], root().path(), &ApplyOptions::default());
        assert!(matches!(answer, Err(ArchiveError::Truncated)), "{length}: {answer:?}");
    }
}

#[test]
fn a_large_compressed_layer_is_unpacked_and_told_as_a_small_one() {
    let content: String = (0..400_000_u64).map(|n| char::from(b'a' + (n * n % 26) as u8)).collect();
    let tar = (0..8).fold(Tar::default(), |tar, n| tar.file(&format!("f{n}"), &content));
    let plain = tar.bytes();
    let mut compressor = archive::Compressor::new(Vec::new());
    std::io::Write::write_all(&mut compressor, &plain).unwrap();
    let (packed, _) = compressor.finish().unwrap();
    let target = root();
    let applied = apply(&packed[..], target.path(), &ApplyOptions::default()).unwrap();
    assert_eq!((applied.diff_id, applied.size, applied.entries), (ids::Digest::of(&plain), plain.len() as u64, 8));
    assert_eq!(fs::read_to_string(target.path().join("f7")).unwrap(), content);
    // Torn, and with an entry that is refused early: one error, no thread that hangs.
    let error = apply(&packed[..packed.len() / 2], root().path(), &ApplyOptions::default()).unwrap_err();
    assert!(matches!(error, ArchiveError::Truncated | ArchiveError::Read(_)), "{error}");
    let limits = Limits { entries: 1, ..Limits::default() };
    let error = apply(&packed[..], root().path(), &ApplyOptions { limits, ..Default::default() }).unwrap_err();
    assert!(matches!(error, ArchiveError::Limit { .. }), "{error}");
}

#[test]
fn files_with_holes_are_read_in_every_format_and_keep_their_holes() {
    let source = root();
    let whole = source.path().join("disk");
    let file = fs::File::create(&whole).unwrap();
    file.set_len(40 << 20).unwrap();
    // More runs than an old header and one block behind it hold.
    for at in 0..60_u64 {
        file.write_all_at(format!("run {at}").as_bytes(), at * (512 << 10) + 4096 * (at % 3)).unwrap();
    }
    for options in [
        &["--format=gnu"][..],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ] {
        let mut tar = Command::new("tar");
        let archive = archive_of(tar.args(options).args(["--sparse", "-C"]).arg(source.path()));
        assert!(archive.len() < 4 << 20, "tar has found the holes: {options:?}");
        let target = root();
        apply(&archive[..], target.path(), &ApplyOptions::default()).unwrap();
        let read = target.path().join("disk");
        assert!(fs::read(&read).unwrap() == fs::read(&whole).unwrap(), "{options:?}");
        assert!(fs::metadata(&read).unwrap().blocks() * 512 < 4 << 20, "{options:?}");
        let limits = Limits { sparse_bytes: 1 << 20, ..Limits::default() };
        let error = apply(&archive[..], root().path(), &ApplyOptions { limits, ..Default::default() }).unwrap_err();
        assert!(matches!(error, ArchiveError::Limit { .. }), "{error}");
    }
}

fn archive_of(tar: &mut Command) -> Vec<u8> {
    let made = tar.args(["-cf", "-", "."]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    made.stdout
}

#[test]
fn archives_of_gnu_tar_are_read_in_every_format() {
    let source = root();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
    fs::create_dir(source.path().join("d".repeat(120))).unwrap();
    fs::write(source.path().join(&long), "deep").unwrap();
    symlink("t".repeat(150), source.path().join("link")).unwrap();
    fs::hard_link(source.path().join(&long), source.path().join("again")).unwrap();
    for format in ["gnu", "oldgnu", "pax"] {
        for compression in ["--no-auto-compress", "--gzip", "--zstd"] {
            let output = std::process::Command::new("tar")
                .arg("-C")
                .arg(source.path())
                .args([&format!("--format={format}"), compression, "-c", "-f", "-", "."])
                .output()
                .unwrap();
            if compression == "--zstd" && !output.status.success() {
                // GNU tar calls the program zstd, which is not on every machine.
                continue;
            }
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let target = root();
            apply(&output.stdout[..], target.path(), &ApplyOptions::default()).unwrap();
            assert_eq!(tree(target.path()), tree(source.path()), "{format} {compression}");
        }
    }
}

#[test]
fn an_upper_directory_becomes_the_layer_that_made_it() {
    let upper = root();
    let tar = Tar::default()
        .whiteout("a/.wh.gone")
        .directory("b")
        .whiteout("b/.wh..wh..opq")
        .file("b/x", "1")
        .link("b/y", "b/x")
        .symlink("l", "b/x");
    tar.unpack_upper(upper.path());
    let mut bytes = Vec::new();
    let written = diff_upper(upper.path(), &mut bytes).unwrap();
    assert_eq!((written.diff_id, written.size), (ids::Digest::of(&bytes), bytes.len() as u64));
    let again = root();
    let options = ApplyOptions { whiteouts: Whiteouts::Overlay, ..Default::default() };
    apply(&bytes[..], again.path(), &options).unwrap();
    assert_eq!(tree(again.path()), tree(upper.path()));
    assert!(opaque(&again.path().join("b")) && !opaque(&again.path().join("a")));
    assert_eq!(fs::metadata(again.path().join("b/x")).unwrap().nlink(), 2);
    let mut second = Vec::new();
    diff_upper(upper.path(), &mut second).unwrap();
    assert!(bytes == second, "the same tree, the same bytes");
}

#[test]
fn a_difference_has_what_changed_and_the_directories_above_it() {
    let (lower, upper) = (root(), root());
    let base = Tar::default()
        .file("same/untouched", "1")
        .file("dir/changed", "1")
        .file("dir/gone", "1")
        .file("tree/x", "1")
        .file("becomes/dir", "1")
        .file("mode", "1");
    base.unpack(lower.path()).unwrap();
    base.unpack(upper.path()).unwrap();
    fs::write(upper.path().join("dir/changed"), "2").unwrap();
    fs::remove_file(upper.path().join("dir/gone")).unwrap();
    fs::remove_dir_all(upper.path().join("tree")).unwrap();
    fs::remove_dir_all(upper.path().join("becomes")).unwrap();
    fs::write(upper.path().join("becomes"), "file").unwrap();
    fs::set_permissions(upper.path().join("mode"), fs::Permissions::from_mode(0o600)).unwrap();
    let mut bytes = Vec::new();
    diff_directories(Some(lower.path()), upper.path(), &mut bytes).unwrap();
    let mut reader = archive::TarReader::new(&bytes[..], Limits::default());
    let mut names = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        names.push(String::from_utf8(entry.path).unwrap());
    }
    assert_eq!(names, ["becomes", "dir/", "dir/changed", "dir/.wh.gone", "mode", ".wh.tree"]);
    apply(&bytes[..], lower.path(), &ApplyOptions::default()).unwrap();
    assert_eq!(tree(lower.path()), tree(upper.path()));
}

#[test]
fn attributes_and_devices_survive_a_difference() {
    let upper = root();
    fs::write(upper.path().join("f"), "1").unwrap();
    lsetxattr(upper.path().join("f"), "user.a", b"b", XattrFlags::empty()).unwrap();
    mknodat(rustix::fs::CWD, upper.path().join("dev"), FileType::CharacterDevice, Mode::RUSR, makedev(5, 300)).unwrap();
    let mut bytes = Vec::new();
    diff_directories(None, upper.path(), &mut bytes).unwrap();
    let target = root();
    apply(&bytes[..], target.path(), &ApplyOptions::default()).unwrap();
    let mut value = [0_u8; 8];
    assert_eq!(lgetxattr(target.path().join("f"), OsStr::from_bytes(b"user.a"), &mut value[..]), Ok(1));
    assert_eq!(fs::metadata(target.path().join("dev")).unwrap().rdev(), makedev(5, 300));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever an archive of odd names and links says, nothing outside of the root changes.
    #[test]
    fn no_archive_writes_outside(
        parts in proptest::collection::vec(("(\\.\\.|a|b|\\.wh\\.a|\\.wh\\.\\.wh\\.\\.opq|/){1,4}", 0..4_u8, "(\\.\\./|/|a/|b){1,4}"), 1..12)
    ) {
        let outside = root();
        let inner = outside.path().join("root");
        fs::create_dir(&inner).unwrap();
        for name in ["a", "b", "victim"] {
            fs::write(outside.path().join(name), "whole").unwrap();
        }
        let mut tar = Tar::default();
        for (path, kind, target) in &parts {
            tar = match kind {
                0 => tar.file(path, "x"),
                1 => tar.symlink(path, target),
                2 => tar.link(path, target),
                _ => tar.directory(path),
            };
        }
        let _ = tar.unpack(&inner);
        for name in ["a", "b", "victim"] {
            prop_assert_eq!(fs::read_to_string(outside.path().join(name)).unwrap(), "whole");
        }
        prop_assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 4);
    }
}
