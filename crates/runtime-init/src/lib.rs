//! What runs between clone and exec: a loop over the init plan that neither allocates nor panics.
//!
//! [`Prepared`] turns a plan into what system calls take, in the parent; [`start`] clones, and the child walks the steps.
//! On failure the child writes which step failed and the error number to the socket pair and exits; the parent makes the
//! message. The parent must have one thread: the child goes on with a copy of its memory.

pub mod child;
pub mod console;
pub mod copy;
pub mod message;
pub mod mounts;
pub mod prepared;
pub mod program;
pub mod steps;

pub use message::{Detail, HOOK_SIGNALLED, Message};
pub use prepared::{Fds, Prepared};

use sys::process::Clone;

/// Clones the child into the plan's namespaces; the child never returns from here.
///
/// `cgroup`: the descriptor of a v2 cgroup to be born in.
pub fn start(prepared: &mut Prepared, cgroup: Option<i32>) -> sys::Result<i32> {
    match sys::process::clone_process(prepared.clone_flags(), cgroup)? {
        Clone::Parent { child } => Ok(child),
        Clone::Child => child::run(prepared),
    }
}
