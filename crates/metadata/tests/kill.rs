//! A process that writes is killed again and again; nothing that it had acknowledged may be lost.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::{Arguments, Trial};
use metadata::{Database, Durability, Error, Options, Table};

const CHILD: &str = "LONGSHORE_METADATA_TEST_CHILD";
const ROUNDS: u32 = 40;
const COUNTS: Table<u64> = Table::new("counts");
const HISTORY: Table<u64> = Table::new("history");

fn main() {
    if let Some(path) = std::env::var_os(CHILD) {
        write_until_killed(&PathBuf::from(path));
    }
    let trial = Trial::test("a_killed_process_loses_nothing_it_acknowledged", || {
        kill_rounds();
        Ok(())
    });
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit();
}

/// A small limit, so that kills hit checkpoints as well.
fn options() -> Options {
    Options { checkpoint_bytes: 8 * 1024, ..Options::default() }
}

/// Two threads count up, one synced and one lazy; each acknowledged number goes to stdout as ten bytes.
fn write_until_killed(path: &Path) -> ! {
    let database = Database::open(path, &options()).unwrap();
    let spawn = |name: &'static str, durability| {
        let database = database.clone();
        std::thread::spawn(move || -> () {
            loop {
                let next = database.write_blocking(durability, move |tx| {
                    let next = COUNTS.get(tx, name)?.unwrap_or(0) + 1;
                    COUNTS.put(tx, name, &next)?;
                    HISTORY.put(tx, &format!("{name}{next:012}"), &next)?;
                    if next > 50 {
                        HISTORY.delete(tx, &format!("{name}{:012}", next - 50))?;
                    }
                    Ok::<_, Error>(next)
                });
                let line = format!("{}{:08}\n", &name[..1], next.unwrap());
                std::io::stdout().write_all(line.as_bytes()).unwrap();
            }
        })
    };
    let _lazy = spawn("lazy", Durability::Lazy);
    let synced = spawn("synced", Durability::Synced);
    panic!("the writers never end: {:?}", synced.join())
}

fn kill_rounds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kill.db");
    let mut last = [0, 0];
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        // A different number of acknowledgements each round moves the kill through every phase of a write.
        let mut acknowledged = vec![0; 10 * (1 + (round as usize * 37) % 400)];
        stdout.read_exact(&mut acknowledged).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        stdout.read_to_end(&mut acknowledged).unwrap();
        for line in String::from_utf8(acknowledged).unwrap().lines().filter(|line| line.len() == 9) {
            last[usize::from(line.starts_with('s'))] = line[1..].parse().unwrap();
        }
        check(&path, last);
    }
    assert!(last[0] > 0 && last[1] > 0, "both kinds were written: {last:?}");
}

fn check(path: &Path, last: [u64; 2]) {
    let database = Database::open(path, &options()).unwrap();
    let tx = database.read().unwrap();
    for (name, last) in [("lazy", last[0]), ("synced", last[1])] {
        let stored = COUNTS.get(&tx, name).unwrap().unwrap_or(0);
        assert!(stored >= last, "{name}: {last} was acknowledged, {stored} is stored");
        let history: Vec<u64> = HISTORY.list(&tx, name).unwrap().into_iter().map(|(_, number)| number).collect();
        let expected: Vec<u64> = (stored.saturating_sub(49).max(1)..=stored).collect();
        assert_eq!(history, expected, "{name}: a batch is whole");
    }
}
