//! Decisions about a container: what it is asked to be, the states it goes through, when it is restarted, how it is
//! stopped, and the OCI runtime specification it becomes.
//!
//! Entry points: [`merge_image`] and [`validate`] at create, [`spec::generate`] at start, [`State::after`] for every change,
//! [`restart::decide`] after an exit, [`StopSequence`] for a stop.
//!
//! Invariants: no I/O, no clock, no randomness, no environment. Files of the image come in as bytes, times as
//! [`Timestamp`], host facts as [`spec::Host`]. Nothing here knows HTTP, containerd or a path of the daemon.

mod capabilities;
mod config;
mod detach;
mod environment;
mod error;
pub mod health;
mod list_filter;
mod merge;
mod mounts;
pub mod oci;
pub mod restart;
mod seccomp;
mod signal;
pub mod spec;
mod state;
mod status;
mod stop;
mod time;
mod user;
mod validate;

pub use capabilities::{DEFAULT_CAPABILITIES, capabilities_of};
pub use config::{
    Config, DeviceMapping, DeviceRequest, EndpointRequest, ExecConfig, Healthcheck, HostConfig, ImageDefaults,
    LogConfig, MountKind, MountPoint, MountRequest, Owners, PortBinding, ReadOnly, Resources, StrayOptions,
    ThrottleDevice, Ulimit, WeightDevice,
};
pub use detach::{DEFAULT_DETACH_KEYS, DetachKeys, Typed};
pub use environment::{DEFAULT_PATH, environment};
pub use error::ConfigError;
pub use list_filter::{ListFacts, ListFilter};
pub use merge::merge_image;
pub use mounts::{DEFAULT_PROPAGATION, wanted_mounts};
pub use restart::RestartPolicy;
pub use seccomp::{ProfileChoice, resolve_profile};
pub use signal::{Signal, parse_signal};
pub use state::{Ending, Event, Forbidden, State};
pub use status::status;
pub use stop::{StopSequence, StopStep};
pub use time::{NEVER, Timestamp, rfc3339};
pub use user::{ResolvedUser, UserError, resolve_user};
pub use validate::{NetworkMode, check_resources, validate};
