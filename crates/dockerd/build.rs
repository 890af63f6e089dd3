//! Names the compiler, which `docker version` shows where Docker names Go's.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LONGSHORE_COMMIT");
    println!("cargo::rerun-if-env-changed=LONGSHORE_BUILD_TIME");
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(compiler).arg("--version").output().ok();
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    // `rustc 1.90.0 (1159e78c4 2025-09-14)`: the date of the compiler says nothing of this build.
    let words: Vec<&str> = version.split_whitespace().take(2).collect();
    println!("cargo::rustc-env=LONGSHORE_COMPILER={}", words.concat());
}
