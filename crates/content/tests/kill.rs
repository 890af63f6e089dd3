//! A process that writes blobs is killed again and again; what it had committed is whole, the rest is not seen.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use content::{Commit, Store, WriteRequest};
use ids::Digest;
use libtest_mimic::{Arguments, Trial};
use metadata::{Database, Options};

const CHILD: &str = "LONGSHORE_CONTENT_TEST_CHILD";
const ROUNDS: usize = 25;
/// Length of a line on the child's stdout: a digest and a line feed.
const LINE_BYTES: usize = 72;

fn main() {
    if let Some(folder) = std::env::var_os(CHILD) {
        write_until_killed(&PathBuf::from(folder));
    }
    let trial = Trial::test("a_killed_process_leaves_whole_blobs_and_nothing_else", || {
        kill_rounds();
        Ok(())
    });
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit();
}

fn open(folder: &Path) -> Store {
    let options = Options { checkpoint_bytes: 16 * 1024, ..Options::default() };
    let database = Database::open(&folder.join("meta.db"), &options).unwrap();
    Store::open(&folder.join("content"), database).unwrap()
}

/// Writes the blob with the next number in pieces, commits it, says so, deletes an old one.
fn write_until_killed(folder: &Path) -> ! {
    let store = open(folder);
    for number in store.walk("a", &[]).unwrap().len().. {
        let bytes = format!("{number} of {} ", std::process::id()).repeat(500);
        let mut writer =
            store.writer("a", &WriteRequest { reference: "r".to_owned(), ..WriteRequest::default() }).unwrap();
        writer.truncate(0).unwrap();
        for piece in bytes.as_bytes().chunks(1000) {
            writer.write(piece).unwrap();
        }
        let digest = writer.commit(Commit::default()).unwrap();
        std::io::stdout().write_all(format!("{digest}\n").as_bytes()).unwrap();
    }
    unreachable!("numbers never end")
}

fn kill_rounds() {
    let folder = tempfile::tempdir().unwrap();
    let mut committed: Vec<Digest> = Vec::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut said = vec![0; LINE_BYTES * (1 + (round * 7) % 10)];
        stdout.read_exact(&mut said).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        stdout.read_to_end(&mut said).unwrap();
        let said = String::from_utf8(said).unwrap();
        committed.extend(said.lines().filter_map(|line| line.parse::<Digest>().ok()));
        check(folder.path(), &committed);
    }
}

fn check(folder: &Path, committed: &[Digest]) {
    let store = open(folder);
    let seen: Vec<Digest> = store.walk("a", &[]).unwrap().into_iter().map(|info| info.digest).collect();
    for digest in committed {
        assert!(seen.contains(digest), "{digest} was committed and is gone");
    }
    for digest in &seen {
        let bytes = store.read_range("a", digest, 0, 1 << 20).unwrap();
        assert_eq!(Digest::of(&bytes), *digest, "a blob is what its name says");
    }
    let files = std::fs::read_dir(folder.join("content/blobs/sha256")).unwrap().count();
    assert_eq!(files, seen.len(), "every file has its record");
    assert!(store.statuses("a", &[]).unwrap().len() <= 1);
}
