//! The shim of one container. Started by containerd: by absolute path, or as `containerd-shim-longshore-v2`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match shim::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("docker-containerd-shim: {}", errors::chain(&error));
            ExitCode::FAILURE
        }
    }
}
