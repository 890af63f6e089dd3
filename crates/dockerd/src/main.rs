//! `dockerd`: the daemon. Parses its flags, starts docker-containerd, joins the services and serves the Engine API.

mod activation;
mod descriptors;
mod facts;
mod former;
mod listen;
mod log;
mod metrics;
mod neighbour;
mod network_settings;
mod options;
mod pid_file;
mod places;
mod reload;
mod remap;
mod serve;
mod settings;
mod socket;
mod start;
mod tls;
mod wiring;

use std::process::ExitCode;

use engine_api::ApiVersion;
use options::{Asked, Options};

/// Requests wait for others most of the time, and what computes or blocks has threads of its own: one worker serves them
/// all, and none has to be woken by another.
const WORKERS: usize = 1;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match options::read(&words) {
        Ok(Asked::Help) => print!("{}", options::help(terminal_width())),
        Ok(Asked::Version) => println!("Docker version {}, build longshore-{}", facts::ENGINE_VERSION, facts::VERSION),
        Ok(Asked::Validate) => eprintln!("configuration OK"),
        Ok(Asked::Serve(options)) => return serve(*options),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn serve(options: Options) -> ExitCode {
    for note in &options.notes {
        eprintln!("{note}");
    }
    let served = oldest_version().and_then(|oldest| {
        let level = log::start(&options.config);
        tracing::info!(version = facts::VERSION, "Starting up");
        // Files that the daemon makes have the modes that it says.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
        sys::memory::give_back_when_quiet();
        runtime.block_on(start::run(options, level, oldest))
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `DOCKER_MIN_API_VERSION`, in Docker's words where it is wrong.
fn oldest_version() -> anyhow::Result<ApiVersion> {
    let (least, most) = (ApiVersion::MIN, ApiVersion::MAX);
    let Ok(text) = std::env::var("DOCKER_MIN_API_VERSION") else { return Ok(least) };
    if text.is_empty() {
        return Ok(least);
    }
    let invalid = |why: String| anyhow::anyhow!("invalid DOCKER_MIN_API_VERSION: {why}");
    if text.starts_with(['v', 'V']) {
        return Err(invalid("API version must be provided without \"v\" prefix".to_owned()));
    }
    let version = ApiVersion::parse(&text).map_err(|error| invalid(error.to_string()))?;
    if version < least {
        return Err(invalid(format!("minimum supported API version is {least}: {text}")));
    }
    if version > most {
        return Err(invalid(format!("maximum supported API version is {most}: {text}")));
    }
    Ok(version)
}

/// Of the terminal on standard input, as Docker looks for it.
fn terminal_width() -> Option<usize> {
    rustix::termios::tcgetwinsize(std::io::stdin()).ok().map(|size| usize::from(size.ws_col)).filter(|width| *width > 0)
}
