//! What can be wrong with a wanted container, in Docker's words.

use errors::{ErrorKind, Kind};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("no command specified")]
    NoCommand,
    #[error("can't create 'AutoRemove' container with restart policy")]
    AutoRemoveWithRestart,
    #[error(
        "invalid restart policy: unknown policy '{0}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
    )]
    UnknownRestartPolicy(String),
    #[error("invalid restart policy: maximum retry count cannot be negative")]
    NegativeRetries,
    #[error("invalid restart policy: maximum retry count can only be used with 'on-failure'{}", if *.0 { " and cannot be negative" } else { "" })]
    RetriesWithoutOnFailure(bool),
    #[error("the working directory '{0}' is invalid, it needs to be an absolute path")]
    RelativeWorkingDir(String),
    #[error("invalid environment variable: {0}")]
    Environment(String),
    #[error("invalid signal: {0}")]
    Signal(String),
    #[error("invalid hostname format: {0}")]
    Hostname(String),
    #[error("invalid {list}: unknown capability: \"{name}\"")]
    Capability { list: &'static str, name: String },
    #[error("invalid --security-opt {stage}: \"{option}\"")]
    SecurityOption { stage: u8, option: String },
    #[error("docker-init is not installed beside dockerd: --init is not possible")]
    NoInit,
    #[error("could not select device driver \"{driver}\" with capabilities: {capabilities}")]
    DeviceDriver { driver: String, capabilities: String },
    #[error("CDI device injection failed: {0}")]
    Cdi(String),
    #[error("Decoding seccomp profile failed: {0}")]
    SeccompProfile(String),
    #[error("invalid {namespace} mode: {mode}")]
    NamespaceMode { namespace: &'static str, mode: String },
    #[error("invalid port specification: \"{0}\"")]
    Port(String),
    #[error("bad format for add-host: \"{0}\"")]
    ExtraHost(String),
    #[error("conflicting options: {0}")]
    Conflicting(String),
    #[error("invalid volume specification: '{0}'")]
    VolumeSpecification(String),
    #[error("Duplicate mount point: {0}")]
    DuplicateMount(String),
    #[error("invalid mount config for type \"{kind}\": {reason}")]
    Mount { kind: &'static str, reason: String },
    #[error("invalid ulimit: {0}")]
    Ulimit(String),
    #[error("invalid sysctl: {0}")]
    Sysctl(String),
    #[error("invalid device cgroup rule format: '{0}'")]
    DeviceRule(String),
    #[error("Minimum memory limit allowed is 6MB")]
    MemoryTooSmall,
    #[error("Minimum memoryswap limit should be larger than memory limit, see usage")]
    SwapBelowMemory,
    #[error("You should always set the Memory limit when using Memoryswap limit, see usage")]
    SwapWithoutMemory,
    #[error("Minimum memory limit can not be less than memory reservation limit, see usage")]
    ReservationAboveMemory,
    #[error("range of CPUs is from 0.01 to {maximum}.00, as there are only {maximum} CPUs available")]
    TooManyCpus { maximum: u32 },
    #[error("{0}")]
    Value(String),
    #[error("Invalid filter '{0}'")]
    Filter(String),
    #[error("{0} is not supported by this engine yet")]
    NotBuilt(String),
}

impl Kind for ConfigError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotBuilt(_) => ErrorKind::NotImplemented,
            _ => ErrorKind::InvalidArgument,
        }
    }
}
