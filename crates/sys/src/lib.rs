//! The system calls that no crate wraps well, each behind a safe function.
//!
//! Nothing here allocates, locks or logs unless its name says so (`read_to_string` and the like), so that the code between
//! clone and exec may call it. Paths come in as C strings. Every call is retried on EINTR where that is harmless.

#![allow(unsafe_code)]

pub mod activation;
pub mod arguments;
pub mod bpf;
pub mod capability;
pub mod child_fds;
pub mod console;
pub mod detached_layers;
pub mod errno;
pub mod file;
pub mod keyring;
pub mod layers;
pub mod mapped_layers;
pub mod memory;
pub mod mount;
pub mod numbered_path;
pub mod process;
pub mod program;
pub mod rooted_path;
pub mod scheduling;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod tree;
pub mod users;

pub use errno::{Errno, Result};
