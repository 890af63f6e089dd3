//! Archives that nobody made in good faith, at every door of the engine that takes one: `docker import`, `docker load`,
//! `docker cp` and a build's context. Each gets one clear error or does no harm; nothing is half-stored, and the daemons stay
//! small.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use testhost::{Engine, Host, wait_until};

use crate::images_archives::{Member, tar};
use crate::images_platforms::Layout;

/// Kilobytes that a daemon may have had at once; it has forty megabytes when it is built for tests.
const MOST_KB: u64 = 128 << 10;

/// A member, byte for byte as a test wants it.
struct Raw {
    name: String,
    flag: u8,
    link: String,
    content: Vec<u8>,
    /// What the header says where it lies.
    size: Option<u64>,
    device: (u32, u32),
    /// PAX records that stand before it.
    records: Vec<(String, Vec<u8>)>,
}

impl Raw {
    fn new(flag: u8, name: &str, link: &str) -> Self {
        let (name, link) = (name.to_owned(), link.to_owned());
        Self { name, flag, link, content: Vec::new(), size: None, device: (0, 0), records: Vec::new() }
    }

    fn file(name: &str, content: &[u8]) -> Self {
        Self { content: content.to_vec(), ..Self::new(b'0', name, "") }
    }

    fn with(mut self, key: &str, value: &[u8]) -> Self {
        self.records.push((key.to_owned(), value.to_vec()));
        self
    }

    fn sized(self, size: u64) -> Self {
        Self { size: Some(size), ..self }
    }

    fn device(self, major: u32, minor: u32) -> Self {
        Self { device: (major, minor), ..self }
    }

    fn write(&self, archive: &mut Vec<u8>) {
        if !self.records.is_empty() {
            let records: Vec<u8> = self.records.iter().flat_map(|(key, value)| record(key, value)).collect();
            Raw { content: records, ..Raw::new(b'x', "pax", "") }.write(archive);
        }
        let mut head = [0_u8; 512];
        let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, self.name.as_bytes());
        put(100, b"0000755\0");
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(136, b"00000000000\0");
        put(156, &[self.flag]);
        put(157, self.link.as_bytes());
        put(257, b"ustar\x0000");
        put(329, format!("{:07o}\0", self.device.0).as_bytes());
        put(337, format!("{:07o}\0", self.device.1).as_bytes());
        let size = self.size.unwrap_or(self.content.len() as u64);
        if size < 1 << 33 {
            put(124, format!("{size:011o}\0").as_bytes());
        } else {
            // GNU's form of large numbers.
            put(124, &[0x80, 0, 0, 0]);
            put(128, &size.to_be_bytes());
        }
        put(148, b"        ");
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend_from_slice(&head);
        archive.extend_from_slice(&self.content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
}

/// `LENGTH KEY=VALUE\n`, the length counting itself.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest + 1..).find(|length| rest + length.to_string().len() == *length).unwrap_or_default();
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

fn archive(members: &[Raw]) -> Vec<u8> {
    let mut archive = Vec::new();
    members.iter().for_each(|member| member.write(&mut archive));
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// What is wrong, the archive, and what `docker import` says; nothing where it takes it, which is then harmless.
type Case = (&'static str, Vec<u8>, Option<&'static str>);

/// Names and links that lead away; `outside` is a folder of the host that stays as it is.
fn names(outside: &str) -> Vec<Case> {
    let one = |member| archive(&[member]);
    let evil = || Raw::file("l/evil", b"evil");
    let long = "n".repeat(300);
    let deep = vec!["d".repeat(200); 30].join("/");
    vec![
        ("a name upwards", one(Raw::file("../../evil", b"x")), Some("invalid path \"../../evil\"")),
        ("a name that goes up and comes back", one(Raw::file("a/../b", b"x")), None),
        ("an absolute name", one(Raw::file(&format!("{outside}/evil"), b"x")), None),
        ("a link upwards", one(Raw::new(b'2', "l", "../../../etc/passwd")), None),
        ("a link to the host", one(Raw::new(b'2', "l", outside)), None),
        ("through a link", archive(&[Raw::new(b'2', "l", outside), evil()]), Some("not a directory")),
        (
            "through a link upwards",
            archive(&[Raw::new(b'2', "l", &format!("../../../../../..{outside}")), evil()]),
            Some("not a directory"),
        ),
        ("a hard link upwards", one(Raw::new(b'1', "l", "../../etc/passwd")), Some("invalid path")),
        ("a hard link to the host", one(Raw::new(b'1', "l", "/etc/passwd")), Some("no such file or directory")),
        ("a hard link to itself", one(Raw::new(b'1', "l", "l")), Some("no such file or directory")),
        (
            "a hard link to a hard link",
            archive(&[Raw::file("a", b"x"), Raw::new(b'1', "b", "a"), Raw::new(b'1', "c", "b")]),
            None,
        ),
        (
            "a file over a hard link to a link",
            archive(&[
                Raw::new(b'2', "s", &format!("{outside}/evil")),
                Raw::new(b'1', "h", "s"),
                Raw::file("h", b"evil"),
            ]),
            None,
        ),
        ("a name that is too long", one(Raw::file("a", b"x").with("path", long.as_bytes())), Some("invalid path")),
        ("a path that is too long", one(Raw::file("a", b"x").with("path", deep.as_bytes())), Some("length of a path")),
        ("a name with a zero", one(Raw::file("a", b"x").with("path", b"a\0b")), Some("invalid path")),
        ("a whiteout of the folder above", one(Raw::file(".wh...", b"")), Some("invalid path")),
        ("one name twice", archive(&[Raw::file("a", b"one"), Raw::file("a", b"two")]), None),
        (
            "a folder over a file",
            archive(&[Raw::file("a", b"x"), Raw::new(b'5', "a/", ""), Raw::file("a/b", b"")]),
            None,
        ),
        (
            "a file over a folder",
            archive(&[Raw::new(b'5', "a/", ""), Raw::file("a/b", b""), Raw::file("a", b"x")]),
            None,
        ),
    ]
}

fn kinds_and_sizes() -> Vec<Case> {
    let one = |member| archive(&[member]);
    let endless: Vec<u8> = (0..20_000)
        .flat_map(|_| {
            let mut archive = archive(&[Raw::new(b'x', "pax", "")]);
            archive.truncate(512);
            archive
        })
        .collect();
    let many =
        (0..400).fold(Raw::file("a", b"x"), |file, n| file.with(&format!("SCHILY.xattr.user.a{n}"), &[b'x'; 1000]));
    let capability = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let mut torn = one(Raw::file("a", &[b'x'; 5000]));
    torn.truncate(1500);
    let mut spoiled = one(Raw::file("a", b"x"));
    spoiled[0] = b'b';
    vec![
        ("a character device", one(Raw::new(b'3', "null", "").device(1, 3)), None),
        ("a disk", one(Raw::new(b'4', "sda", "").device(8, 0)), None),
        ("a pipe", one(Raw::new(b'6', "pipe", "")), None),
        ("a kind that nobody knows", one(Raw::new(b'Q', "odd", "")), Some("unhandled tar header type 'Q'")),
        ("a sparse file without a map", one(Raw::new(b'S', "sparse", "")), None),
        (
            "a sparse file of a terabyte",
            one(Raw::file("s", b"1\n1099511627775\n1\n")
                .with("GNU.sparse.major", b"1")
                .with("GNU.sparse.realsize", b"1099511627776")),
            Some("invalid map of a sparse file"),
        ),
        ("a file of an exabyte", one(Raw::file("huge", b"").sized(1 << 60)), Some("unexpected EOF")),
        ("a file of more than there can be", one(Raw::file("huge", b"").sized(u64::MAX)), Some("archive/tar: ")),
        (
            "a file that a record makes as large",
            one(Raw::file("a", b"x").with("size", b"9223372036854775000")),
            Some("unexpected EOF"),
        ),
        (
            "a record of three megabytes",
            one(Raw::file("a", b"").with("comment", &vec![b'x'; 3 << 20])),
            Some("over the limit"),
        ),
        (
            "a record that is none",
            one(Raw { content: b"99 path=x\n".to_vec(), ..Raw::new(b'x', "p", "") }),
            Some("PAX record"),
        ),
        ("headers without end", endless, Some("chain of extended headers")),
        ("an owner that nobody is", one(Raw::file("a", b"x").with("uid", b"4294967295")), Some("out of range")),
        ("attributes without end", one(many), Some("extended attributes is over the limit")),
        ("a capability", one(Raw::file("a", b"x").with("SCHILY.xattr.security.capability", capability)), None),
        ("a label of SELinux", one(Raw::file("a", b"x").with("SCHILY.xattr.security.selinux", b"evil_t")), None),
        ("overlayfs's own", one(Raw::new(b'5', "d", "").with("SCHILY.xattr.trusted.overlay.redirect", b"/etc")), None),
        ("a sum that is wrong", spoiled, Some("archive/tar: invalid tar header")),
        ("half an archive", torn, Some("unexpected EOF")),
        ("no archive", b"junk".repeat(500), Some("archive/tar: ")),
        ("nothing", Vec::new(), None),
    ]
}

pub fn every_door(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    engine.docker.run(&["run", "-d", "--name", "box", "--network", "none", "busybox", "sleep", "1000"])?;
    let outside = host.path("outside");
    fs::create_dir(&outside)?;
    let cases = [names(&outside.display().to_string()), kinds_and_sizes()].concat();
    for (what, archive, expected) in &cases {
        by_import(&engine, archive, *expected).with_context(|| format!("import of {what}"))?;
        by_the_others(&engine, archive).with_context(|| what.to_owned())?;
        ensure!(fs::read_dir(&outside)?.next().is_none(), "{what} leads out");
    }
    let bomb = bomb(host)?;
    engine.docker.run_with(&["import", "-", "bomb"], &bomb)?;
    engine.docker.run(&["rmi", "bomb"])?;
    ensure!(engine.docker.run(&["exec", "box", "echo", "runs"])? == "runs");
    engine.docker.run(&["rm", "-f", "box"])?;
    engine.docker.run(&["system", "prune", "-a", "-f"])?;
    expect_small(&engine)?;
    expect_nothing_stored(&engine)
}

/// Taken or refused with one line; what was refused has left no image.
fn by_import(engine: &Engine, archive: &[u8], expected: Option<&str>) -> Result<()> {
    let ran = engine.docker.try_run_with(&["import", "-", "made"], archive)?;
    let listed = engine.docker.run(&["images", "-q", "made"])?;
    match expected {
        None => {
            ensure!(ran.code == 0, "{}", ran.stderr);
            engine.docker.run(&["rmi", "made"])?;
        }
        Some(words) => {
            ensure!(ran.code == 1 && ran.stderr.contains(words), "{} {}{}", ran.code, ran.stdout, ran.stderr);
            ensure!(ran.stderr.trim_end().lines().count() == 1, "{}", ran.stderr);
            ensure!(listed.is_empty(), "an image in spite of it");
        }
    }
    Ok(())
}

/// Through the other doors: whatever they say, it is one line, and the engine goes on.
fn by_the_others(engine: &Engine, archive: &[u8]) -> Result<()> {
    for words in [&["load"][..], &["cp", "-", "box:/tmp"]] {
        let ran = engine.docker.try_run_with(words, archive)?;
        ensure!(ran.code == 0 || ran.stderr.trim_end().lines().count() == 1, "{words:?}: {}", ran.stderr);
        ensure!(!ran.stderr.contains("broken pipe"), "{words:?} does not see why: {}", ran.stderr);
    }
    // As a build's context, with a Dockerfile that takes all of it.
    let mut context = tar(&[Member::File("Dockerfile", b"FROM scratch\nCOPY . /all/\n".to_vec())]);
    context.truncate(1024);
    context.extend_from_slice(archive);
    let ran = engine.docker.try_run_with(&["build", "-q", "-"], &context)?;
    ensure!(ran.code == 0 || !ran.stderr.trim().is_empty(), "no reason");
    ensure!(engine.request("GET", "/_ping", b"")?.body == "OK");
    Ok(())
}

/// A quarter of a megabyte that becomes two hundred and fifty.
fn bomb(host: &Host) -> Result<Vec<u8>> {
    let plain = host.path("zeros.tar");
    fs::write(&plain, archive(&[Raw::file("zeros", &vec![0; 250 << 20])]))?;
    let packed = Command::new("gzip").arg("-c").arg(&plain).output()?.stdout;
    fs::remove_file(&plain)?;
    Ok(packed)
}

fn expect_small(engine: &Engine) -> Result<()> {
    for pid in [engine.dockerd_pid(), engine.containerd_pid()?] {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
        let most: u64 = most.trim().trim_end_matches(" kB").parse()?;
        ensure!(most < MOST_KB, "process {pid} had {most} kB");
    }
    Ok(())
}

/// Waits until neither blob nor layer nor half of one is left.
fn expect_nothing_stored(engine: &Engine) -> Result<()> {
    let store = engine.data_root().join("containerd");
    let places = [
        "io.containerd.content.v1.content/ingest",
        "io.containerd.content.v1.content/blobs/sha256",
        "io.containerd.snapshotter.v1.overlayfs/snapshots",
    ];
    let entries =
        |place: &str| fs::read_dir(store.join(place)).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut left = Vec::new();
    let emptied = wait_until("an empty store", || {
        left = places.iter().flat_map(|place| entries(place)).collect();
        left.is_empty().then_some(())
    });
    emptied.with_context(|| format!("{left:?} is left"))
}

/// Images that are no images: what `docker load` says of each.
pub fn images(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    for (what, archive, expected) in broken_images()? {
        let ran = engine.docker.try_run_with(&["load"], &archive)?;
        ensure!(ran.code == 1 && ran.stderr.contains(expected), "{what}: {} {}{}", ran.code, ran.stdout, ran.stderr);
        ensure!(ran.stderr.trim_end().lines().count() == 1, "{what}: {}", ran.stderr);
        ensure!(engine.docker.run(&["images", "-aq"])?.is_empty(), "{what}: an image in spite of it");
    }
    expect_small(&engine)?;
    expect_nothing_stored(&engine)?;
    // The same, whole.
    let mut layout = Layout::default();
    let manifest = layout.image("amd64", None);
    ensure!(engine.docker.run_with(&["load"], &layout.archive(manifest, NAME))? == "Loaded image: box:1");
    Ok(())
}

const NAME: &str = "docker.io/library/box:1";

fn broken_images() -> Result<Vec<(&'static str, Vec<u8>, &'static str)>> {
    let without = |kind: &str| -> Result<Vec<u8>> {
        let mut layout = Layout::default();
        let manifest = layout.image("amd64", None);
        layout.forget(kind)?;
        Ok(layout.archive(manifest, NAME))
    };
    let changed = |change: &dyn Fn(&mut serde_json::Value, &mut Layout)| {
        let mut layout = Layout::default();
        let mut manifest = layout.image("amd64", None);
        change(&mut manifest, &mut layout);
        layout.archive(manifest, NAME)
    };
    let named = |name: &str| {
        let mut layout = Layout::default();
        let manifest = layout.image("amd64", None);
        layout.archive(manifest, name)
    };
    let mut deep = Layout::default();
    let mut target = deep.image("amd64", None);
    for _ in 0..12 {
        target = deep.index(&[target]);
    }
    let claimed = format!("blobs/sha256/{}", "a".repeat(64));
    let members: Vec<String> = (0..100_001).map(|n| format!("{n}")).collect();
    let members: Vec<Member> = members.iter().map(|name| Member::File(name, Vec::new())).collect();
    let index = |text: &[u8]| {
        let layout = Member::File("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
        tar(&[layout, Member::File("index.json", text.to_vec())])
    };
    Ok(vec![
        ("no layer", without("layer.v1.tar")?, "is missing from the archive"),
        ("no configuration", without("config.v1+json")?, "is missing from the image store"),
        ("no manifest", without("manifest.v1+json")?, "unrecognized image format"),
        ("another digest", tar(&[Member::File(&claimed, b"x".to_vec())]), "verification failed for digest sha256:aaa"),
        ("another size", changed(&|manifest, _| manifest["size"] = 5.into()), "verification failed for digest"),
        ("a page of HTML", changed(&|manifest, _| manifest["mediaType"] = "text/html".into()), "text/html"),
        (
            "a layer too many",
            changed(&|manifest, layout| {
                layout.spoil(manifest, |text| text["layers"] = json!([text["layers"][0], text["layers"][0]]))
            }),
            "number of layers and diffIDs don't match",
        ),
        (
            "a manifest that lists itself away",
            changed(&|manifest, layout| layout.spoil(manifest, |text| text["layers"] = json!("none"))),
            "invalid manifest",
        ),
        ("an index in an index in an index", deep.archive(target, NAME), "too many indexes within indexes"),
        ("an index of brackets", index(&vec![b'['; 100_000]), "invalid manifest"),
        ("an index that lists a number", index(br#"{"schemaVersion":2,"manifests":7}"#), "invalid manifest"),
        ("a name that is none", named("docker.io/library/BOX:1"), "invalid tag"),
        ("a name that leads away", named("../../etc:1"), "invalid tag"),
        ("more members than there may be", tar(&members), "number of entries is over the limit"),
    ])
}
