//! The tiers of tests that need hosts, as selections of cargo nextest. Programs are built first: the tests start them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Test binaries of `testhost` with this name or prefix are the swap matrix; the others are T2.
const SWAP: &str = "binary(/^swap/)";

/// T2, in part when words are given that a test's name contains.
pub fn host(root: &Path, words: &[&str]) -> Result<()> {
    run(root, &format!("not {SWAP}"), words)
}

/// T3.
pub fn swap(root: &Path, words: &[&str]) -> Result<()> {
    run(root, SWAP, words)
}

fn run(root: &Path, selection: &str, words: &[&str]) -> Result<()> {
    cargo(root, &["build", "--workspace", "--bins", "--quiet"])?;
    let nextest = ["nextest", "run", "--package", "testhost", "--no-fail-fast", "--filterset", selection];
    cargo(root, &[&nextest, words].concat())
}

fn cargo(root: &Path, words: &[&str]) -> Result<()> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(program).args(words).current_dir(root).status().context("cargo")?;
    ensure!(status.success(), "cargo {}: {status}", words.join(" "));
    Ok(())
}
