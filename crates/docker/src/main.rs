//! `docker`: the command line.

use std::process::exit;

fn main() {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    exit(i32::from(docker_cli::main(words)));
}
