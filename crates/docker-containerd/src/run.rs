//! The daemon: stores, tasks of earlier runs, sockets, until it is told to stop.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use supervisor::runtimes::Runtimes;
use supervisor::{Daemon, Roots, Services};
use supervisor_grpc::{About, ServeError};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::arguments::{REVISION, VERSION};
use crate::config::Config;
use crate::notify;

/// Threads that run asynchronous work: what computes or blocks has others, and one need not wake the next.
const WORKERS: usize = 1;
/// Threads for work that blocks on the disk.
const MAX_BLOCKING: usize = 128;
/// Open files that this program needs at most.
const MAX_FILES: u64 = 1024 * 1024;
/// How long the start waits for the shims of earlier tasks; what takes longer goes on behind.
const RECONNECT_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("cannot start the threads")]
    Threads(#[source] io::Error),
    #[error("cannot listen on {address}")]
    Listen { address: String, source: io::Error },
    #[error("another daemon listens on {address}")]
    InUse { address: String },
    #[error("cannot find the own program")]
    Executable(#[source] io::Error),
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    #[error("cannot set oom_score_adj to {score}")]
    OomScore { score: i32, source: io::Error },
    #[error(transparent)]
    Supervisor(#[from] supervisor::Error),
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Runs until SIGTERM or SIGINT. Containers go on.
pub fn run(config: &Config) -> Result<(), RunError> {
    start_log(&config.debug.level);
    if config.oom_score != 0 {
        let written = std::fs::write("/proc/self/oom_score_adj", config.oom_score.to_string());
        written.map_err(|source| RunError::OomScore { score: config.oom_score, source })?;
    }
    raise_file_limit();
    sys::memory::give_back_when_quiet();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(MAX_BLOCKING)
        .enable_all()
        .build()
        .map_err(RunError::Threads)?;
    let ended = runtime.block_on(serve(config));
    // Work that blocks is not waited for: whatever it is, the next start completes or removes it.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn serve(config: &Config) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    let executable = std::env::current_exe().map_err(RunError::Executable)?;
    let roots = Roots { root: config.root.clone(), state: config.state.clone() };
    let runtimes = Runtimes::new(config.longshore.shims.clone(), &executable, std::env::var_os("PATH").as_deref());
    let daemon = Daemon {
        address: config.grpc.address.clone(),
        ttrpc_address: config.ttrpc_address(),
        executable,
        debug: matches!(config.debug.level.as_str(), "debug" | "trace"),
    };
    // Opening the database comes first: it is what two daemons on the same root cannot both do.
    let services = Services::open(&roots, daemon, runtimes)?;
    let grpc = listen(&config.grpc.address, config.grpc.uid, config.grpc.gid).await?;
    let shims = listen(&config.ttrpc_address(), config.ttrpc.uid, config.ttrpc.gid).await?;
    let (tasks, earlier) = (services.tasks.clone(), services.tasks.reserve_earlier());
    let reconnecting = tokio::spawn(async move { tasks.reconnect(earlier).await });
    if tokio::time::timeout(RECONNECT_LIMIT, reconnecting).await.is_err() {
        tracing::warn!("some shims are slow to answer, the daemon starts without waiting for them");
    }
    services.collector.schedule();
    let about = About { version: VERSION, revision: REVISION, snapshots: roots.snapshots(), root: roots.root };
    tracing::info!(address = %config.grpc.address, "serving");
    notify::ready();
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping, containers go on");
    };
    supervisor_grpc::serve(grpc, shims, services, about, stop).await?;
    Ok(())
}

/// Each task takes a few descriptors; the usual soft limit ends at some hundred tasks. Containers inherit it, as those of
/// containerd do, whose unit has no limit.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum.map_or(Some(MAX_FILES), |maximum| Some(maximum.min(MAX_FILES)));
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Listens on a socket of ours; one that a dead daemon left is replaced.
async fn listen(address: &str, uid: u32, gid: u32) -> Result<UnixListener, RunError> {
    let failed = |source| RunError::Listen { address: address.to_owned(), source };
    let path = Path::new(address);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    if UnixStream::connect(path).await.is_ok() {
        return Err(RunError::InUse { address: address.to_owned() });
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(failed)?;
    if (uid, gid) != (0, 0) {
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(failed)?;
    }
    Ok(listener)
}

fn start_log(level: &str) {
    let level = match level {
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "warn" | "warning" => LevelFilter::WARN,
        "error" | "fatal" | "panic" => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    };
    // The HTTP/2 library tells of every frame; that is nobody's debugging here.
    let others = level.min(LevelFilter::WARN);
    let targets = Targets::new().with_default(level).with_target("h2", others).with_target("hyper_util", others);
    let on_terminal = rustix::termios::isatty(io::stderr());
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(on_terminal).with_target(false);
    tracing_subscriber::registry().with(targets).with(lines).init();
}
