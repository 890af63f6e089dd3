//! The store as its users see it.
#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;
use std::path::Path;

use errors::{ErrorKind, Kind};
use metadata::{Database, Durability, Error, Options, Schema, Table, join_key};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Thing {
    size: u64,
}

const THINGS: Table<Thing> = Table::new("things");
const THINGS_TOO: Table<Thing> = Table::new("things-too");

fn open(folder: &Path) -> Database {
    Database::open(&folder.join("test.db"), &Options::default()).unwrap()
}

fn put(database: &Database, key: &str, size: u64) {
    let key = key.to_owned();
    database.write_blocking(Durability::Lazy, move |tx| THINGS.put(tx, &key, &Thing { size })).unwrap();
}

#[test]
fn a_value_is_there_after_closing_and_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    put(&database, "a", 1);
    database.write_blocking(Durability::Synced, |tx| THINGS.put(tx, "b", &Thing { size: 2 })).unwrap();
    drop(database);
    let database = open(folder.path());
    let all = database.view(|tx| THINGS.list(tx, "")).unwrap();
    assert_eq!(all, [("a".to_owned(), Thing { size: 1 }), ("b".to_owned(), Thing { size: 2 })]);
}

#[test]
fn a_write_that_answers_an_error_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let failed: Result<(), Error> = database.write_blocking(Durability::Synced, |tx| {
        THINGS.put(tx, "a", &Thing { size: 1 })?;
        Err(Error::Closed)
    });
    assert!(matches!(failed, Err(Error::Closed)));
    assert!(database.view(|tx| THINGS.get(tx, "a")).unwrap().is_none());
}

#[test]
fn a_closure_that_panics_takes_only_itself_down() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let panicked: Result<(), Error> = database.write_blocking(Durability::Lazy, |_| panic!("on purpose"));
    assert!(panicked.is_err());
    put(&database, "a", 1);
    assert!(database.view(|tx| THINGS.contains(tx, "a")).unwrap());
}

#[test]
fn a_write_sees_its_own_changes_in_order_among_the_stored() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    for key in ["a", "c", "e"] {
        put(&database, key, 1);
    }
    let seen = database
        .write_blocking(Durability::Lazy, |tx| {
            THINGS_TOO.put(tx, "x", &Thing { size: 9 })?;
            THINGS.put(tx, "b", &Thing { size: 2 })?;
            THINGS.put(tx, "c", &Thing { size: 3 })?;
            THINGS.put(tx, "f", &Thing { size: 4 })?;
            assert!(THINGS.delete(tx, "a")?);
            assert!(!THINGS.delete(tx, "zz")?);
            let seen = THINGS.list(tx, "")?;
            Ok::<_, Error>(seen.into_iter().map(|(key, thing)| (key, thing.size)).collect::<Vec<_>>())
        })
        .unwrap();
    let expected = [("b", 2), ("c", 3), ("e", 1), ("f", 4)].map(|(key, size)| (key.to_owned(), size));
    assert_eq!(seen, expected);
    let stored = database.view(|tx| THINGS.list(tx, "")).unwrap();
    assert_eq!(stored.into_iter().map(|(key, thing)| (key, thing.size)).collect::<Vec<_>>(), expected);
}

#[test]
fn a_listing_ends_at_its_prefix_and_when_the_visitor_breaks() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    for (namespace, name) in [("a", "1"), ("a", "2"), ("ab", "1")] {
        put(&database, &join_key(&[namespace, name]), 1);
    }
    let tx = database.read().unwrap();
    assert_eq!(THINGS.keys(&tx, &join_key(&["a"])).unwrap().len(), 2);
    let mut visited = 0;
    THINGS
        .each(&tx, "", |_, _| {
            visited += 1;
            ControlFlow::Break(())
        })
        .unwrap();
    assert_eq!(visited, 1);
    let deleted = database.write_blocking(Durability::Lazy, |tx| THINGS.delete_prefix(tx, &join_key(&["a"]))).unwrap();
    assert_eq!(deleted, 2);
    assert_eq!(THINGS.keys(&tx, "").unwrap().len(), 3, "a snapshot does not change");
    assert_eq!(database.view(|tx| THINGS.keys(tx, "")).unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_at_once_all_get_their_own_answer() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let writers: Vec<_> = (0..500_u64)
        .map(|number| {
            let database = database.clone();
            let durability = if number % 2 == 0 { Durability::Synced } else { Durability::Lazy };
            tokio::spawn(async move {
                let change = move |tx: &mut metadata::WriteTx<'_>| {
                    if number % 10 == 9 {
                        return Err(Error::Closed);
                    }
                    let counted = THINGS.get(tx, "count")?.map_or(0, |thing| thing.size) + 1;
                    THINGS.put(tx, "count", &Thing { size: counted })?;
                    Ok(counted)
                };
                database.write(durability, change).await.ok()
            })
        })
        .collect();
    let mut counts = Vec::new();
    for writer in writers {
        counts.extend(writer.await.unwrap());
    }
    counts.sort_unstable();
    assert_eq!(counts, (1..=450).collect::<Vec<u64>>());
    let count = database.view(|tx| THINGS.get(tx, "count")).unwrap().unwrap();
    assert_eq!(count.size, 450);
}

#[test]
fn a_second_opener_is_told_that_the_database_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let _database = open(folder.path());
    let second = Database::open(&folder.path().join("test.db"), &Options::default()).err().unwrap();
    assert_eq!(second.kind(), ErrorKind::Unavailable);
    assert!(second.to_string().ends_with("test.db is in use by another process"), "{second}");
}

#[test]
fn an_older_schema_is_migrated_once_and_a_newer_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    put(&open(folder.path()), "a", 1);
    let newer = Options {
        schema: Schema {
            version: 2,
            migrate: |from, tx| {
                assert_eq!(from, 1);
                let size = THINGS.get(tx, "a")?.unwrap().size;
                THINGS.put(tx, "a", &Thing { size: size + 1 })
            },
        },
        ..Options::default()
    };
    let path = folder.path().join("test.db");
    for _ in 0..2 {
        let database = Database::open(&path, &newer).unwrap();
        assert_eq!(database.view(|tx| THINGS.get(tx, "a")).unwrap().unwrap().size, 2);
    }
    let refused = Database::open(&path, &Options::default()).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::FailedPrecondition);
}

#[test]
fn a_damaged_file_is_named_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    {
        let database = open(folder.path());
        for number in 0..200 {
            put(&database, &format!("{number:08}"), number);
        }
    }
    let whole = std::fs::read(&path).unwrap();
    for damaged in [vec![0; whole.len()], b"not a database at all".repeat(400), whole[..5000].to_vec()] {
        std::fs::write(&path, &damaged).unwrap();
        let error = Database::open(&path, &Options::default()).err().expect("a damaged file is not opened");
        assert!(matches!(error, Error::Damaged { .. } | Error::Open { .. }), "{error:?}");
        assert!(error.to_string().contains("test.db"));
        assert_eq!(std::fs::read(&path).unwrap(), damaged);
    }
}

#[test]
fn a_value_that_is_too_large_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    const TEXTS: Table<String> = Table::new("texts");
    let text = "x".repeat(17 * 1024 * 1024);
    let refused: Result<(), Error> = database.write_blocking(Durability::Lazy, move |tx| TEXTS.put(tx, "a", &text));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn the_file_stays_small_when_one_record_changes_all_the_time() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    for size in 0..20_000 {
        put(&database, "a", size);
    }
    let bytes = std::fs::metadata(folder.path().join("test.db")).unwrap().len();
    assert!(bytes < 16 * 1024 * 1024, "{bytes} bytes");
}
