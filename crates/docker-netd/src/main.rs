//! docker-netd: `docker-netd --socket PATH --pid-file PATH [--resolv-conf PATH]`.

use std::path::PathBuf;
use std::process::ExitCode;

use netd::Options;

const USAGE: &str = "usage: docker-netd --socket PATH --pid-file PATH [--resolv-conf PATH]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--version") {
        println!("docker-netd version {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    let Some(options) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(125);
    };
    match netd::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("docker-netd: {}", errors::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Option<Options> {
    let (mut socket, mut pid_file, mut resolv_conf) = (None, None, PathBuf::from("/etc/resolv.conf"));
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let value = PathBuf::from(words.next()?);
        match word.as_str() {
            "--socket" => socket = Some(value),
            "--pid-file" => pid_file = Some(value),
            "--resolv-conf" => resolv_conf = value,
            _ => return None,
        }
    }
    Some(Options { socket: socket?, pid_file: pid_file?, resolv_conf })
}
