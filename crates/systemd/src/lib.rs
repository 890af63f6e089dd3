//! A blocking client of systemd's service manager: transient units, their properties, their end.
//!
//! [`Manager::connect`] opens the bus of the system or of a user; each method is one call, and those that make a job wait for
//! its end. Speaks as much of D-Bus as that needs, without a thread: the runtime clones, and must have one (zbus brings an
//! executor with threads, and more memory than the runtime may have). Owns nothing. A message is bounded before it is read,
//! an answer by a time limit. Facts: the D-Bus specification (message protocol, EXTERNAL), org.freedesktop.systemd1(5).

mod bus;
mod error;
mod transient_units;
mod wire;

pub use error::SystemdError;
pub use transient_units::{Instance, Manager};
