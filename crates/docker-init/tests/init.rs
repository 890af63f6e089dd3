//! The program itself, as process 1 of a PID namespace and beside one: exit codes, signals, orphans.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

fn init(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_docker-init"));
    command.arg("-s").args(words);
    command
}

fn code(words: &[&str]) -> Option<i32> {
    init(words).output().unwrap().status.code()
}

/// Starts a shell script and waits for its first line.
fn started(words: &[&str]) -> Child {
    let mut child = init(words).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

fn signal(child: &Child, signal: i32) {
    sys::signal::send(i32::try_from(child.id()).unwrap(), signal).unwrap();
}

#[test]
fn it_ends_as_its_command_ends() {
    assert_eq!(code(&["--", "sh", "-c", "exit 7"]), Some(7));
    assert_eq!(code(&["--", "sh", "-c", "kill -9 $$"]), Some(137));
    assert_eq!(code(&["-e", "143", "--", "sh", "-c", "exit 143"]), Some(0));
}

#[test]
fn a_command_that_cannot_run_gets_a_shell_s_code_and_words() {
    let missing = init(&["--", "/no/such/program"]).output().unwrap();
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    let words = said.strip_prefix("[FATAL tini (").and_then(|rest| rest.split_once(")] "));
    assert_eq!(words.map(|(_, words)| words), Some("exec /no/such/program failed: No such file or directory\n"));
    assert_eq!(missing.status.code(), Some(127));
    assert_eq!(code(&["--", "/etc/passwd"]), Some(126));
}

#[test]
fn signals_reach_the_command_and_real_time_ones_too() {
    for (number, expected) in [(15, 15), (10, 10), (36, 36)] {
        let script = format!("trap 'exit {expected}' {number}; echo ready; while :; do sleep 0.02; done");
        let mut child = started(&["--", "bash", "-c", &script]);
        signal(&child, number);
        assert_eq!(child.wait().unwrap().code(), Some(expected));
    }
}

#[test]
fn a_fault_s_signal_is_not_handed_on() {
    let mut child = started(&["--", "sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.02; done"]);
    signal(&child, 6);
    signal(&child, 15);
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn with_the_group_asked_for_the_command_s_children_hear_it_too() {
    let script = "(trap 'echo child >&2; exit 0' TERM; echo ready; while :; do sleep 0.02; done) & wait $!; exit 3";
    let mut child =
        init(&["-g", "--", "bash", "-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    signal(&child, 15);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143));
    assert!(String::from_utf8_lossy(&output.stderr).contains("child"));
}

#[test]
fn orphans_are_reaped() {
    // The orphan's zombie is gone before the command looks for it.
    let script =
        "sh -c 'sleep 0.05 & echo $! > /proc/self/fd/3' 3>&1 | { read orphan; sleep 0.5; test ! -e /proc/$orphan; }";
    assert_eq!(code(&["--", "bash", "-c", script]), Some(0));
}

#[test]
fn the_version_is_in_tini_s_form() {
    let output = init(&["--version"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("tini version 0.19.0 - git."), "{text}");
}
