//! Contexts that one client stores and the other reads: ours, and Docker's own of version 28.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};

const OURS: &str = env!("CARGO_BIN_EXE_docker");
const THEIRS: &str = "docker";
const VERSION: &str = "Docker version 28.";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let missing = missing();
    if let (Some(reason), false) = (&missing, arguments.list) {
        eprintln!("skipped: contexts of the other client: {reason}");
    }
    let trial =
        |name: &str, body: fn() -> Result<(), Failed>| Trial::test(name, body).with_ignored_flag(missing.is_some());
    let trials = vec![
        trial("what_we_store_docker_reads", || stored(OURS, THEIRS)),
        trial("what_docker_stores_we_read", || stored(THEIRS, OURS)),
        trial("what_we_export_docker_imports", || exported(OURS, THEIRS)),
        trial("what_docker_exports_we_import", || exported(THEIRS, OURS)),
        trial("what_we_write_docker_removes", || removed(OURS, THEIRS)),
        trial("what_docker_writes_we_remove", || removed(THEIRS, OURS)),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Why there is nobody to compare with.
fn missing() -> Option<String> {
    let output = Command::new(THEIRS).arg("--version").output().ok();
    match output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()) {
        None => Some("there is no docker on the PATH".to_owned()),
        Some(text) if !text.starts_with(VERSION) => Some(format!("docker is another one: {}", text.trim())),
        Some(_) => None,
    }
}

fn run(program: &str, home: &Path, line: &str) -> Output {
    let mut command = Command::new(program);
    command.args(line.split(' ')).current_dir(home).env("HOME", home).env("DOCKER_CONFIG", home.join("config"));
    command.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT").output().unwrap()
}

fn shown(program: &str, home: &Path, line: &str) -> Result<String, Failed> {
    let output = run(program, home, line);
    if !output.status.success() {
        return Err(format!("{program} {line}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A home with a key and a certificate, and three contexts that a client has made.
fn home(writer: &str) -> Result<tempfile::TempDir, Failed> {
    let home = tempfile::tempdir().unwrap();
    let pem = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine-client/tests/pem");
    for (from, to) in [("ca.pem", "ca"), ("client.pem", "cert"), ("client-key.pem", "key")] {
        fs::copy(pem.join(from), home.path().join(to)).unwrap();
    }
    shown(
        writer,
        home.path(),
        "context create far --docker host=tcp://192.0.2.1:2376,ca=ca,cert=cert,key=key --description away",
    )?;
    shown(writer, home.path(), "context create hop --docker host=ssh://me@192.0.2.2")?;
    shown(writer, home.path(), "context create copy --from far")?;
    Ok(home)
}

fn stored(writer: &str, reader: &str) -> Result<(), Failed> {
    let home = home(writer)?;
    let home = home.path();
    shown(writer, home, "context use far")?;
    for line in ["context ls", "context inspect far hop copy", "context show", "context ls --format json"] {
        let (wrote, read) = (shown(writer, home, line)?, shown(reader, home, line)?);
        if wrote != read {
            return Err(format!("{line}:\n{wrote}\n{read}").into());
        }
    }
    shown(reader, home, "context use hop")?;
    if shown(writer, home, "context show")? != "hop\n" {
        return Err("the current context did not change".into());
    }
    shown(reader, home, "context update far --description nearer")?;
    let described = shown(writer, home, "context inspect --format {{.Metadata.Description}} far");
    // Docker's client has another name for it in templates.
    if writer == OURS && described? != "nearer\n" {
        return Err("the description did not change".into());
    }
    Ok(())
}

fn exported(writer: &str, reader: &str) -> Result<(), Failed> {
    let home = home(writer)?;
    let home = home.path();
    shown(writer, home, "context export far far.tar")?;
    shown(reader, home, "context import back far.tar")?;
    let inspect = |program: &str, name: &str| shown(program, home, &format!("context inspect {name}"));
    let facts = |text: String| -> Vec<String> {
        let wanted = |line: &&str| ["Host", "SkipTLS", ".pem", "Description"].iter().any(|word| line.contains(word));
        text.lines().filter(wanted).map(|line| line.trim().to_owned()).collect()
    };
    let (before, after) = (facts(inspect(writer, "far")?), facts(inspect(reader, "back")?));
    if before != after || before.len() < 5 {
        return Err(format!("{before:?}\n{after:?}").into());
    }
    Ok(())
}

fn removed(writer: &str, remover: &str) -> Result<(), Failed> {
    let home = home(writer)?;
    let home = home.path();
    shown(remover, home, "context rm far hop copy")?;
    for folder in ["meta", "tls"] {
        let left = fs::read_dir(home.join("config/contexts").join(folder)).map_or(0, Iterator::count);
        if left > 0 {
            return Err(format!("{left} left in {folder}").into());
        }
    }
    Ok(())
}
