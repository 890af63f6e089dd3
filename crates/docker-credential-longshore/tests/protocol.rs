//! The program as docker, podman and skopeo call it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What it prints and its exit code.
fn call(home: &Path, words: &[&str], input: &str) -> (String, i32) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_docker-credential-longshore"))
        .args(words)
        .env_clear()
        .env("HOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not read may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
}

#[test]
fn credentials_are_stored_listed_got_and_erased() {
    let home = tempfile::tempdir().unwrap();
    let call = |words: &[&str], input: &str| call(home.path(), words, input);
    assert_eq!(call(&["list"], ""), ("{}\n".into(), 0));
    let stored = r#"{"ServerURL":"r.example:5000","Username":"u","Secret":"p \"q\""}"#;
    assert_eq!(call(&["store"], stored), (String::new(), 0));
    assert_eq!(call(&["list"], ""), ("{\"r.example:5000\":\"u\"}\n".into(), 0));
    assert_eq!(call(&["get"], "r.example:5000\n"), (format!("{stored}\n"), 0));
    assert_eq!(call(&["erase"], "r.example:5000"), (String::new(), 0));
    let missing = "credentials not found in native keychain\n".to_owned();
    assert_eq!(call(&["get"], "r.example:5000"), (missing, 1));
    assert_eq!(call(&["erase"], "r.example:5000"), (String::new(), 0));
}

#[test]
fn mistakes_are_told_in_the_protocol_s_words() {
    let home = tempfile::tempdir().unwrap();
    let call = |words: &[&str], input: &str| call(home.path(), words, input);
    let usage = "Usage: docker-credential-longshore <store|get|erase|list|version>\n";
    assert_eq!(call(&[], ""), (usage.to_owned(), 1));
    assert_eq!(call(&["--help"], ""), (usage.to_owned(), 0));
    assert_eq!(call(&["burn"], ""), (format!("burn: unknown action\n{usage}"), 1));
    assert_eq!(call(&["get"], "\n"), ("no credentials server URL\n".into(), 1));
    assert_eq!(call(&["erase"], ""), ("no credentials server URL\n".into(), 1));
    assert_eq!(call(&["store"], r#"{"Username":"u","Secret":"p"}"#), ("no credentials server URL\n".into(), 1));
    assert_eq!(call(&["store"], r#"{"ServerURL":"r","Secret":"p"}"#), ("no credentials username\n".into(), 1));
    let (said, code) = call(&["store"], "secret");
    assert!(said.starts_with("cannot read the credentials: ") && !said.contains("secret"), "{said}");
    assert_eq!(code, 1);
    assert_eq!(call(&["version"], "").1, 0);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}
