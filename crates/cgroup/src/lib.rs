//! Control groups on v1, v2 and the hybrid layout: create, join, limit, read, kill, remove.
//!
//! [`Layout::detect`] says what the host mounts; [`Group`] is one container's cgroups in all hierarchies. Which value goes into
//! which file is decided in `runtime_core::cgroup_values`. Owns nothing but folders: whoever has the paths has the group.
//! Kernel pages: admin-guide/cgroup-v1, admin-guide/cgroup-v2.rst.

pub mod devices;
pub mod error;
pub mod freeze;
pub mod group;
pub mod layout;
pub mod limits;
pub mod oom;
pub mod processes;
pub mod statistics;

pub use error::CgroupError;
pub use group::{Group, Member};
pub use layout::{Hierarchy, Layout};
pub use oom::OomWatch;
pub use statistics::Statistics;
