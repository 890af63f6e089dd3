//! An archive in an answer, as a list of what is in it.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// Mode, owner, size and name of each entry, without its time.
pub fn list(archive: &[u8]) -> Result<String> {
    let mut child = Command::new("tar")
        .args(["--list", "--verbose", "--numeric-owner", "--file", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("tar")?;
    let mut stdin = child.stdin.take().context("tar's input")?;
    let archive = archive.to_vec();
    // It may end before it has read the padding behind the archive.
    let writing = std::thread::spawn(move || drop(stdin.write_all(&archive)));
    let output = child.wait_with_output()?;
    let _ = writing.join();
    let mut listed = String::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let mut words = line.split_whitespace();
        let kept: Vec<&str> = words.by_ref().take(3).collect();
        let name: Vec<&str> = words.skip(2).collect();
        listed.push_str(&format!("{} {}\n", kept.join(" "), name.join(" ")));
    }
    listed.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok(listed)
}
