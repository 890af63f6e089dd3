//! A layer of a stranger, unpacked onto nothing and onto a tree with links: nothing outside of the root changes.

#![no_main]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use archive::{ApplyOptions, Limits, Whiteouts, apply};
use libfuzzer_sys::fuzz_target;

const KEPT: &str = "kept";

fn prepare(place: &Path) -> std::io::Result<()> {
    fs::create_dir_all(place.join("outside"))?;
    fs::write(place.join("outside/file"), KEPT)?;
    fs::create_dir_all(place.join("root/a"))?;
    symlink("../outside", place.join("root/up"))?;
    symlink("/", place.join("root/a/top"))?;
    symlink(place.join("outside"), place.join("root/away"))
}

fuzz_target!(|input: (bool, &[u8])| {
    let (overlay, bytes) = input;
    let folder = tempfile::tempdir().expect("a temporary folder");
    prepare(folder.path()).expect("a tree");
    let whiteouts = if overlay { Whiteouts::Overlay } else { Whiteouts::Delete };
    let limits = Limits { entries: 1000, archive_bytes: 1 << 20, ..Limits::default() };
    let _ = apply(bytes, &folder.path().join("root"), &ApplyOptions { whiteouts, lower: Vec::new(), limits });
    let outside = folder.path().join("outside");
    assert_eq!(fs::read_dir(&outside).expect("the folder outside").count(), 1);
    assert_eq!(fs::read_to_string(outside.join("file")).expect("the file outside"), KEPT);
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 2);
});
