use super::*;
use crate::Member;

/// A folder with files, as a hierarchy would have them.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    folder
}

fn entry(operation: &str, value: u64) -> IoEntry {
    IoEntry { major: 8, minor: 16, operation: operation.into(), value }
}

#[test]
fn io_of_v2_is_read_by_device_and_direction() {
    let found = v2::block_io("8:16 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n");
    assert_eq!(found.service_bytes, [entry("Read", 4096), entry("Write", 0)]);
    assert_eq!(found.serviced, [entry("Read", 1), entry("Write", 0)]);
}

#[test]
fn io_of_v1_has_operations_where_the_file_has_them() {
    assert_eq!(v1::entries("8:16 Read 7\n8:16 Total 9\nTotal 9\n"), [entry("Read", 7), entry("Total", 9)]);
    assert_eq!(v1::entries("8:16 11\n"), [entry("", 11)]);
}

#[test]
fn pressure_is_counted_in_hundredths() {
    let text = "some avg10=1.25 avg60=0.00 avg300=0.07 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n";
    let found = v2::parse_pressure(text).expect("two lines");
    assert_eq!(found.some, Stall { avg10: 125, avg60: 0, avg300: 7, total_us: 12 });
    assert_eq!(found.full.total_us, 3);
    assert_eq!(v2::parse_pressure(""), None);
}

#[test]
fn a_v2_group_has_the_words_of_v2() {
    let files = folder(&[
        ("cpu.stat", "usage_usec 10\nuser_usec 6\nsystem_usec 4\nnr_throttled 2\n"),
        ("memory.current", "100\n"),
        ("memory.max", "max\n"),
        ("memory.stat", "anon 60\nfile 40\n"),
        ("memory.events", "max 3\noom 2\noom_kill 1\n"),
        ("pids.current", "2\n"),
        ("pids.max", "max\n"),
        ("hugetlb.2MB.current", "4096\n"),
        ("hugetlb.2MB.max", "8192\n"),
        ("hugetlb.2MB.events", "max 5\n"),
        ("hugetlb.2MB.rsvd.current", "1\n"),
    ]);
    let group = Group { v1: Vec::new(), v2: Some(files.path().into()) };
    let found = group.statistics().expect("it is there");
    assert_eq!(found.version, Version::V2);
    assert_eq!((found.cpu.total_ns, found.cpu.user_ns, found.cpu.kernel_ns), (10_000, 6_000, 4_000));
    assert_eq!(found.memory.memory, Counter { usage: 100, max_usage: 0, limit: NO_LIMIT, fail_count: 3 });
    assert_eq!((found.memory.oom.kills, group.oom_kills()), (1, 1));
    assert_eq!(found.pids, PidsStatistics { current: 2, limit: 0 });
    let pages = HugetlbStatistics { usage: 4096, max_usage: 0, limit: 8192, fail_count: 5 };
    assert_eq!(found.hugetlb, BTreeMap::from([("2MB".to_string(), pages)]));
}

#[test]
fn a_v1_group_takes_from_v2_only_what_v1_has_not() {
    let memory = folder(&[
        ("memory.usage_in_bytes", "5\n"),
        ("memory.failcnt", "7\n"),
        ("memory.oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 4\n"),
    ]);
    let unified = folder(&[("pids.current", "3\n"), ("pids.max", "9\n"), ("memory.current", "1000\n")]);
    let member = Member { controllers: vec!["memory".into()], path: memory.path().into() };
    let found = Group { v1: vec![member], v2: Some(unified.path().into()) }.statistics().expect("it is there");
    assert_eq!(found.version, Version::V1);
    assert_eq!((found.memory.memory.usage, found.memory.memory.fail_count), (5, 7));
    assert_eq!(found.memory.oom, OomStatistics { disabled: true, under_oom: false, kills: 4 });
    assert_eq!(found.pids, PidsStatistics { current: 3, limit: 9 });
}

#[test]
fn a_group_that_is_gone_has_no_statistics() {
    let group = Group { v1: Vec::new(), v2: Some("/nowhere/at/all".into()) };
    assert!(group.statistics().is_err());
}

#[test]
fn lists_of_processors_are_spelled_out() {
    assert_eq!(v1::parse_list("0-2,7\n"), [0, 1, 2, 7]);
    assert_eq!(v1::parse_list("\n"), [0_u16; 0]);
}
