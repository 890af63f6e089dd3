//! `dockerd`: the daemon. Parses its flags, starts docker-containerd, joins the services and serves the Engine API.

mod facts;
mod listen;
mod neighbour;
mod options;
mod places;
mod serve;
mod start;
mod wiring;

use std::process::ExitCode;

use options::{Asked, Config};
use tracing_subscriber::EnvFilter;

/// Requests wait for others most of the time; two workers serve them.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match options::read(&words) {
        Ok(Asked::Help) => print!("{}", options::help()),
        Ok(Asked::Version) => println!("Docker version {}, build longshore", facts::VERSION),
        Ok(Asked::Serve(config)) => return serve(*config),
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn serve(config: Config) -> ExitCode {
    start_log(&config);
    sys::memory::give_back_when_quiet();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let served = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(start::run(config)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed to start daemon: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(config: &Config) {
    let level = match (config.debug, config.log_level.as_deref()) {
        (true, _) => "debug",
        (false, Some("fatal")) => "error",
        (false, level) => level.unwrap_or("info"),
    };
    let filter = EnvFilter::new(format!("warn,{}", OWN_CRATES.map(|name| format!("{name}={level}")).join(",")));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}

/// Their log level is the one asked for; libraries warn only.
const OWN_CRATES: [&str; 8] =
    ["dockerd", "engine_http", "containers", "images", "networks", "metadata", "registry_client", "containerd_client"];
