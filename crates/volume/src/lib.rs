//! Where volumes are: folders and mounts of this host ([`LocalDriver`]), or wherever a plugin has them ([`PluginDriver`]).
//!
//! Entry point: the trait [`Driver`]. A driver knows names, the options that a volume was made with, and who has it mounted;
//! which volumes there shall be, their labels and their users are the service's (`volumes`). Every driver runs the
//! conformance suite in `tests/drivers`.
//!
//! Invariants: every operation may be done again; a volume is mounted by its first mount and goes with its last; nothing is
//! deleted through a mount. The table of mounts is in the kernel: it is looked at, never remembered across a restart.

mod driver;
mod error;
mod local;
mod mounting;
mod options;
mod plugin;
mod size;

pub use driver::{Driver, Found, LOCAL, Options, Scope};
pub use error::VolumeError;
pub use local::{LocalDriver, check_name};
pub use options::LocalOptions;
pub use plugin::PluginDriver;
pub use size::size_of;
